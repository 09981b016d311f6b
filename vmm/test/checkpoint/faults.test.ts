/** Every file-system call of every change is the last one once, and fails once: the store is as before or as after. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type * as Tap from 'tap';
import t from 'tap';
import { CheckpointStore } from '../../src/checkpoint/store.js';
import type { AttemptResult } from './fault.js';
import { pagesIn, scratchDir } from './scratch.js';
import { content, prepare, type Step, steps, THREE } from './steps.js';

const SCRIPT = fileURLToPath(new URL('step.js', import.meta.url));

/** The second is an image that could not be opened to be read, which a full disk does not prevent. */
const FULL = /^MAYFLY_(CHECKPOINT_STORE_FULL|IMAGE_UNREADABLE)$/;

interface Attempt extends AttemptResult {
  dir: string;
  fault: string;
  at: number;
}

function run(...args: string[]) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], {
    encoding: 'utf8',
  });
  const lines = stdout.split('\n').filter((line) => line !== '');
  return { status, signal, stderr, attempts: lines.map((line) => JSON.parse(line) as Attempt) };
}

async function pagesOf(store: CheckpointStore, name: string) {
  const { memoryFd, close } = await store.load(name);
  const pages = pagesIn(memoryFd);
  close();
  return pages;
}

/** What a store must be after a step that may have been interrupted. */
async function check(t: Tap.Test, path: string, step: Step, ended: boolean) {
  const { before = THREE, between = [], after, becomes } = step;
  const store = await CheckpointStore.open(path);
  const names = (await store.list()).map((m) => m.name);
  const allowed = ended ? [after] : [before, ...between, after];
  if (!allowed.includes(names.join(','))) t.fail(`there are ${names}`);
  t.same(await store.broken(), []);
  for (const name of names) {
    await store.verify(name);
    const pages = await pagesOf(store, name);
    const later = content[becomes?.[name] ?? name]!;
    const changed = ended || isDeepStrictEqual(pages, later);
    t.strictSame(pages, changed ? later : content[name], name);
  }
  for (const folder of [join(path, 'checkpoints'), join(path, 'layers')]) {
    const left = readdirSync(folder).filter((name) => name.startsWith('.'));
    t.same(left, [], 'nothing is left over');
  }
}

for (const [name, step] of Object.entries(steps)) {
  t.test(name, async (t) => {
    const { path, remove } = scratchDir();
    t.teardown(remove);
    const template = join(path, 'template');
    mkdirSync(template);
    await (step.prepare ?? prepare)(template);
    const { status, stderr, attempts } = run(template, path, name);
    t.equal(status, 0, stderr);
    const [undisturbed, ...disturbed] = attempts;
    const calls = undisturbed?.calls ?? 0;
    t.ok(undisturbed?.end === 'ended' && calls > 3, `${calls} calls`);
    const stride = Math.ceil(calls / (step.attemptsMax ?? calls));
    t.equal(disturbed.length, 2 * Math.ceil(calls / stride));
    for (const { dir, fault, at, end, code } of attempts) {
      if (end === 'failed') t.match(code, step.full ?? FULL, `call ${at}`);
      if (fault === 'kill' && end !== 'killed') t.fail(`it did not get to call ${at}`);
      await check(t, dir, step, end === 'ended');
    }
    // The same with a process that is really gone.
    for (const at of [1, Math.ceil(calls / 2), calls]) {
      t.equal(run(template, path, name, String(at)).signal, 'SIGKILL');
      await check(t, join(path, `SIGKILL-${at}`), step, false);
    }
  });
}
