/** Changes of a store that the killed process makes, and that its observer knows the outcome of. */
import type { FunctionStore } from '../src/store/functions.js';

export interface Step {
  n: number;
  kind: 'add' | 'update' | 'remove';
}

export const NAME = 'f';

/** What the store says after a step; `added` are the steps that added versions since the last removal. */
export interface Content {
  added: number[];
  touched: string;
}

export const EMPTY: Content = { added: [], touched: '' };

export function after({ added, touched }: Content, { n, kind }: Step): Content {
  if (kind === 'remove') return EMPTY;
  if (kind === 'add') return { added: [...added, n], touched };
  return { added, touched: added.length === 0 ? touched : String(n) };
}

export async function change(store: FunctionStore, { n, kind }: Step): Promise<void> {
  const record = store.functions()[0];
  if (kind === 'remove') return store.remove(NAME);
  if (kind === 'update') {
    return record && store.update({ ...record, variables: { TOUCHED: String(n) } });
  }
  const number = (record?.deployed ?? 0) + 1;
  const version = {
    version: number,
    sourceDigest: String(n),
    runtime: 'node' as const,
    memoryBytes: 1,
    timeoutMs: 1,
    env: {},
    deployedAt: '',
  };
  // Some fit into a page of the database, some take many.
  const bytes = Buffer.alloc(n % 2 === 0 ? 100 : 300_000, n);
  const files = new Map([['index.js', { bytes, executable: false }]]);
  const before = record ?? { name: NAME, variables: {}, secrets: {} };
  await store.addVersion({ ...before, current: number, deployed: number }, version, files);
}

/** @throws Error where the store contradicts itself */
export function read(store: FunctionStore): Content {
  const [record, ...more] = store.functions();
  const versions = store.versions(NAME).reverse();
  if (more.length > 0) throw new Error('a function too many');
  if (!record) {
    if (versions.length > 0) throw new Error('versions of no function');
    return EMPTY;
  }
  if (record.current !== record.deployed) throw new Error('the current version is not the last');
  if (versions.at(-1)?.version !== record.current) throw new Error('a version is missing');
  const added = versions.map(({ version, sourceDigest }) => {
    const bytes = store.files(NAME, version).get('index.js')?.bytes;
    const n = Number(sourceDigest);
    if (!bytes || !Buffer.from(bytes).equals(Buffer.alloc(bytes.length, n))) {
      throw new Error(`the files of version ${version} are not its own`);
    }
    return n;
  });
  return { added, touched: record.variables.TOUCHED ?? '' };
}
