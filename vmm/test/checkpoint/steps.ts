/** What the fault tests interrupt: a store root <- middle <- leaf, a store of five and a branch, and changes of them. */
import { createReadStream, mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointStore, exportCheckpoint, importCheckpoint } from '../../src/checkpoint/index.js';
import { captured, memoryOf, type Pages } from './scratch.js';

/** The memory of each checkpoint that there may be. */
export const content: Readonly<Record<string, Pages>> = {
  root: new Map([
    [1, 1],
    [2, 2],
    [700, 3],
  ]),
  middle: new Map([
    [1, 1],
    [2, 20],
    [5, 5],
    [700, 3],
  ]),
  leaf: new Map([
    [1, 1],
    [2, 20],
    [5, 5],
    [700, 30],
  ]),
  new: new Map([
    [2, 42],
    [900, 9],
  ]),
  // one <- two <- three <- four <- five, and three <- branch
  one: new Map([[1, 1]]),
  two: new Map([
    [1, 1],
    [2, 2],
  ]),
  three: new Map([
    [1, 3],
    [2, 2],
    [3, 3],
  ]),
  four: new Map([
    [1, 3],
    [3, 4],
    [4, 4],
  ]),
  five: new Map([
    [1, 5],
    [3, 4],
    [4, 4],
    [800, 5],
  ]),
  branch: new Map([
    [2, 7],
    [3, 3],
  ]),
};

async function create(dir: string, name: string, parent?: string): Promise<void> {
  const store = await CheckpointStore.open(dir);
  const [memory, base] = [content[name]!, parent && content[parent]].map((pages) =>
    pages ? memoryOf(pages) : undefined,
  );
  await store.create({ name, ...(parent && { parent }) }, captured(dir, memory!), base);
}

const EXPORTED = 'new.tar';

/** The store, and beside its folders an exported checkpoint. */
export async function prepare(dir: string): Promise<void> {
  mkdirSync(dir, { recursive: true });
  await create(dir, 'new');
  const store = await CheckpointStore.open(dir);
  await writeFile(join(dir, EXPORTED), exportCheckpoint(store, 'new'));
  await store.remove('new');
  await create(dir, 'root');
  await create(dir, 'middle', 'root');
  await create(dir, 'leaf', 'middle');
}

/** As prepare(), with the longer chain and its branch. */
export async function prepareChain(dir: string): Promise<void> {
  mkdirSync(dir, { recursive: true });
  await create(dir, 'one');
  await create(dir, 'two', 'one');
  await create(dir, 'three', 'two');
  await create(dir, 'four', 'three');
  await create(dir, 'five', 'four');
  await create(dir, 'branch', 'three');
  const store = await CheckpointStore.open(dir);
  await writeFile(join(dir, EXPORTED), exportCheckpoint(store, 'branch'));
}

export const THREE = 'leaf,middle,root';
export const CHAIN = 'branch,five,four,one,three,two';

export interface Step {
  /** So many of its calls, evenly over all of them, meet a fault. Default: each. */
  attemptsMax?: number;
  /** Default: prepare(). */
  prepare?(dir: string): Promise<void>;
  change(dir: string): Promise<unknown>;
  /** Codes with which it fails where the disk is full. */
  full?: RegExp;
  /** Names that are there before. Default: THREE. */
  before?: string;
  /** Names that are there after it. */
  after: string;
  /** Names that may be there after it was interrupted, if there is something between before and after. */
  between?: readonly string[];
  /** A checkpoint that has the content of another one then. */
  becomes?: Readonly<Record<string, string>>;
}

const CHAIN_STEP = { attemptsMax: 8, prepare: prepareChain, before: CHAIN };

export const steps: Readonly<Record<string, Step>> = {
  create: { change: (dir) => create(dir, 'new'), after: 'leaf,middle,new,root' },
  'create a difference': {
    change: (dir) => create(dir, 'new', 'middle'),
    after: 'leaf,middle,new,root',
  },
  import: {
    change: async (dir) => {
      const store = await CheckpointStore.open(dir);
      await importCheckpoint(store, createReadStream(join(dir, EXPORTED)));
    },
    after: 'leaf,middle,new,root',
  },
  'remove and merge': {
    change: async (dir) => (await CheckpointStore.open(dir)).remove('middle'),
    after: 'leaf,root',
  },
  revert: {
    change: async (dir) => (await CheckpointStore.open(dir)).revert('middle'),
    after: 'leaf,middle,root',
    becomes: { middle: 'root' },
  },
  'record a working set': {
    change: async (dir) =>
      (await CheckpointStore.open(dir)).keepWorkingSet('middle', Uint32Array.of(1, 2)),
    after: THREE,
  },
  'remove a leaf': {
    change: async (dir) => (await CheckpointStore.open(dir)).remove('leaf'),
    after: 'middle,root',
  },
  'remove the root of a chain': {
    ...CHAIN_STEP,
    change: async (dir) => (await CheckpointStore.open(dir)).remove('one'),
    after: 'branch,five,four,three,two',
  },
  'remove from the middle of a chain, where it branches': {
    ...CHAIN_STEP,
    change: async (dir) => (await CheckpointStore.open(dir)).remove('three'),
    after: 'branch,five,four,one,two',
  },
  'revert over a branch': {
    ...CHAIN_STEP,
    change: async (dir) => (await CheckpointStore.open(dir)).revert('three', 'branch'),
    after: CHAIN,
    becomes: { three: 'branch' },
  },
  'import a chain': {
    ...CHAIN_STEP,
    prepare: async (dir) => {
      await prepareChain(dir);
      const store = await CheckpointStore.open(dir);
      for (const { name } of await store.list()) await store.remove(name);
    },
    change: async (dir) => {
      const store = await CheckpointStore.open(dir);
      await importCheckpoint(store, createReadStream(join(dir, EXPORTED)));
    },
    before: '',
    after: 'branch,one,three,two',
    between: ['one', 'one,two', 'one,three,two'],
  },
  'export a chain': {
    ...CHAIN_STEP,
    change: async (dir) => {
      const store = await CheckpointStore.open(dir);
      const chunks = exportCheckpoint(store, 'branch', { flatten: true });
      await writeFile(join(dir, 'flat.tar'), chunks);
    },
    full: /^(ENOSPC|MAYFLY_CHECKPOINT_STORE_FULL)$/, // of the file, or of the store when it is opened
    after: CHAIN,
  },
};
