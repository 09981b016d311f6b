import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { ErofsReader, type Tree, treeFromFolder, writeErofs } from '../src/index.js';
import { fsckErofs } from './support/fsck.js';
import { buildElf } from './support/mini-elf.js';
import {
  ATTRIBUTES,
  contentOf,
  fileOf,
  pattern,
  randomTree,
  treeOf,
} from './support/random-tree.js';

const HUGE = 2 * 1024 * 1024;
const dir = mkdtempSync(join(tmpdir(), 'mayfly-erofs-'));
const image = join(dir, 'image.erofs');
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

/**
 * A line for everything that fsck.erofs 1.5 extracts: it sets no times of links, those of folders before it fills them, and
 * loses the set-uid bit by changing the owner last.
 */
function describe(tree: Tree): string[] {
  return [...tree.entries()].slice(1).map((named) => {
    const entry = named.type === 'hardlink' ? tree.linkTarget(named) : named;
    const { type, mode, uid, gid, mtimeNs } = entry;
    const owner = type === 'symlink' ? '' : `${(mode & 0o1777).toString(8)} ${uid}:${gid}`;
    const time = type === 'file' ? `${mtimeNs}` : '';
    const target = entry.type === 'symlink' ? entry.target : '';
    const device = entry.type === 'char' ? `${entry.major},${entry.minor}` : '';
    const content = type === 'file' ? Buffer.from(contentOf(entry)).toString('base64') : '';
    return [named.path, type, owner, time, target, device, content].join(' ');
  });
}

const skip = process.getuid?.() !== 0 && 'owners and devices need root';

t.test('random trees pass fsck.erofs and come back whole', { skip }, async (t) => {
  await fc.assert(
    fc.asyncProperty(randomTree, async (tree) => {
      await writeErofs(tree, image);
      const out = mkdtempSync(join(dir, 'out-'));
      fsckErofs(image, out);
      const back = describe(await treeFromFolder(out));
      rmSync(out, { recursive: true, force: true });
      assert.deepEqual(back, describe(tree));
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('our reader sees what was written', async (t) => {
  await fc.assert(
    fc.asyncProperty(randomTree, async (tree) => {
      await writeErofs(tree, image);
      const reader = new ErofsReader(image);
      const listed = [...reader.list()];
      const entries = [...tree.entries()];
      assert.deepEqual(
        new Set(listed.map(({ path }) => path)),
        new Set(entries.map(({ path }) => path)),
      );
      for (const entry of entries) {
        const found = reader.stat(entry.path);
        if (entry.type === 'hardlink') continue;
        const { mode, uid, gid, mtimeNs } = entry;
        assert.deepEqual(
          [found?.mode, found?.uid, found?.gid, found?.mtimeNs],
          [mode, uid, gid, mtimeNs],
        );
        if (entry.type === 'symlink') assert.equal(found?.target, entry.target);
        if (entry.type === 'file') {
          assert.deepEqual(reader.readFile(entry.path), Buffer.from(contentOf(entry)));
        }
      }
      reader.close();
    }),
    { numRuns: 40 },
  );
  t.end();
});

t.test('the same tree gives the same bytes, in whatever order it was made', async (t) => {
  const entries = ['/b', '/a/c', '/a/b', '/\u00e9', '/!'].map((path) =>
    fileOf(path, Buffer.from(path)),
  );
  const one = await writeErofs(treeOf(entries), image);
  const first = readFileSync(image);
  const two = await writeErofs(treeOf([...entries].reverse()), image);
  t.same(one, two);
  t.ok(first.equals(readFileSync(image)));
  t.end();
});

t.test('a folder of thousands spans many blocks', async (t) => {
  const paths = Array.from({ length: 5000 }, (_, i) => `/many/file-${i}-${'n'.repeat(i % 60)}`);
  await writeErofs(treeOf(paths.map((path) => fileOf(path, Buffer.from('x')))), image);
  fsckErofs(image);
  const reader = new ErofsReader(image);
  t.equal([...reader.list()].length, 5002);
  t.equal(reader.readFile(paths[4321]!)?.toString(), 'x');
  t.equal(reader.stat('/many/none'), undefined);
  reader.close();
  t.end();
});

t.test('large files start where 2 MiB mappings work', async (t) => {
  const size = 1024 * 1024 + 5;
  const tree = treeOf([
    fileOf('/data', pattern(size)),
    fileOf('/exec', buildElf({ padTo: size, vaddr: 0x412000 })),
    fileOf('/pie', buildElf({ padTo: size, vaddr: 0x412000, type: 'dyn' })),
    fileOf('/small', pattern(size - 6)),
    fileOf('/odd', buildElf({ padTo: size, vaddr: 0x400010 })),
  ]);
  const written = await writeErofs(tree, image);
  t.equal(written.size % HUGE, 0);
  fsckErofs(image);
  const reader = new ErofsReader(image);
  const residue = (path: string) => (reader.stat(path)?.offset ?? Number.NaN) % HUGE;
  t.equal(residue('/data'), 0);
  t.equal(residue('/exec'), 0x12000);
  t.equal(residue('/pie'), 0);
  t.equal(residue('/odd'), 0, 'an address inside a page cannot be served');
  for (const path of ['/data', '/exec', '/small']) {
    t.ok(reader.readFile(path)?.equals(contentOf(tree.get(path))), path);
  }
  reader.close();
  t.end();
});

t.test('hard links share one inode', async (t) => {
  const tree = treeOf([
    fileOf('/a', Buffer.from('shared')),
    { path: '/z', ...ATTRIBUTES, type: 'hardlink', target: '/a' },
  ]);
  await writeErofs(tree, image);
  fsckErofs(image);
  const reader = new ErofsReader(image);
  t.equal(reader.stat('/a')?.nid, reader.stat('/z')?.nid);
  t.equal(reader.stat('/z')?.linkCount, 2);
  reader.close();
  t.end();
});

t.test('a damaged image is an error, not a crash', async (t) => {
  const tree = treeOf([
    fileOf('/a/b', Buffer.from('x')),
    { path: '/l', ...ATTRIBUTES, type: 'symlink', target: 'a' },
  ]);
  await writeErofs(tree, image);
  const good = readFileSync(image);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(40_000), fc.nat(255)), { minLength: 1, maxLength: 9 }),
      (changes) => {
        const bytes = Buffer.from(good.subarray(0, 65_536));
        for (const [at, value] of changes) bytes[at] = value;
        writeFileSync(image, bytes);
        try {
          const reader = new ErofsReader(image);
          try {
            for (const entry of reader.list()) reader.readFile(entry.path);
          } finally {
            reader.close();
          }
        } catch (error) {
          if ((error as { code?: string }).code !== 'MAYFLY_IMAGE_DAMAGED') throw error;
        }
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

t.test('a source that changes its size is noticed', async (t) => {
  const tree = treeOf([]);
  const source = { kind: 'host', hostPath: process.execPath, size: 17 } as const;
  tree.add({ path: '/x', ...ATTRIBUTES, type: 'file', source });
  await t.rejects(writeErofs(tree, image), { code: 'MAYFLY_IMAGE_SOURCE_CHANGED' });
  t.end();
});

t.test('only whole 2 MiB pieces are written, and told', async (t) => {
  const told: number[] = [];
  const onProgress = (done: number) => void told.push(done);
  const tree = treeOf([fileOf('/big', Buffer.alloc(40 * 1024 * 1024, 7))]);
  const { size } = await writeErofs(tree, image, { onProgress });
  t.equal(told.at(-1), size);
  t.ok(told.every((done) => done % HUGE === 0));
});

t.test('memory does not grow with the files', async (t) => {
  const size = 256 * 1024 * 1024;
  const hostPath = join(dir, 'sparse');
  writeFileSync(hostPath, '');
  truncateSync(hostPath, size);
  const source = { kind: 'host', hostPath, size } as const;
  const before = process.resourceUsage().maxRSS;
  await writeErofs(treeOf([{ path: '/big', ...ATTRIBUTES, type: 'file', source }]), image);
  const grownMb = (process.resourceUsage().maxRSS - before) / 1024;
  t.ok(grownMb < 64, `grew by ${grownMb.toFixed(0)} MB`);
});
