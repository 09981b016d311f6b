/** Checkpoints as one file: out, in, and in spite of damage not in. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type * as Tap from 'tap';
import t from 'tap';
import {
  CheckpointStore,
  type ExportOptions,
  exportCheckpoint,
  importCheckpoint,
} from '../../src/checkpoint/index.js';
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
