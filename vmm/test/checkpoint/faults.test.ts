/** Every file-system call of every change is the last one once, and fails once: the store is as before or as after. */
import { spawnSync } from 'node:child_process';
import { closeSync, cpSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Tap from 'tap';
import t from 'tap';
import { CheckpointStore } from '../../src/checkpoint/store.js';
import { captured, memoryOf, PAGE, SIZE, scratchDir } from './scratch.js';
import { CONTENT } from './step-content.js';

t.setTimeout(580_000);

const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Runs a step with a fault; whether the step went through, and how many calls it made. */
function runStep(dir: string, step: string, fault: string, at: number) {
  const { status, signal, output } = spawnSync(
    process.execPath,
    ['--import', script('./fault.js'), script('./step.js'), dir, step],
    {
      env: { ...process.env, FAULT: fault, FAULT_AT: String(at) },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    },
  );
  return { ended: status === 0, killed: signal === 'SIGKILL', calls: Number(String(output[3])) };
}

async function contentOf(store: CheckpointStore, name: string) {
  await store.verify(name);
  const { memoryFd } = await store.load(name);
  const bytes = Buffer.alloc(SIZE);
  readSync(memoryFd, bytes, 0, SIZE, 0);
  closeSync(memoryFd);
  const pages = new Map<number, number>();
  for (let at = 0; at < SIZE; at += PAGE) if (bytes[at] !== 0) pages.set(at / PAGE, bytes[at]!);
  return pages;
}

const sorted = (pages: ReadonlyMap<number, number>) =>
  new Map([...pages].sort(([a], [b]) => a - b));

/** root <- middle <- leaf */
async function prepare(dir: string): Promise<void> {
  const store = await CheckpointStore.open(dir);
  await store.create({ name: 'root' }, captured(dir, memoryOf(CONTENT.root)));
  await store.create(
    { name: 'middle', parent: 'root' },
    captured(dir, memoryOf(CONTENT.middle)),
    memoryOf(CONTENT.root),
  );
  await store.create(
    { name: 'leaf', parent: 'middle' },
    captured(dir, memoryOf(CONTENT.leaf)),
    memoryOf(CONTENT.middle),
  );
}

/** Names that may be there after an interrupted step: before or after. */
const OUTCOMES: Readonly<Record<string, readonly [string, string]>> = {
  create: ['leaf,middle,root', 'leaf,middle,new,root'],
  'create-difference': ['leaf,middle,root', 'leaf,middle,new,root'],
  remove: ['leaf,middle,root', 'leaf,root'],
};

/** What a store must be after a step that may have been interrupted. */
async function check(t: Tap.Test, path: string, allowed: readonly string[]): Promise<void> {
  const store = await CheckpointStore.open(path);
  const names = (await store.list()).map((m) => m.name);
  if (!allowed.includes(names.join(','))) t.fail(`there are ${names}`);
  t.same(await store.broken(), []);
  for (const name of names as (keyof typeof CONTENT)[]) {
    t.strictSame(await contentOf(store, name), sorted(CONTENT[name]), name);
  }
  const left = readdirSync(join(path, 'checkpoints')).filter((name) => name.startsWith('.'));
  t.same(left, [], 'nothing is left over');
}

for (const [step, [before, after]] of Object.entries(OUTCOMES)) {
  t.test(step, async (t) => {
    const template = scratchDir();
    t.teardown(() => template.remove());
    await prepare(template.path);
    const attempt = async (fault: string, at: number) => {
      const { path, remove } = scratchDir();
      cpSync(template.path, path, { recursive: true, preserveTimestamps: true });
      const result = runStep(path, step, fault, at);
      await check(t, path, result.ended ? [after] : [before, after]);
      remove();
      return result;
    };
    const { ended, calls } = await attempt('none', 0);
    t.ok(ended && calls > 10, `${calls} calls`);
    for (let at = 1; at <= calls; at++) {
      const { killed } = await attempt('kill', at);
      if (!killed) t.fail(`it did not get to call ${at}`);
      await attempt('ENOSPC', at);
    }
  });
}
