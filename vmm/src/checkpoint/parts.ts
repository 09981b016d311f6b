/**
 * The files in a checkpoint's folder: written, read, found right, and replaced. Small ones are read at once: a cold start reads
 * half a dozen, and waiting for a thread and a turn of a busy event loop would take longer each time.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as durable from '@mayfly/image/durable';
import { MayflyError } from '@mayfly/protocol';
import type { Link } from './chain-memory.js';
import type { LayerFolder } from './layers.js';
import {
  damaged,
  digestOf,
  type Manifest,
  type MemoryPart,
  parseManifest,
  STATE_VERSION,
  type StatePart,
  textOf,
} from './manifest.js';
import { countPages, type OnBytes, writePages } from './pages.js';
import { decodeState, encodeState, type StoredState } from './state.js';

const { createFile, removeAbandoned, replaceFile, sync } = durable;

export const MANIFEST = 'manifest.json';
const VERIFIED = 'verified';
/** Written and read in working-set.ts. */
export const WORKING_SET = 'working-set';

export const randomId = (): string => randomBytes(8).toString('hex');

/** The manifest of a folder. Throws MAYFLY_CHECKPOINT_DAMAGED, _VERSION, and ENOENT. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  return parseManifest(readFileSync(path, 'utf8'), path);
}

/** Throws MAYFLY_CHECKPOINT_DAMAGED, _VERSION. */
export async function readLink(folder: string, manifest: Manifest): Promise<Link> {
  const { name, state: part } = manifest;
  let stateBytes: Uint8Array;
  try {
    stateBytes = readFileSync(join(folder, part.file));
  } catch (cause) {
    throw damaged(`${name}: ${part.file} cannot be read`, cause);
  }
  if (digestOf(stateBytes) !== part.sha256) {
    throw damaged(`${name}: ${part.file} has other content`);
  }
  return { folder, manifest, state: checkedState(stateBytes, manifest), stateBytes };
}

/** Throws MAYFLY_CHECKPOINT_DAMAGED unless the state fits the memory, _VERSION for another form of state. */
export function checkedState(bytes: Uint8Array, manifest: Manifest): StoredState {
  const { name, memory, state: part } = manifest;
  if (part.version !== STATE_VERSION) {
    const message = `${name} has state version ${part.version}; this Mayfly reads ${STATE_VERSION}`;
    throw new MayflyError('MAYFLY_CHECKPOINT_VERSION', message);
  }
  const state = decodeState(bytes, memory.size);
  if (countPages(state.runs) === memory.pages) return state;
  throw damaged(`${name}: the list of pages is not the manifest’s`);
}

/** Writes and syncs a new file. */
export async function writeFileSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

type Read = Parameters<typeof writePages>[3];

/** New memory and state files: pages that `read` gives, and the state with the list of them. */
export async function writeParts(
  folder: string,
  size: number,
  state: StoredState,
  read: Read,
  onBytes?: OnBytes,
): Promise<{ memory: MemoryPart; state: StatePart }> {
  const id = randomId();
  const { runs } = state;
  const memory = { file: `memory-${id}`, sha256: '', size, pages: countPages(runs) };
  memory.sha256 = await writePages(join(folder, memory.file), size, runs, read, onBytes);
  const bytes = encodeState(state);
  const file = `state-${id}`;
  await writeFileSynced(join(folder, file), bytes);
  return { memory, state: { file, sha256: digestOf(bytes), version: STATE_VERSION } };
}

/** For a folder that has no name yet. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFileSynced(join(folder, MANIFEST), textOf(manifest));
  await sync(folder);
}

/**
 * Changes a checkpoint, while nobody else does: `write` makes new parts beside the old ones, and the manifest that it returns
 * takes the place of the old one.
 */
export async function changeParts(
  folder: string,
  write: () => Promise<Manifest>,
): Promise<Manifest> {
  try {
    const manifest = await write();
    await createFile(folder, async (temporary) => {
      await writeFileSynced(temporary, textOf(manifest));
      await sync(folder); // the parts that it names
      return MANIFEST;
    });
    return manifest;
  } finally {
    await sweepParts(folder, await readManifest(folder)); // of before or after
  }
}

/** Removes files that the manifest does not name, of a change that is over, while nobody changes it. */
export async function sweepParts(folder: string, manifest: Manifest): Promise<void> {
  const { memory, state } = manifest;
  const named = new Set([MANIFEST, VERIFIED, WORKING_SET, memory.file, state.file]);
  await removeAbandoned(folder);
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  for (const name of names) if (!named.has(name)) await rm(join(folder, name), { force: true });
}

/* ---- what was found right and has not been touched since needs no second look ---- */

/** Changes whenever somebody writes to memory or layers, or puts other files in their place. */
function stampOf(folder: string, manifest: Manifest, layers: LayerFolder): string {
  const { sha256, file } = manifest.memory;
  const { ino, size, mtimeNs, ctimeNs } = statSync(join(folder, file), { bigint: true });
  const lines = [`memory ${sha256} ${ino} ${size} ${mtimeNs} ${ctimeNs}`];
  for (const layer of manifest.layers) lines.push(layers.stamp(layer));
  return `${lines.join('\n')}\n`;
}

/** Where it cannot be kept, on a full disk for instance, the next load computes checksums again. */
export async function stampVerified(
  folder: string,
  manifest: Manifest,
  layers: LayerFolder,
): Promise<void> {
  await replaceFile(join(folder, VERIFIED), stampOf(folder, manifest, layers)).catch(() => {});
}

export function isVerified(folder: string, manifest: Manifest, layers: LayerFolder): boolean {
  try {
    return readFileSync(join(folder, VERIFIED), 'utf8') === stampOf(folder, manifest, layers);
  } catch {
    return false;
  }
}
