/** Reads what export-file.ts writes. Everything is checked before anything appears in the store. */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { decompress } from '@mayfly/image';
import * as durable from '@mayfly/image/durable';
import { MayflyError } from '@mayfly/protocol';
import { extract } from 'tar-stream';
import { GuestMemory } from '../kvm/index.js';
import { decodeIndex, END, type ExportIndex, INDEX } from './export-format.js';
import { damaged, digestOf, type Layer, type Manifest, PAGE, parseManifest } from './manifest.js';
import { BLOCK, type OnBytes, pieces, writeAll } from './pages.js';
import { checkedState, randomId, writeFileSynced } from './parts.js';
import type { CheckpointStore } from './store.js';

const { sync } = durable;

const SMALL_BYTES_MAX = 1 << 20;
/** Lists of pages of the largest and most scattered memory, and what devices hold. */
const STATE_BYTES_MAX = 256 << 20;

export interface ImportOptions {
  /** Instead of the name that the exported checkpoint had. */
  name?: string;
  onBytes?: OnBytes;
  /** Told what a checkpoint might connect to where the file was made. A file opens nothing here. */
  onNetwork?(name: string, rules: readonly string[]): void;
}

interface Staged {
  folder: string;
  manifest: Manifest;
}

/**
 * Takes in a file that was exported, from any stream of bytes (gzip and zstd too). Checkpoints appear oldest first, each
 * whole; those that are there already are used. The last one is the checkpoint that was exported.
 *
 * Throws MAYFLY_CHECKPOINT_DAMAGED, _VERSION, _EXISTS, _BAD_NAME, and _INCOMPLETE when layers are neither in the file nor here.
 */
export function importCheckpoint(
  store: CheckpointStore,
  chunks: AsyncIterable<Uint8Array>,
  { name, onBytes = () => {}, onNetwork }: ImportOptions = {},
): Promise<Manifest[]> {
  return store.staged(async (stage) => {
    const entries = new Entries(chunks);
    try {
      const { staged, images } = await stageAll(entries, stage, onBytes);
      return await store.alone(async () => {
        await store.layers.add(images);
        checkLayers(store, staged);
        return publishAll(
          store,
          staged.map((one) => withoutNetwork(one, onNetwork)),
          name,
        );
      });
    } catch (error) {
      throw isForeign(error) ? damaged(`the file cannot be read: ${error.message}`, error) : error;
    } finally {
      entries.close();
    }
  });
}

function withoutNetwork(
  { folder, manifest: { network, ...manifest } }: Staged,
  onNetwork: ImportOptions['onNetwork'],
): Staged {
  if (network !== undefined) onNetwork?.(manifest.name, network);
  return { folder, manifest };
}

/** Errors of the archive's reader have no code of ours and none of the system's. */
function isForeign(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof MayflyError) return false;
  const { code, errno } = error as NodeJS.ErrnoException;
  return errno === undefined || code?.startsWith('Z_') === true;
}

async function stageAll(entries: Entries, stage: string, onBytes: OnBytes) {
  const bytes = await entries.bytes(INDEX, SMALL_BYTES_MAX);
  const index = decodeIndex(bytes);
  const staged: Staged[] = [];
  for (const item of index.checkpoints) {
    const folder = join(stage, item.id);
    await mkdir(folder, { mode: 0o700 });
    staged.push({ folder, manifest: await stageOne(entries, folder, item, onBytes) });
  }
  checkChain(staged);
  const images: string[] = [];
  for (const layer of index.layers) images.push(await stageLayer(entries, stage, layer, onBytes));
  const end = await entries.bytes(END, SMALL_BYTES_MAX);
  if (Buffer.from(end).toString() !== digestOf(bytes)) throw damaged(`${INDEX} has other content`);
  await entries.end();
  return { staged, images };
}

async function stageOne(
  entries: Entries,
  folder: string,
  { id, sha256 }: ExportIndex['checkpoints'][number],
  onBytes: OnBytes,
): Promise<Manifest> {
  const text = await entries.bytes(`${id}/manifest.json`, SMALL_BYTES_MAX);
  if (digestOf(text) !== sha256) throw damaged(`${id}/manifest.json has other content`);
  const manifest = parseManifest(Buffer.from(text).toString(), `${id}/manifest.json`);
  const { name, memory, state: part } = manifest;
  if (manifest.id !== id || memory.file === part.file) throw damaged(`${id}: a wrong manifest`);
  const bytes = await entries.bytes(`${id}/state`, STATE_BYTES_MAX);
  if (digestOf(bytes) !== part.sha256) throw damaged(`${name}: the state has other content`);
  const state = checkedState(bytes, manifest);
  await writeFileSynced(join(folder, part.file), bytes);
  const digest = await writeTo(join(folder, memory.file), async (file) => {
    await file.truncate(memory.size);
    const source = await entries.next(`${id}/memory`, memory.pages * PAGE);
    return copyTo(file, source, pieces(state.runs), onBytes);
  });
  if (digest !== memory.sha256) throw damaged(`${name}: its memory has other content`);
  return manifest;
}

async function stageLayer(
  entries: Entries,
  stage: string,
  { digest, size }: Layer,
  onBytes: OnBytes,
): Promise<string> {
  const path = join(stage, `${digest}.erofs`);
  const found = await writeTo(path, async (file) =>
    copyTo(file, await entries.next(`layers/${digest}.erofs`, size), evenPieces(size), onBytes),
  );
  if (found !== digest) throw damaged(`layer ${digest} has other content`);
  return path;
}

/** A new file, synced, and out of the page cache: machines map it (docs/decisions/0015-large-folios-for-stored-templates.md). */
async function writeTo<T>(path: string, write: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, 'wx', 0o600);
  try {
    const result = await write(file);
    await file.sync();
    GuestMemory.uncache(file.fd);
    return result;
  } finally {
    await file.close();
  }
}

function* evenPieces(size: number): Generator<[offset: number, length: number]> {
  for (let at = 0; at < size; at += BLOCK) yield [at, Math.min(BLOCK, size - at)];
}

/** Bytes one after the other go to places one after the other, each at once; their SHA-256. */
async function copyTo(
  file: FileHandle,
  source: AsyncIterable<Uint8Array>,
  places: Iterable<[offset: number, length: number]>,
  onBytes: OnBytes,
): Promise<string> {
  const hash = createHash('sha256');
  const place = places[Symbol.iterator]();
  const buffer = Buffer.allocUnsafe(BLOCK);
  let [at, length, filled] = [0, 0, 0];
  for await (const chunk of source) {
    hash.update(chunk);
    onBytes(chunk.length);
    for (let done = 0; done < chunk.length; ) {
      if (filled === length) [[at, length], filled] = [place.next().value ?? [0, 0], 0];
      if (length === 0) throw damaged('more bytes than there should be');
      const part = chunk.subarray(done, done + length - filled);
      buffer.set(part, filled);
      done += part.length;
      filled += part.length;
      if (filled === length) await writeAll(file, buffer.subarray(0, length), at);
    }
  }
  return hash.digest('hex');
}

/** Each checkpoint is a difference to the one before, and has a name of its own. */
function checkChain(staged: readonly Staged[]): void {
  if (new Set(staged.map(({ manifest }) => manifest.name)).size < staged.length) {
    throw damaged('two checkpoints of the file have one name');
  }
  for (const [i, { manifest }] of staged.entries()) {
    const before = staged[i - 1]?.manifest;
    if (manifest.parent !== before?.id || (before && before.memory.size !== manifest.memory.size)) {
      throw damaged(`${manifest.name} does not belong to the checkpoint before it`);
    }
  }
}

function checkLayers(store: CheckpointStore, staged: readonly Staged[]): void {
  const missing = new Set<string>();
  for (const layer of staged.flatMap(({ manifest }) => manifest.layers)) {
    if (!store.layers.has(layer)) missing.add(layer.digest);
  }
  if (missing.size === 0) return;
  throw new MayflyError(
    'MAYFLY_CHECKPOINT_INCOMPLETE',
    `these layers are neither in the file nor here: ${[...missing].join(', ')}`,
  );
}

async function publishAll(
  store: CheckpointStore,
  staged: readonly Staged[],
  name: string | undefined,
): Promise<Manifest[]> {
  const there = await store.list();
  const target = name ?? staged.at(-1)!.manifest.name;
  await store.checkFree(target);
  const names = new Set([target, ...[...there, ...(await store.broken())].map((m) => m.name)]);
  const published: Manifest[] = [];
  for (const [i, { folder, manifest }] of staged.entries()) {
    const parent = published.at(-1)?.id;
    const same = i < staged.length - 1 ? there.find((m) => isSame(m, manifest, parent)) : undefined;
    if (same !== undefined) {
      published.push(same);
      continue;
    }
    const isTaken = there.some(({ id }) => id === manifest.id);
    const adopted: Manifest = {
      ...manifest,
      id: isTaken ? randomId() : manifest.id,
      name: i === staged.length - 1 ? target : nameFor(manifest.name, names),
      ...(parent && { parent }),
    };
    names.add(adopted.name);
    await sync(folder);
    await store.publish(folder, adopted);
    published.push(adopted);
  }
  return published;
}

/** Whether a checkpoint of the store is the very one of the file: an earlier import, or where the file comes from. */
function isSame(here: Manifest, other: Manifest, parent: string | undefined): boolean {
  return (
    here.id === other.id &&
    here.parent === parent &&
    here.memory.sha256 === other.memory.sha256 &&
    here.state.sha256 === other.state.sha256
  );
}

/** An ancestor keeps its name where it is free. */
function nameFor(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(name)) return name;
  const other = `${name.slice(0, 54)}-${randomId().slice(0, 8)}`;
  return nameFor(other, taken);
}

type Entry = AsyncIterable<Uint8Array> & {
  header: { name: string; size?: number | null; type?: string | null };
};

/** The entries of an archive, which must be the expected ones in the expected order. */
class Entries {
  readonly #input: Readable;
  readonly #archive = extract();
  readonly #entries: AsyncIterator<Entry>;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#input = Readable.from(decompress(chunks));
    this.#input.on('error', (error) => this.#archive.destroy(error));
    this.#input.pipe(this.#archive);
    this.#entries = (this.#archive as unknown as AsyncIterable<Entry>)[Symbol.asyncIterator]();
  }

  /** The next entry's content, to be read to its end. */
  async next(name: string, size: number): Promise<AsyncIterable<Uint8Array>> {
    const entry = await this.#next(name);
    if (entry.header.size === size) return entry;
    throw damaged(`${name} has ${entry.header.size} bytes, not ${size}`);
  }

  async bytes(name: string, max: number): Promise<Uint8Array> {
    const entry = await this.#next(name);
    if ((entry.header.size ?? 0) > max) throw damaged(`${name} is too large`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async end(): Promise<void> {
    const { done, value } = await this.#entries.next();
    if (done !== true) throw damaged(`${value.header.name} follows behind the end`);
  }

  close(): void {
    this.#input.destroy();
    this.#archive.destroy();
  }

  async #next(name: string): Promise<Entry> {
    const { done, value } = await this.#entries.next();
    if (done === true) throw damaged(`the file ends before ${name}`);
    if (value.header.name === name && value.header.type === 'file') return value;
    throw damaged(`there is ${JSON.stringify(value.header.name)} where ${name} should be`);
  }
}
