import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { type Entry, Tree } from '../../src/index.js';
import { joinPath } from '../../src/tree/path.js';

export const ATTRIBUTES = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 1_700_000_000_123_456_789n };

export function fileOf(path: string, bytes: Uint8Array): Entry {
  return { path, ...ATTRIBUTES, type: 'file', source: { kind: 'bytes', bytes } };
}

export function treeOf(entries: Entry[]): Tree {
  const tree = new Tree();
  for (const entry of entries) tree.add(entry);
  return tree;
}

/** Recognisable bytes of a size. */
export function pattern(size: number): Buffer {
  return Buffer.alloc(size, `${size} bytes, `);
}

export function contentOf(entry: Entry | undefined): Uint8Array {
  if (entry?.type !== 'file') throw new TypeError(`${entry?.path} is no file`);
  const { source } = entry;
  return source.kind === 'bytes' ? source.bytes : readFileSync(source.hostPath);
}

const name = fc.oneof(
  // Names around '.' in byte order, which is where '.' and '..' sort in between.
  fc.stringMatching(/^[!a-c.+]{1,3}$/).filter((text) => text !== '.' && text !== '..'),
  fc.constantFrom('\u00e9t\u00e9', '\u{1f41b}', '\uffee', 'x'.repeat(255)),
);

const target = fc.constantFrom('x', '../a', '/'.padEnd(3000, 'y'));

type Body = (choice: number, files: string[]) => Partial<Entry> & { type: Entry['type'] };

const body: fc.Arbitrary<Body> = fc.oneof(
  fc.constant((): ReturnType<Body> => ({ type: 'dir' })),
  fc.nat(9000).map(
    (size): Body =>
      () => ({
        type: 'file',
        source: { kind: 'bytes', bytes: pattern(size) },
      }),
  ),
  target.map(
    (target): Body =>
      () => ({ type: 'symlink', target }),
  ),
  fc.constant((): ReturnType<Body> => ({ type: 'fifo' })),
  fc.constant((): ReturnType<Body> => ({ type: 'char', major: 5, minor: 300 })),
  fc.constant<Body>((choice, files) => {
    const linked = files[choice % Math.max(files.length, 1)];
    return linked === undefined ? { type: 'dir' } : { type: 'hardlink', target: linked };
  }),
);

const step = fc.record({
  choice: fc.nat(),
  name,
  body,
  mode: fc.constantFrom(0o644, 0o755, 0o4711, 0o1777, 0),
  uid: fc.constantFrom(0, 1000, 70_000),
  mtimeNs: fc.bigInt(0n, 4_000_000_000_000_000_000n),
});

/** Trees grown step by step, each entry in one of the folders that are there. */
export const randomTree: fc.Arbitrary<Tree> = fc.array(step, { maxLength: 40 }).map((steps) => {
  const tree = new Tree();
  const dirs = ['/'];
  const files: string[] = [];
  for (const { choice, name, body, mode, uid, mtimeNs } of steps) {
    const path = joinPath(dirs[choice % dirs.length]!, name);
    if (tree.get(path) !== undefined) continue;
    const entry = { path, mode, uid, gid: uid + 1, mtimeNs, ...body(choice, files) } as Entry;
    if (entry.type === 'dir') dirs.push(path);
    if (entry.type === 'file') files.push(path);
    tree.add(entry);
  }
  return tree;
});
