/** What a store acknowledged is there after kill -9, whenever that comes, and what it did not is there wholly or not at all. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open as openLmdb } from 'lmdb';
import t from 'tap';
import { Database } from '../src/store/database.js';
import { FunctionStore } from '../src/store/functions.js';
import { after, type Content, EMPTY, read, type Step } from './store-steps.js';

const ROUNDS = 24;
const WRITER = fileURLToPath(new URL('store-writer.js', import.meta.url));

t.test('kill -9 loses nothing that was acknowledged', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-store-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  let content: Content = EMPTY;
  let next = 0;
  let interrupted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    // Between two lines, right at one, and in the middle of opening.
    const { done, tried } = await killed(dir, next, round % 10, (round * 37) % 11);
    for (const step of done) content = after(content, step);
    const open = tried.length > done.length ? tried.at(-1) : undefined;
    if (open) interrupted++;
    next = (tried.at(-1)?.n ?? next - 1) + 1;
    if (round % 4 > 0) rmSync(join(dir, 'mayfly.open'), { force: true }); // reading all of it takes its time
    const database = await Database.open(dir);
    const found = read(new FunctionStore(database));
    await database.close();
    const allowed = open ? [content, after(content, open)] : [content];
    const match = allowed.find((one) => JSON.stringify(one) === JSON.stringify(found));
    if (!match) {
      t.fail('the store is neither as before nor as after', { round, found, allowed });
      return;
    }
    content = match;
  }
  t.comment(`${next} changes, ${interrupted} interrupted`);
  t.ok(interrupted > 0, 'some kills came in the middle of a change');
  t.ok(next > ROUNDS, 'others did not');
});

t.test('a store of an older server is read, and is one of this server from then on', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-store-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const old = openLmdb({ path: join(dir, 'mayfly.mdb'), maxDbs: 16 });
  await old.put('format', 1);
  await old.openDB('records', {}).put('a', { name: 'a', size: 1 });
  await old.close();
  for (const crashed of [false, true]) {
    if (crashed) writeFileSync(join(dir, 'mayfly.open'), ''); // all of it is read then
    const database = await Database.open(dir);
    const records = database.table<object, string>('records');
    t.same(records.get('a'), { name: 'a', size: 1 });
    await records.put('b', { name: 'b', size: 2 });
    t.same(
      [...records.getRange()],
      [
        { key: 'a', value: { name: 'a', size: 1 } },
        { key: 'b', value: { name: 'b', size: 2 } },
      ],
    );
    await database.close();
  }
  const now = openLmdb({ path: join(dir, 'mayfly.mdb'), maxDbs: 16 });
  t.equal(now.get('format'), 2);
  await now.close();
});

t.test('a file that is damaged behind its header is refused after a crash', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-store-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const { tried } = await killed(dir, 0, 12, 0);
  t.ok(tried.length > 4);
  const path = join(dir, 'mayfly.mdb');
  const good = readFileSync(path);
  await (await Database.open(dir)).close();
  for (const byte of [0xff, 0x5a]) {
    const bad = Buffer.from(good).fill(byte, 2 * 4096);
    writeFileSync(path, bad);
    writeFileSync(join(dir, 'mayfly.open'), '');
    await t.rejects(Database.open(dir), { code: 'MAYFLY_STORE_DAMAGED', message: /mayfly\.mdb/ });
  }
  writeFileSync(path, good);
  await (await Database.open(dir)).close();
});

/** Runs the writer from step `from`, kills it `afterMs` after its line number `lines` and gives what it told. */
async function killed(dir: string, from: number, lines: number, afterMs: number) {
  const child = spawn(process.execPath, [WRITER, dir, String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let armed = false;
  const arm = () => {
    armed = true;
    setTimeout(() => child.kill('SIGKILL'), afterMs);
  };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    if (!armed && text.split('\n').length > lines) arm();
  });
  if (lines === 0) setTimeout(arm, 60);
  const signal = await new Promise((resolve) => child.on('close', (_code, by) => resolve(by)));
  if (signal !== 'SIGKILL') throw new Error('the writer ended by itself');
  const told = text
    .split('\n')
    .filter((line) => line.endsWith(']'))
    .map((line) => JSON.parse(line) as ['try' | 'done', Step]);
  const of = (word: string) => told.filter(([w]) => w === word).map(([, step]) => step);
  return { tried: of('try'), done: of('done') };
}
