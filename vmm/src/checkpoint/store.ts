/**
 * Checkpoints in a folder, several processes at a time.
 *
 *   layers/<digest>.erofs            the images that checkpoints need, hard links or copies
 *   checkpoints/<name>/manifest.json what there is; replacing it is how a checkpoint changes
 *   checkpoints/<name>/memory-<id>   stored pages, sparse
 *   checkpoints/<name>/state-<id>    vCPU, devices, list of stored pages
 *   checkpoints/<name>/verified      which memory file was found right; only a cache
 *
 * A checkpoint appears by a rename of its folder, changes by a rename of its manifest, and goes by a rename: after a
 * crash each is there as before or as after. What a dead process had under way is removed by the next open().
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { copyFile, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { durable, hashFile } from '@mayfly/image';
import { abi, MayflyError } from '@mayfly/protocol';
import type { GuestMemory } from '../kvm/index.js';
import type { MachineSource, MachineState } from '../machine/machine-state.js';
import { openUnnamed } from '../memory/index.js';
import { describeCpu } from './cpu.js';
import {
  checkName,
  checkRunsHere,
  damaged,
  FORMAT,
  FORMAT_VERSION,
  type Layer,
  type Manifest,
  parseManifest,
} from './manifest.js';
import { copyPages, countPages, hashPages, pagesOf, unite, writePages } from './pages.js';
import { decodeState, encodeState, type StoredState } from './state.js';

/** A machine that stands still. */
export interface Captured {
  memory: GuestMemory;
  state: MachineState;
  /** Paths of its images, bottom first. */
  images: readonly string[];
  command: readonly string[];
}

export interface CreateOptions {
  name: string;
  /** Store only what differs from this checkpoint (name or id), of which `memory` is a later state. */
  parent?: string;
}

/** What a machine can be made from. The file descriptor belongs to the caller. */
export interface Loaded extends MachineSource {
  manifest: Manifest;
}

const { createFile, removeAbandoned, removeFolder, replaceFile, sync, withTemporary } = durable;

const MANIFEST = 'manifest.json';
const VERIFIED = 'verified';
const MANIFEST_BYTES_MAX = 1 << 20;

const isMissing = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';
const randomId = () => randomBytes(8).toString('hex');
const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A folder that should be a checkpoint. */
export interface Broken {
  name: string;
  reason: string;
}

const isBroken = (m: Manifest | Broken): m is Broken => 'reason' in m;

export class CheckpointStore {
  readonly #checkpoints: string;
  readonly #layers: string;

  private constructor(dir: string) {
    this.#checkpoints = join(dir, 'checkpoints');
    this.#layers = join(dir, 'layers');
  }

  /** Opens a store, making it if needed, and removes what crashed processes left behind. */
  static async open(dir: string): Promise<CheckpointStore> {
    const store = new CheckpointStore(dir);
    for (const folder of [store.#checkpoints, store.#layers]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await removeAbandoned(folder);
    }
    for (const manifest of await store.list()) await store.#sweepParts(manifest);
    return store;
  }

  /**
   * Stores a machine's state. The machine must stand still until this resolves, and may then go on.
   * Throws MAYFLY_CHECKPOINT_BAD_NAME, _EXISTS, _UNKNOWN for the parent.
   */
  async create(options: CreateOptions, captured: Captured, base?: GuestMemory): Promise<Manifest> {
    checkName(options.name);
    if (await this.#find(options.name)) throw existsError(options.name);
    const parent = options.parent === undefined ? undefined : await this.get(options.parent);
    return withTemporary(this.#checkpoints, async (folder) => {
      await mkdir(folder, { mode: 0o700 });
      const layers = await this.#addLayers(captured.images);
      const manifest = await writeParts(folder, options.name, captured, layers, parent, base);
      await this.#publishNew(folder, manifest);
      await this.#addLayers(captured.images); // a removal elsewhere may have taken them meanwhile
      return manifest;
    });
  }

  /** All checkpoints whose manifests can be read, by name. */
  async list(): Promise<Manifest[]> {
    return (await this.#all()).filter((m): m is Manifest => !isBroken(m));
  }

  /** Those that cannot: of another version, or damaged. */
  async broken(): Promise<Broken[]> {
    return (await this.#all()).filter(isBroken);
  }

  /** By name or id. Throws MAYFLY_CHECKPOINT_UNKNOWN, _DAMAGED, _VERSION. */
  async get(nameOrId: string): Promise<Manifest> {
    const named = await this.#find(nameOrId);
    const found = named ?? (await this.list()).find(({ id }) => id === nameOrId);
    if (found !== undefined) return found;
    throw new MayflyError('MAYFLY_CHECKPOINT_UNKNOWN', `there is no checkpoint ${nameOrId}`);
  }

  /**
   * Makes a checkpoint ready to start machines from. Memory is mapped by them, not read here, once it was verified.
   * Throws as get() does, MAYFLY_CHECKPOINT_CPU, and MAYFLY_CHECKPOINT_DAMAGED for parts that are missing or wrong.
   */
  async load(nameOrId: string): Promise<Loaded> {
    const manifest = await this.get(nameOrId);
    checkRunsHere(manifest, describeCpu());
    const images = await this.#layerPaths(manifest);
    const chain = await this.#chain(manifest);
    const states = await Promise.all(chain.map((m) => this.#readState(m)));
    for (const [i, m] of chain.entries()) await this.#ensureVerified(m, states[i]!);
    const memoryFd =
      chain.length === 1 ? await this.#openMemory(manifest) : await this.#flatten(chain, states);
    const { runs: _, ...state } = states.at(-1)!;
    return { manifest, memoryFd, memorySize: manifest.memory.size, state, images };
  }

  /** Reads everything of a checkpoint and its parents. Throws as load() does. */
  async verify(nameOrId: string): Promise<void> {
    const manifest = await this.get(nameOrId);
    for (const m of await this.#chain(manifest)) {
      await this.#verifyMemory(m, await this.#readState(m));
    }
    for (const { digest } of manifest.layers) {
      if ((await hashFile(this.#layerPath(digest))) !== digest)
        throw damaged(`layer ${digest} has other content`);
    }
  }

  /**
   * Children are merged with it first, one after the other; what is broken just goes.
   * Throws MAYFLY_CHECKPOINT_UNKNOWN, and MAYFLY_CHECKPOINT_DAMAGED when a child could not be merged.
   */
  async remove(nameOrId: string): Promise<void> {
    if ((await this.broken()).some(({ name }) => name === nameOrId)) {
      await removeFolder(join(this.#checkpoints, nameOrId));
      return;
    }
    const manifest = await this.get(nameOrId);
    const all = await this.list();
    for (const child of all.filter(({ parent }) => parent === manifest.id)) {
      await this.#mergeInto(child, manifest);
    }
    await removeFolder(this.#folder(manifest));
    await this.#dropLayers(manifest.layers);
  }

  /* ---- parts ---- */

  async #all(): Promise<(Manifest | Broken)[]> {
    const names = (await readdir(this.#checkpoints)).filter((name) => !name.startsWith('.'));
    const all = await Promise.all(
      names
        .sort()
        .map((name) =>
          this.#find(name).catch(({ message }) => ({ name, reason: String(message) })),
        ),
    );
    return all.filter((m) => m !== undefined);
  }

  #folder(manifest: Manifest): string {
    return join(this.#checkpoints, manifest.name);
  }

  #layerPath(digest: string): string {
    return join(this.#layers, `${digest}.erofs`);
  }

  async #find(name: string): Promise<Manifest | undefined> {
    const path = join(this.#checkpoints, name, MANIFEST);
    try {
      if ((await stat(path)).size > MANIFEST_BYTES_MAX) throw damaged(`${path} is too large`);
      const manifest = parseManifest(await readFile(path, 'utf8'), path);
      if (manifest.name !== name) throw damaged(`${path} is that of ${manifest.name}`);
      return manifest;
    } catch (error) {
      if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  async #publishNew(folder: string, manifest: Manifest): Promise<void> {
    await writeFileSynced(join(folder, MANIFEST), textOf(manifest));
    await sync(folder);
    await stampVerified(folder, manifest);
    try {
      await rename(folder, this.#folder(manifest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') throw existsError(manifest.name);
      throw error;
    }
    await sync(this.#checkpoints);
  }

  /** The checkpoint and what it is a difference to, oldest first. */
  async #chain(manifest: Manifest): Promise<Manifest[]> {
    const chain = [manifest];
    const all = await this.list();
    for (let m = manifest; m.parent !== undefined; ) {
      const parent = all.find(({ id }) => id === m.parent);
      if (parent === undefined) throw damaged(`${m.name}: its parent ${m.parent} is missing`);
      if (chain.includes(parent) || parent.memory.size !== m.memory.size) {
        throw damaged(`${m.name}: ${parent.name} cannot be its parent`);
      }
      chain.unshift(parent);
      m = parent;
    }
    return chain;
  }

  async #readState(manifest: Manifest): Promise<StoredState> {
    const path = join(this.#folder(manifest), manifest.state.file);
    const bytes = await readFile(path).catch((cause) => {
      throw damaged(`${manifest.name}: ${manifest.state.file} cannot be read`, cause);
    });
    if (digestOf(bytes) !== manifest.state.sha256) {
      throw damaged(`${manifest.name}: ${manifest.state.file} has other content`);
    }
    const state = decodeState(bytes, manifest.memory.size);
    if (countPages(state.runs) !== manifest.memory.pages) {
      throw damaged(`${manifest.name}: the list of pages is not the manifest’s`);
    }
    return state;
  }

  async #openMemory(manifest: Manifest): Promise<number> {
    return openSync(join(this.#folder(manifest), manifest.memory.file), 'r');
  }

  /** Memory that was found right and has not been touched since needs no second look. */
  async #ensureVerified(manifest: Manifest, state: StoredState): Promise<void> {
    const folder = this.#folder(manifest);
    const stamp = await readFile(join(folder, VERIFIED), 'utf8').catch(() => undefined);
    if (stamp !== undefined && stamp === (await stampOf(folder, manifest).catch(() => ''))) return;
    await this.#verifyMemory(manifest, state);
  }

  async #verifyMemory(manifest: Manifest, state: StoredState): Promise<void> {
    const folder = this.#folder(manifest);
    const path = join(folder, manifest.memory.file);
    const found = await stat(path).catch((cause) => {
      throw damaged(`${manifest.name}: ${manifest.memory.file} cannot be read`, cause);
    });
    if (found.size !== manifest.memory.size) {
      throw damaged(
        `${manifest.name}: ${manifest.memory.file} has ${found.size} bytes, not ${manifest.memory.size}`,
      );
    }
    if ((await hashPages(path, state.runs)) !== manifest.memory.sha256) {
      throw damaged(`${manifest.name}: ${manifest.memory.file} has other content`);
    }
    await stampVerified(folder, manifest);
  }

  /** The memory of a chain as one file. */
  async #flatten(chain: readonly Manifest[], states: readonly StoredState[]): Promise<number> {
    const fd = openUnnamed(this.#checkpoints);
    try {
      await this.#copyChain(fd, chain, states);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  async #copyChain(
    fd: number,
    chain: readonly Manifest[],
    states: readonly StoredState[],
  ): Promise<void> {
    const to = await open(`/proc/self/fd/${fd}`, 'r+');
    try {
      await to.truncate(chain[0]!.memory.size);
      for (const [i, manifest] of chain.entries()) {
        const from = await open(join(this.#folder(manifest), manifest.memory.file), 'r');
        try {
          await copyPages(from, to, states[i]!.runs);
        } finally {
          await from.close();
        }
      }
    } finally {
      await to.close();
    }
  }

  /** Makes `child` a difference to its grandparent, or whole. */
  async #mergeInto(child: Manifest, parent: Manifest): Promise<void> {
    const merged = await withTemporary(this.#folder(child), async (mark) => {
      await writeFileSynced(mark, ''); // another process that opens the store leaves the new parts alone
      const manifest = await this.#writeMerged(child, parent);
      await this.#replaceManifest(manifest);
      return manifest;
    });
    await this.#sweepParts(merged);
  }

  async #writeMerged(child: Manifest, parent: Manifest): Promise<Manifest> {
    const folder = this.#folder(child);
    const [older, newer] = [await this.#readState(parent), await this.#readState(child)];
    const runs = unite(older.runs, newer.runs);
    const memoryFd = await this.#flatten([parent, child], [older, newer]);
    const source = await open(`/proc/self/fd/${memoryFd}`, 'r');
    const id = randomId();
    const memory = { ...child.memory, file: `memory-${id}`, pages: countPages(runs) };
    try {
      memory.sha256 = await writePages(
        join(folder, memory.file),
        memory.size,
        runs,
        async (offset, length) => {
          const bytes = Buffer.allocUnsafe(length);
          await source.read(bytes, 0, length, offset);
          return bytes;
        },
      );
    } finally {
      await source.close();
      closeSync(memoryFd);
    }
    const stateBytes = encodeState({ ...newer, runs });
    const state = { file: `state-${id}`, sha256: digestOf(stateBytes) };
    await writeFileSynced(join(folder, state.file), stateBytes);
    const { parent: _, ...rest } = child;
    return { ...rest, ...(parent.parent && { parent: parent.parent }), memory, state };
  }

  async #replaceManifest(manifest: Manifest): Promise<void> {
    const folder = this.#folder(manifest);
    await createFile(folder, async (temporary) => {
      await writeFileSynced(temporary, textOf(manifest));
      await sync(folder); // the parts that it names
      return MANIFEST;
    });
    await stampVerified(folder, manifest);
  }

  /** Removes files that the manifest does not name: of a change that did not finish. */
  async #sweepParts(manifest: Manifest): Promise<void> {
    const folder = this.#folder(manifest);
    const named = new Set([MANIFEST, VERIFIED, manifest.memory.file, manifest.state.file]);
    await removeAbandoned(folder);
    const names = await readdir(folder);
    if (names.some((name) => name.startsWith('.'))) return; // a change is under way
    for (const name of names) if (!named.has(name)) await rm(join(folder, name), { force: true });
  }

  /* ---- layers ---- */

  async #addLayers(images: readonly string[]): Promise<Layer[]> {
    const layers: Layer[] = [];
    for (const path of images) {
      const digest = await imageDigest(path);
      await this.#addLayer(path, this.#layerPath(digest));
      layers.push({ digest, size: (await stat(path)).size });
    }
    return layers;
  }

  async #addLayer(path: string, to: string): Promise<void> {
    try {
      await link(path, to);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return;
      if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
      await createFile(this.#layers, async (temporary) => {
        await copyFile(path, temporary);
        await sync(temporary);
        return basename(to);
      });
    }
  }

  async #layerPaths(manifest: Manifest): Promise<string[]> {
    return Promise.all(
      manifest.layers.map(async ({ digest, size }) => {
        const path = this.#layerPath(digest);
        const found = await stat(path).catch((cause) => {
          throw damaged(`${manifest.name}: layer ${digest} is missing`, cause);
        });
        if (found.size !== size)
          throw damaged(`layer ${digest} has ${found.size} bytes, not ${size}`);
        return path;
      }),
    );
  }

  async #dropLayers(layers: readonly Layer[]): Promise<void> {
    const used = new Set((await this.list()).flatMap((m) => m.layers.map(({ digest }) => digest)));
    for (const { digest } of layers) {
      if (!used.has(digest)) await rm(this.#layerPath(digest), { force: true });
    }
  }
}

const DIGEST_NAME = /^([0-9a-f]{64})\.erofs$/;

/** Images in a store are called by their digest. */
async function imageDigest(path: string): Promise<string> {
  return DIGEST_NAME.exec(basename(path))?.[1] ?? (await hashFile(path));
}

function existsError(name: string): MayflyError {
  return new MayflyError('MAYFLY_CHECKPOINT_EXISTS', `there is a checkpoint ${name} already`);
}

/** Writes and syncs a new file. */
async function writeFileSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

const textOf = (manifest: Manifest) => `${JSON.stringify(manifest, null, 2)}\n`;

async function writeParts(
  folder: string,
  name: string,
  { memory, state, command }: Captured,
  layers: Layer[],
  parent: Manifest | undefined,
  base: GuestMemory | undefined,
): Promise<Manifest> {
  const id = randomId();
  const runs = memory.runs(base);
  const memoryFile = `memory-${id}`;
  const sha256 = await writePages(join(folder, memoryFile), memory.size, runs, pagesOf(memory));
  const stateBytes = encodeState({ ...state, runs });
  const stateFile = `state-${id}`;
  await writeFileSynced(join(folder, stateFile), stateBytes);
  return {
    format: FORMAT,
    version: FORMAT_VERSION,
    id,
    name,
    ...(parent && { parent: parent.id }),
    createdAt: new Date().toISOString(),
    command: [...command],
    abi: abi.ABI_VERSION,
    cpu: describeCpu(),
    memory: { file: memoryFile, sha256, size: memory.size, pages: countPages(runs) },
    state: { file: stateFile, sha256: digestOf(stateBytes) },
    layers,
  };
}

/** Changes whenever somebody writes to the memory file or puts another one in its place. */
async function stampOf(folder: string, manifest: Manifest): Promise<string> {
  const path = join(folder, manifest.memory.file);
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return `${manifest.memory.sha256} ${ino} ${size} ${mtimeNs} ${ctimeNs}\n`;
}

async function stampVerified(folder: string, manifest: Manifest): Promise<void> {
  await replaceFile(join(folder, VERIFIED), await stampOf(folder, manifest));
}
