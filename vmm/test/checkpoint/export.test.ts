/** Checkpoints as one file: out, in, and in spite of damage not in. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type * as Tap from 'tap';
import t from 'tap';
import { extract, pack } from 'tar-stream';
import {
  CheckpointStore,
  type ExportOptions,
  exportCheckpoint,
  importCheckpoint,
} from '../../src/checkpoint/index.js';

import { digestOf } from '../../src/checkpoint/manifest.js';
import { pagesIn, scratchDir } from './scratch.js';
import { content, prepare } from './steps.js';

const code = (name: string) => ({ code: `MAYFLY_CHECKPOINT_${name}` });

async function setUp(test: Tap.Test) {
  const dir = scratchDir();
  test.teardown(() => dir.remove());
  await prepare(join(dir.path, 'from'));
  return {
    from: await CheckpointStore.open(join(dir.path, 'from')),
    to: await CheckpointStore.open(join(dir.path, 'to')),
  };
}

async function exported(store: CheckpointStore, name: string, options?: ExportOptions) {
  const chunks: Uint8Array[] = [];
  for await (const chunk of exportCheckpoint(store, name, options)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* inPieces(bytes: Uint8Array, size = 1000) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function contentOf(store: CheckpointStore, name: string) {
  await store.verify(name);
  const { memoryFd, close } = await store.load(name);
  const pages = pagesIn(memoryFd);
  close();
  return pages;
}

const names = async (store: CheckpointStore) => (await store.list()).map(({ name }) => name);

t.test('a chain with its layers', async (t) => {
  const { from, to } = await setUp(t);
  const bytes = await exported(from, 'leaf');
  const published = await importCheckpoint(to, inPieces(bytes));
  t.same(
    published.map(({ name }) => name),
    ['root', 'middle', 'leaf'],
  );
  for (const name of ['root', 'middle', 'leaf']) t.same(await contentOf(to, name), content[name]);
  t.same((await to.get('leaf')).id, (await from.get('leaf')).id);
  await t.rejects(importCheckpoint(to, inPieces(bytes)), code('EXISTS'));
  const again = await importCheckpoint(to, inPieces(gzipSync(bytes)), { name: 'copy' });
  t.same(
    again.map(({ name }) => name),
    ['root', 'middle', 'copy'],
    'parents that are there are used',
  );
  t.not(again.at(-1)?.id, (await to.get('leaf')).id);
  t.same(await contentOf(to, 'copy'), content.leaf);
});

t.test('flattened, without layers, and next to others of the same names', async (t) => {
  const { from, to } = await setUp(t);
  const flat = await exported(from, 'leaf', { flatten: true });
  await importCheckpoint(to, inPieces(flat), { name: 'root' });
  t.same(await contentOf(to, 'root'), content.leaf);
  t.equal((await to.get('root')).parent, undefined);
  const bare = await exported(from, 'leaf', { layers: false });
  const published = await importCheckpoint(to, inPieces(bare));
  t.match(published[0]?.name, /^root-[0-9a-f]{8}$/);
  t.same(await contentOf(to, 'leaf'), content.leaf);
  for (const name of await names(to)) await to.remove(name);
  await t.rejects(importCheckpoint(to, inPieces(bare)), code('INCOMPLETE'));
  t.same(await names(to), []);
});

t.test('what is damaged is not exported', async (t) => {
  const { from } = await setUp(t);
  const { memory } = await from.get('leaf');
  const path = join(from.checkpoints, 'leaf', memory.file);
  const bytes = readFileSync(path);
  bytes[700 * 4096]! ^= 1;
  await (await import('node:fs/promises')).writeFile(path, bytes);
  await t.rejects(exported(from, 'leaf'), code('DAMAGED'));
  await t.rejects(exported(from, 'leaf', { flatten: true }), code('DAMAGED'));
});

t.test('a file that is cut or changed anywhere is refused, and nothing is listed', async (t) => {
  const { from, to } = await setUp(t);
  const good = await exported(from, 'middle');
  const refused = async (bytes: Uint8Array) => {
    const result = await importCheckpoint(to, inPieces(bytes, 4096)).catch((error) => error);
    t.match(result, { code: /^MAYFLY_CHECKPOINT_/ });
    t.same(await names(to), []);
  };
  // Cut after `end` and its bytes, an archive lacks nothing but zeros.
  const needed = good.length - 1024 - 512;
  await fc.assert(
    fc.asyncProperty(fc.nat(needed - 1), (length) => refused(good.subarray(0, length))),
    { numRuns: 20 },
  );
  const zip = gzipSync(good);
  await refused(zip.subarray(0, zip.length >> 1));
  await refused(Buffer.from('not an archive at all'));
  await refused(new Uint8Array());
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.nat(7), async (at, bit) => {
      const bytes = Buffer.from(good);
      bytes[at]! ^= 1 << bit;
      const result = await importCheckpoint(to, inPieces(bytes, 4096)).catch((error) => error);
      if (result instanceof Error) {
        t.match(result, { code: /^MAYFLY_CHECKPOINT_/ }, `${at}`);
        t.same(await names(to), []);
        return;
      }
      // The bit was in the padding between entries.
      for (const name of ['root', 'middle']) t.same(await contentOf(to, name), content[name]);
      for (const name of await names(to)) await to.remove(name);
    }),
    { numRuns: 30 },
  );
});

interface Entry {
  name: string;
  bytes: Buffer;
  type?: 'file' | 'symlink' | 'link' | 'directory' | 'fifo';
  linkname?: string;
}

async function unpacked(bytes: Uint8Array): Promise<Entry[]> {
  const archive = extract();
  archive.end(bytes);
  const entries: Entry[] = [];
  for await (const entry of archive) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    entries.push({ name: entry.header.name, bytes: Buffer.concat(chunks) });
  }
  return entries;
}

async function packed(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, bytes, type = 'file', linkname } of entries) {
    archive.entry({ name, type, ...(linkname && { linkname }) }, type === 'file' ? bytes : '');
  }
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

type Index = { checkpoints: { id: string; sha256: string }[]; layers: object[]; version: number };
type Changeable = Record<string, unknown> & { memory: Record<string, unknown> };

/** A file whose checksums are all right again after a change of its index and manifests. */
function forged(
  entries: readonly Entry[],
  changeManifest: (manifest: Changeable, i: number) => void,
  changeIndex: (index: Index) => void = () => {},
): Entry[] {
  const all = entries.map((entry) => ({ ...entry }));
  const index = JSON.parse(all[0]!.bytes.toString()) as Index;
  for (const [i, checkpoint] of index.checkpoints.entries()) {
    const entry = all.find(({ name }) => name === `${checkpoint.id}/manifest.json`)!;
    const { sha256: _, ...manifest } = JSON.parse(entry.bytes.toString());
    changeManifest(manifest, i);
    entry.bytes = Buffer.from(JSON.stringify(manifest));
    checkpoint.sha256 = digestOf(entry.bytes);
  }
  changeIndex(index);
  all[0]!.bytes = Buffer.from(JSON.stringify(index));
  all.at(-1)!.bytes = Buffer.from(digestOf(all[0]!.bytes));
  return all;
}

t.test('a hostile file, whose checksums are right, brings nothing in', async (t) => {
  const { from, to } = await setUp(t);
  const good = await unpacked(await exported(from, 'middle'));
  t.same(
    (await importCheckpoint(to, inPieces(await packed(forged(good, () => {}))))).map((m) => m.name),
    ['root', 'middle'],
    'so forged files are read',
  );
  for (const name of await names(to)) await to.remove(name);
  const at = (end: string) => good.findIndex(({ name }) => name.endsWith(end));
  const replaced = (i: number, entry: Partial<Entry>) => good.with(i, { ...good[i]!, ...entry });
  const huge = 2 ** 52;
  const files: Record<string, Entry[]> = {
    'a link instead of memory': replaced(at('/memory'), {
      type: 'symlink',
      linkname: '/etc/shadow',
    }),
    'a hard link instead of a layer': replaced(at('.erofs'), {
      type: 'link',
      linkname: '/etc/shadow',
    }),
    'a folder instead of a state': replaced(at('/state'), { type: 'directory' }),
    'a way out of the folder': replaced(at('/memory'), { name: '../../../../tmp/memory' }),
    'an absolute name': replaced(at('.erofs'), { name: '/etc/passwd' }),
    'one entry twice': good.toSpliced(2, 0, good[1]!),
    'one more entry': [...good, { name: 'more', bytes: Buffer.alloc(0) }],
    'entries in another order': [good[0]!, good[2]!, good[1]!, ...good.slice(3)],
    'ids that are paths': forged(
      good,
      () => {},
      (index) => Object.assign(index.checkpoints[0]!, { id: '../../../x' }),
    ),
    'one id twice': forged(
      good,
      () => {},
      (index) => index.checkpoints.push(index.checkpoints[0]!),
    ),
    'layers that are paths': forged(
      good,
      () => {},
      (index) => index.layers.push({ digest: '../../x', size: 1 }),
    ),
    'a layer of 4 PiB': forged(
      good,
      () => {},
      (index) => index.layers.splice(0, 1, { ...index.layers[0], size: huge }),
    ),
    'very many layers': forged(
      good,
      () => {},
      (index) => {
        index.layers = new Array(1001).fill(index.layers[0]);
      },
    ),
    'one name twice': forged(good, (m) => Object.assign(m, { name: 'same' })),
    'names that are paths': forged(good, (m) => Object.assign(m, { name: '../x' })),
    'files that are paths': forged(good, (m) => Object.assign(m.memory, { file: '../../x' })),
    'memory and state in one file': forged(good, (m) =>
      Object.assign(m.memory, { file: (m.state as { file: string }).file }),
    ),
    'memory of 4 PiB': forged(good, (m) => Object.assign(m.memory, { size: huge })),
    'no memory at all': forged(good, (m) => Object.assign(m.memory, { size: 0 })),
    'a part of a page': forged(good, (m) => Object.assign(m.memory, { size: 4 * 2 ** 20 + 1 })),
    'more pages than there are': forged(good, (m) => Object.assign(m.memory, { pages: 2 ** 40 })),
    'a parent in the middle of nowhere': forged(good, (m, i) => {
      if (i === 0) m.parent = '0123456789abcdef';
    }),
    'a memory of another size than the parent’s': forged(good, (m, i) => {
      if (i === 1) m.memory.size = 8 * 2 ** 20;
    }),
    'a million nested lists': replaced(0, { bytes: Buffer.from('['.repeat(1_000_000)) }),
  };
  for (const [what, entries] of Object.entries(files)) {
    const result = await importCheckpoint(to, inPieces(await packed(entries), 50_000)).catch(
      (error) => error,
    );
    t.match(result, { code: /^MAYFLY_CHECKPOINT_(DAMAGED|BAD_NAME)$/ }, what);
    t.same(readdirSync(to.checkpoints), [], what);
  }
  const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20)); // 64 MiB of nothing
  await t.rejects(importCheckpoint(to, inPieces(bomb)), code('DAMAGED'));
  await CheckpointStore.open(to.dir);
  t.same(readdirSync(to.layers.dir), [], 'nothing is left over');
});
