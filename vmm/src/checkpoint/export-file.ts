/** Writes a checkpoint and what it is a difference to as one file. */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { END, encodeIndex, INDEX } from './export-format.js';
import type { Link } from './flatten.js';
import { damaged, type Layer, type Manifest, STATE_VERSION, textOf } from './manifest.js';
import { countPages, hashPages, type OnBytes, PAGE, storedPages, unite } from './pages.js';
import { digestOf, verifyMemory } from './parts.js';
import { encodeState } from './state.js';
import type { CheckpointStore } from './store.js';

export interface ExportOptions {
  /** One whole checkpoint instead of the chain of differences. */
  flatten?: boolean;
  /** Default: true. Without them the file can only be imported where they are. */
  layers?: boolean;
  onBytes?: OnBytes;
}

interface Item {
  manifest: Manifest;
  runs: Uint32Array;
  memoryPath: string;
  readState: () => Promise<Uint8Array>;
}

/** Bytes of guest memory and layers that an export is going to have, for a progress bar. */
export function exportBytes(items: readonly Manifest[], layers: readonly Layer[]): number {
  const pages = items.reduce((sum, { memory }) => sum + memory.pages, 0);
  return pages * PAGE + layers.reduce((sum, { size }) => sum + size, 0);
}

/**
 * The file's bytes. What is read is verified on the way.
 * Throws MAYFLY_CHECKPOINT_UNKNOWN, and MAYFLY_CHECKPOINT_DAMAGED in the middle when the checkpoint is.
 */
export async function* exportCheckpoint(
  store: CheckpointStore,
  nameOrId: string,
  options: ExportOptions = {},
): AsyncGenerator<Uint8Array> {
  const chain = await store.chain(await store.get(nameOrId));
  const memoryFd = options.flatten ? await store.openMemory(chain) : undefined;
  try {
    const items =
      memoryFd === undefined
        ? chain.map(itemOf)
        : [await wholeItem(chain, `/proc/self/fd/${memoryFd}`)];
    const archive = pack();
    const writing = writeAll(archive, store, items, options).catch((error) =>
      archive.destroy(error),
    );
    yield* archive as unknown as AsyncIterable<Uint8Array>;
    await writing;
  } finally {
    if (memoryFd !== undefined) closeSync(memoryFd);
  }
}

function itemOf({ folder, manifest, state }: Link): Item {
  return {
    manifest,
    runs: state.runs,
    memoryPath: join(folder, manifest.memory.file),
    readState: () => readFile(join(folder, manifest.state.file)),
  };
}

/** A chain as one checkpoint that has no parent. */
async function wholeItem(chain: readonly Link[], memoryPath: string): Promise<Item> {
  for (const link of chain) await verifyMemory(link.folder, link.manifest, link.state);
  const last = chain.at(-1)!;
  const runs = chain.map(({ state }) => state.runs).reduce(unite);
  const bytes = encodeState({ ...last.state, runs });
  const { parent: _, ...rest } = last.manifest;
  const manifest: Manifest = {
    ...rest,
    memory: {
      ...rest.memory,
      pages: countPages(runs),
      sha256: await hashPages(memoryPath, runs),
    },
    state: { ...rest.state, version: STATE_VERSION, sha256: digestOf(bytes) },
  };
  return { manifest, runs, memoryPath, readState: async () => bytes };
}

async function writeAll(
  archive: Pack,
  store: CheckpointStore,
  items: readonly Item[],
  { layers = true, onBytes = () => {} }: ExportOptions,
): Promise<void> {
  const texts = items.map(({ manifest }) => Buffer.from(textOf(manifest)));
  const needed = new Map(
    items.flatMap(({ manifest }) => manifest.layers.map((l) => [l.digest, l])),
  );
  const index = encodeIndex({
    checkpoints: items.map(({ manifest: { id } }, i) => ({ id, sha256: digestOf(texts[i]!) })),
    layers: layers ? [...needed.values()] : [],
  });
  await writeBytes(archive, INDEX, index);
  for (const [i, item] of items.entries()) await writeItem(archive, item, texts[i]!, onBytes);
  for (const layer of layers ? needed.values() : []) {
    const chunks = createReadStream(store.layers.path(layer.digest));
    const name = `layers/${layer.digest}.erofs`;
    const digest = await writeStream(archive, name, layer.size, chunks, onBytes);
    if (digest !== layer.digest) throw damaged(`layer ${layer.digest} has other content`);
  }
  await writeBytes(archive, END, Buffer.from(digestOf(index)));
  archive.finalize();
}

async function writeItem(
  archive: Pack,
  { manifest, runs, memoryPath, readState }: Item,
  text: Buffer,
  onBytes: OnBytes,
): Promise<void> {
  const { id, name, memory, state } = manifest;
  await writeBytes(archive, `${id}/manifest.json`, text);
  const bytes = await readState();
  if (digestOf(bytes) !== state.sha256) throw damaged(`${name}: ${state.file} has other content`);
  await writeBytes(archive, `${id}/state`, bytes);
  const pages = storedPages(memoryPath, runs);
  const digest = await writeStream(archive, `${id}/memory`, memory.pages * PAGE, pages, onBytes);
  if (digest !== memory.sha256) throw damaged(`${name}: ${memory.file} has other content`);
}

function writeBytes(archive: Pack, name: string, bytes: Uint8Array): Promise<string> {
  return writeStream(archive, name, bytes.length, Readable.from([bytes]));
}

/** An entry of `size` bytes; their SHA-256. */
async function writeStream(
  archive: Pack,
  name: string,
  size: number,
  chunks: AsyncIterable<Uint8Array>,
  onBytes: OnBytes = () => {},
): Promise<string> {
  const hash = createHash('sha256');
  const entry = archive.entry({ name, size, mode: 0o600, mtime: new Date(0) });
  const hashed = async function* () {
    for await (const chunk of chunks) {
      hash.update(chunk);
      onBytes(chunk.length);
      yield Buffer.from(chunk); // the archive keeps it, the source uses its buffer again
    }
  };
  await pipeline(hashed, entry as unknown as NodeJS.WritableStream);
  return hash.digest('hex');
}
