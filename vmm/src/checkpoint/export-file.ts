/** Writes a checkpoint and what it is a difference to as one file. */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { END, encodeIndex, INDEX } from './export-format.js';
import type { Link } from './flatten.js';
import {
  damaged,
  digestOf,
  type Layer,
  type Manifest,
  PAGE,
  STATE_VERSION,
  textOf,
} from './manifest.js';
import { countPages, hashPages, type OnBytes, storedPages, unite } from './pages.js';
import { verifyMemory } from './parts.js';
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
  state: Uint8Array;
  memoryPath: string;
}

/** What an export reads: opened before it begins, so that it does not matter what becomes of the checkpoint meanwhile. */
interface Source {
  items: Item[];
  layers: { layer: Layer; path: string }[];
  close(): void;
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
  const source = await store.reading(nameOrId, (lineage) => openSource(store, lineage, options));
  try {
    const archive = pack();
    const writing = writeAll(archive, source, options.onBytes).catch((error) =>
      archive.destroy(error),
    );
    yield* archive as unknown as AsyncIterable<Uint8Array>;
    await writing;
  } finally {
    source.close();
  }
}

async function openSource(
  store: CheckpointStore,
  lineage: readonly Manifest[],
  { flatten, layers = true }: ExportOptions,
): Promise<Source> {
  const fds: number[] = [];
  const opened = (fd: number) => {
    fds.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  const close = () => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  try {
    const chain = await store.chain(lineage);
    const open = (path: string) => opened(openSync(path, 'r'));
    const items = flatten
      ? [await wholeItem(chain, opened(await store.openMemory(chain)))]
      : chain.map((link) => itemOf(link, open));
    const needed = new Map(
      items.flatMap(({ manifest }) => manifest.layers.map((layer) => [layer.digest, layer])),
    );
    const files = [...(layers ? needed.values() : [])].map((layer) => ({
      layer,
      path: open(store.layers.path(layer.digest)),
    }));
    return { items, layers: files, close };
  } catch (error) {
    close();
    throw error;
  }
}

function itemOf({ folder, manifest, state }: Link, open: (path: string) => string): Item {
  const path = join(folder, manifest.state.file);
  return {
    manifest,
    runs: state.runs,
    state: readFileSync(path),
    memoryPath: open(join(folder, manifest.memory.file)),
  };
}

/** A chain as one checkpoint that has no parent. */
async function wholeItem(chain: readonly Link[], memoryPath: string): Promise<Item> {
  for (const link of chain) await verifyMemory(link.folder, link.manifest, link.state);
  const last = chain.at(-1)!;
  const runs = chain.map(({ state }) => state.runs).reduce(unite);
  const state = encodeState({ ...last.state, runs });
  const { parent: _, ...rest } = last.manifest;
  const manifest: Manifest = {
    ...rest,
    memory: {
      ...rest.memory,
      pages: countPages(runs),
      sha256: await hashPages(memoryPath, runs),
    },
    state: { ...rest.state, version: STATE_VERSION, sha256: digestOf(state) },
  };
  return { manifest, runs, state, memoryPath };
}

async function writeAll(
  archive: Pack,
  { items, layers }: Source,
  onBytes: OnBytes = () => {},
): Promise<void> {
  const texts = items.map(({ manifest }) => Buffer.from(textOf(manifest)));
  const index = encodeIndex({
    checkpoints: items.map(({ manifest: { id } }, i) => ({ id, sha256: digestOf(texts[i]!) })),
    layers: layers.map(({ layer }) => layer),
  });
  await writeBytes(archive, INDEX, index);
  for (const [i, item] of items.entries()) await writeItem(archive, item, texts[i]!, onBytes);
  for (const { layer, path } of layers) {
    const name = `layers/${layer.digest}.erofs`;
    const digest = await writeStream(archive, name, layer.size, createReadStream(path), onBytes);
    if (digest !== layer.digest) throw damaged(`layer ${layer.digest} has other content`);
  }
  await writeBytes(archive, END, Buffer.from(digestOf(index)));
  archive.finalize();
}

async function writeItem(
  archive: Pack,
  { manifest, runs, state, memoryPath }: Item,
  text: Buffer,
  onBytes: OnBytes,
): Promise<void> {
  const { id, name, memory } = manifest;
  await writeBytes(archive, `${id}/manifest.json`, text);
  await writeBytes(archive, `${id}/state`, state);
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
