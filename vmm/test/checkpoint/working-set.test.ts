/** The working set beside a checkpoint: it comes back, belongs to one checkpoint, and does no harm when it is wrong. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { CheckpointStore } from '../../src/checkpoint/store.js';
import { captured, memoryOf, PAGE, SIZE, scratchDir } from './scratch.js';

const dir = scratchDir();
t.teardown(() => dir.remove());
const store = await CheckpointStore.open(dir.path);
const RUNS = Uint32Array.of(1, 2, 5, 1, SIZE / PAGE - 1, 1);

async function create(name: string, parent?: string) {
  const memory = memoryOf(new Map([[1, 1]]));
  const base = parent === undefined ? undefined : memory;
  return store.create({ name, ...(parent && { parent }) }, captured(dir.path, memory), base);
}

async function loaded(name: string): Promise<Uint32Array | undefined> {
  const { workingSet, close } = await store.load(name);
  close();
  return workingSet;
}

const fileOf = (name: string) => join(dir.path, 'checkpoints', name, 'working-set');

t.test('recorded once, it is there at each load, and a later one takes its place', async (t) => {
  const manifest = await create('a');
  t.equal(await loaded('a'), undefined);
  await store.keepWorkingSet(manifest.id, RUNS);
  t.same(await loaded('a'), RUNS);
  const later = await CheckpointStore.open(dir.path);
  t.same(later.workingSet(manifest), RUNS, 'who opens the store sweeps, and leaves it');
  await store.keepWorkingSet('a', RUNS.subarray(0, 2));
  t.same(await loaded('a'), RUNS.subarray(0, 2));
  t.equal(readdirSync(join(dir.path, 'checkpoints', 'a')).length, 5);
  await t.rejects(store.keepWorkingSet('nobody', RUNS), { code: 'MAYFLY_CHECKPOINT_UNKNOWN' });
});

t.test('a merge keeps it, a revert does not', async (t) => {
  await create('parent');
  await create('child', 'parent');
  await store.keepWorkingSet('child', RUNS);
  await store.remove('parent');
  t.same(await loaded('child'), RUNS);
  await store.revert('child', 'a');
  t.equal(await loaded('child'), undefined);
});

t.test('one of another checkpoint is none', async (t) => {
  await create('b');
  await store.keepWorkingSet('b', RUNS);
  await create('c');
  renameSync(fileOf('b'), fileOf('c'));
  t.equal(await loaded('c'), undefined);
});

t.test('runs that no memory has are none', async (t) => {
  const { id } = await create('d');
  for (const runs of [[1], [5, 1, 1, 1], [1, 0], [SIZE / PAGE, 1], [0, SIZE / PAGE + 1]]) {
    await store.keepWorkingSet(id, Uint32Array.from(runs));
    t.equal(await loaded('d'), undefined, String(runs));
  }
});

t.test('whatever happens to a byte of it, the checkpoint loads', async (t) => {
  const { id } = await create('e');
  await store.keepWorkingSet(id, RUNS);
  const whole = readFileSync(fileOf('e'));
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(254), async (at, other) => {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at]! + 1 + other) % 256;
      writeFileSync(fileOf('e'), bytes);
      t.equal(await loaded('e'), undefined);
      writeFileSync(fileOf('e'), whole.subarray(0, at));
      t.equal(await loaded('e'), undefined);
    }),
    { numRuns: 200 },
  );
});
