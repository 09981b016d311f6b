/** What the fault tests interrupt: a store root <- middle <- leaf, and changes of it. */
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

export interface Step {
  change(dir: string): Promise<unknown>;
  /** Names that are there after it; before, and after an interrupted one perhaps: leaf, middle, root. */
  after: string;
  /** A checkpoint that has the content of another one then. */
  becomes?: Readonly<Record<string, string>>;
}

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
};
