/** Writes a checkpoint and what it is a difference to as one file. */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { ChainMemory, type Link } from './chain-memory.js';
import { END, encodeIndex, INDEX } from './export-format.js';
import {
  damaged,
  digestOf,
  type Layer,
  type Manifest,
  PAGE,
  STATE_VERSION,
  textOf,
} from './manifest.js';
import { BLOCK, countPages, type OnBytes } from './pages.js';
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
  state: Uint8Array;
  memory: ChainMemory;
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
  const closers: (() => void)[] = [];
  const close = () => {
    for (const closer of closers.splice(0)) closer();
  };
  const open = (chain: readonly Link[], checked: boolean) => {
    const memory = new ChainMemory(chain, { checked });
    closers.push(() => memory.close());
    return memory;
  };
  try {
    const chain = await store.chain(lineage);
    const items = flatten
      ? [await wholeItem(chain, open(chain, true))]
      : chain.map((link) => itemOf(link, open([link], false)));
    const needed = new Map(
      items.flatMap(({ manifest }) => manifest.layers.map((layer) => [layer.digest, layer])),
    );
    const files = [...(layers ? needed.values() : [])].map((layer) => {
      const fd = openSync(store.layers.path(layer.digest), 'r');
      closers.push(() => closeSync(fd));
      return { layer, path: `/proc/self/fd/${fd}` };
    });
    return { items, layers: files, close };
  } catch (error) {
    close();
    throw error;
  }
}

const itemOf = ({ manifest, stateBytes }: Link, memory: ChainMemory): Item => ({
  manifest,
  state: stateBytes,
  memory,
});

/** A chain as one checkpoint that has no parent. It is read twice, as its checksum comes first in the file. */
async function wholeItem(chain: readonly Link[], memory: ChainMemory): Promise<Item> {
  const hash = createHash('sha256');
  for await (const bytes of memory.pages()) hash.update(bytes);
  memory.check();
  const { runs } = memory;
  const last = chain.at(-1)!;
  const state = encodeState({ ...last.state, runs });
  const { parent: _, ...rest } = last.manifest;
  const manifest: Manifest = {
    ...rest,
    memory: { ...rest.memory, pages: countPages(runs), sha256: hash.digest('hex') },
    state: { ...rest.state, version: STATE_VERSION, sha256: digestOf(state) },
  };
  return { manifest, state, memory };
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
    const chunks = createReadStream(path, { highWaterMark: BLOCK });
    const digest = await writeStream(archive, name, layer.size, chunks, onBytes);
    if (digest !== layer.digest) throw damaged(`layer ${layer.digest} has other content`);
  }
  await writeBytes(archive, END, Buffer.from(digestOf(index)));
  archive.finalize();
}

async function writeItem(
  archive: Pack,
  { manifest, state, memory }: Item,
  text: Buffer,
  onBytes: OnBytes,
): Promise<void> {
  const { id, name, memory: part } = manifest;
  await writeBytes(archive, `${id}/manifest.json`, text);
  await writeBytes(archive, `${id}/state`, state);
  const size = part.pages * PAGE;
  const digest = await writeStream(archive, `${id}/memory`, size, copies(memory), onBytes);
  if (digest !== part.sha256) throw damaged(`${name}: ${part.file} has other content`);
}

/** The archive keeps what it is given, and the memory's reader uses its buffer again. */
async function* copies(memory: ChainMemory): AsyncGenerator<Uint8Array> {
  for await (const piece of memory.pages()) yield Buffer.from(piece);
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
      yield chunk;
    }
  };
  await pipeline(hashed, entry as unknown as NodeJS.WritableStream);
  return hash.digest('hex');
}
