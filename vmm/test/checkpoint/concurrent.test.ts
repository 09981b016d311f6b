/** Commands at the same time on one store: each as if it were alone, or refused with what came between. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type * as Tap from 'tap';
import t from 'tap';
import {
  CheckpointStore,
  diffCheckpoints,
  exportCheckpoint,
  importCheckpoint,
} from '../../src/checkpoint/index.js';
import { captured, memoryOf, pagesIn, scratchDir } from './scratch.js';
import { content, prepareChain } from './steps.js';

const ROUNDS = 3;

async function setUp(test: Tap.Test) {
  const dir = scratchDir();
  test.teardown(() => dir.remove());
  await prepareChain(dir.path);
  /** As another process has it: each of them opens the store anew. */
  const open = () => CheckpointStore.open(dir.path);
  return { dir: dir.path, open };
}

async function contentOf(store: CheckpointStore, name: string) {
  const { memoryFd, close } = await store.load(name);
  const pages = pagesIn(memoryFd);
  close();
  return pages;
}

async function checkWhole(t: Tap.Test, dir: string, names: readonly string[]) {
  const store = await CheckpointStore.open(dir);
  t.same(
    (await store.list()).map(({ name }) => name),
    names,
  );
  t.same(await store.broken(), []);
  for (const name of names) {
    await store.verify(name);
    t.same(await contentOf(store, name), content[name], name);
    t.equal(readdirSync(join(store.checkpoints, name)).length <= 4, true, 'no part too many');
  }
  t.equal(readdirSync(join(dir, 'layers')).length, 1);
}

t.test('removals from one chain, from all of its ends', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { dir, open } = await setUp(t);
    const gone = ['one', 'two', 'three', 'four'].sort(() => Math.random() - 0.5);
    await Promise.all(gone.map(async (name) => (await open()).remove(name)));
    await checkWhole(t, dir, ['branch', 'five']);
  }
});

t.test('who reads finds what there was or what there is', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { dir, open } = await setUp(t);
    const other = scratchDir();
    t.teardown(() => other.remove());
    const target = await CheckpointStore.open(other.path);
    const readers = Array.from({ length: 4 }, async () => {
      for (let i = 0; i < 3; i++) {
        const store = await open();
        t.same(await contentOf(store, 'five'), content.five);
        t.equal((await diffCheckpoints(store, 'five', 'branch')).pages, 5);
        await store.verify('branch');
      }
    });
    const exporter = open().then((store) =>
      importCheckpoint(target, exportCheckpoint(store, 'five')),
    );
    const changes = ['three', 'one', 'four', 'two'].map(async (name) =>
      (await open()).remove(name),
    );
    await Promise.all([...readers, exporter, ...changes]);
    await checkWhole(t, dir, ['branch', 'five']);
    t.same(await contentOf(target, 'five'), content.five);
  }
});

t.test('of several that take one name, one has it', async (t) => {
  const { dir, open } = await setUp(t);
  const results = await Promise.allSettled(
    Array.from({ length: 5 }, async () => {
      const memory = memoryOf(content.new!);
      return (await open()).create({ name: 'new' }, captured(dir, memory));
    }),
  );
  const refused = results.flatMap((r) => (r.status === 'rejected' ? [r.reason.code] : []));
  t.same(refused, new Array(4).fill('MAYFLY_CHECKPOINT_EXISTS'));
  await checkWhole(t, dir, ['branch', 'five', 'four', 'new', 'one', 'three', 'two']);
});

t.test('a difference to what is removed meanwhile', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const { dir, open } = await setUp(t);
    const create = async () => {
      const [memory, base] = [memoryOf(content.new!), memoryOf(content.five!)];
      return (await open()).create({ name: 'new', parent: 'five' }, captured(dir, memory), base);
    };
    const [created] = await Promise.allSettled([
      create(),
      open().then((store) => store.remove('five')),
      open().then((store) => store.revert('four', 'branch')),
    ]);
    const names = ['branch', 'four', 'one', 'three', 'two'];
    if (created.status === 'rejected') {
      t.equal(created.reason.code, 'MAYFLY_CHECKPOINT_UNKNOWN');
    } else {
      t.same(await contentOf(await open(), 'new'), content.new);
      await (await open()).remove('new');
    }
    const store = await open();
    await store.revert('four', 'one');
    t.same(await contentOf(store, 'four'), content.one);
    await store.remove('four');
    await checkWhole(
      t,
      dir,
      names.filter((name) => name !== 'four'),
    );
  }
});
