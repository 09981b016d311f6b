/**
 * Checkpoints in a folder, several processes at a time.
 *
 *   layers/<digest>.erofs            the images that checkpoints need, hard links or copies
 *   checkpoints/<name>/manifest.json what there is; replacing it is how a checkpoint changes
 *   checkpoints/<name>/memory-<id>   stored pages, sparse
 *   checkpoints/<name>/state-<id>    vCPU, devices, list of stored pages
 *   checkpoints/<name>/verified      which files were found right; only a cache
 *   checkpoints/<name>/working-set   which pages its machines write first; only a cache
 *
 * A checkpoint appears by a rename of its folder, changes by a rename of its manifest, and goes by a rename: after a
 * crash each is there as before or as after. What a dead process had under way is removed by the next open(). One at a time
 * changes what there is (store-lock.ts); who reads what is changed meanwhile begins anew.
 */
import { closeSync, openSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as durable from '@mayfly/image/durable';
import { abi, MayflyError, VERSION } from '@mayfly/protocol';
import type { GuestMemory } from '../kvm/index.js';
import { KernelImage } from '../machine/kernel-image.js';
import type { MachineSource, MachineState } from '../machine/machine-state.js';
import { ChainMemory, type Link, verifyMemory } from './chain-memory.js';
import { describeCpu } from './cpu.js';
import { flatten } from './flatten.js';
import { LayerFolder } from './layers.js';
import { checkName, damaged, FORMAT, FORMAT_VERSION, type Manifest } from './manifest.js';
import { BLOCK, type OnBytes, pagesOf } from './pages.js';
import {
  changeParts,
  isVerified,
  randomId,
  readLink,
  readManifest,
  stampVerified,
  sweepParts,
  writeManifest,
  writeParts,
} from './parts.js';
import { checkRunsHere } from './requirements.js';
import { inStore, isUnwritable } from './store-error.js';
import { alone, ifAlone, type OnWait } from './store-lock.js';
import { readWorkingSet, writeWorkingSet } from './working-set.js';

/** A machine that stands still. */
export interface Captured {
  memory: GuestMemory;
  state: MachineState;
  /** Paths of its images, bottom first. Absent: it has those of the parent. */
  images?: readonly string[];
  command: readonly string[];
  /** What it may connect to, if that was said: docs/networking.md. */
  network?: readonly string[];
}

export interface CreateOptions {
  name: string;
  /** Store only what differs from this checkpoint (name or id), of which `memory` is a later state. */
  parent?: string;
  labels?: Readonly<Record<string, string>>;
  onBytes?: OnBytes;
}

/** What machines can be made from, also after the checkpoint was removed, until close(). */
export interface Loaded extends MachineSource {
  manifest: Manifest;
  close(): void;
}

export interface StoreOptions {
  /** Told when what changes the store waits for long until somebody else is done with it. */
  onWait?: OnWait;
}

/** A folder that should be a checkpoint. */
export interface Broken {
  name: string;
  reason: string;
}

const { removeAbandoned, removeFolder, sync, withTemporary } = durable;

const isBroken = (m: Manifest | Broken): m is Broken => 'reason' in m;

/** Where checkpoints go when nobody says otherwise. */
export function defaultCheckpointDir(): string {
  const base = process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share');
  return join(base, 'mayfly', 'checkpoints');
}

function defaultCacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mayfly');
}

export class CheckpointStore {
  /** For the other files of this folder. */
  readonly dir: string;
  readonly checkpoints: string;
  readonly layers: LayerFolder;
  readonly #onWait: OnWait | undefined;

  private constructor(dir: string, { onWait }: StoreOptions = {}) {
    this.#onWait = onWait;
    this.dir = dir;
    this.checkpoints = join(dir, 'checkpoints');
    this.layers = new LayerFolder(join(dir, 'layers'));
  }

  /**
   * Opens a store, making it if needed, and removes what crashed processes left behind.
   * Throws MAYFLY_CHECKPOINT_STORE_UNUSABLE, _STORE_FULL; so does everything that reads and writes it.
   */
  static async open(dir: string, options?: StoreOptions): Promise<CheckpointStore> {
    const store = new CheckpointStore(dir, options);
    await inStore(dir, async () => {
      await mkdir(store.checkpoints, { recursive: true, mode: 0o700 });
      await store.layers.open();
      await removeAbandoned(store.checkpoints);
      await ifAlone(store.checkpoints, () => store.#sweep());
    });
    return store;
  }

  /** For other threads of a process that has opened it: without the sweep, which does not know their work. */
  static ofOpened(dir: string): CheckpointStore {
    return new CheckpointStore(dir);
  }

  /**
   * Stores a machine's state. The machine must stand still until this resolves, and may then go on.
   * Throws MAYFLY_CHECKPOINT_BAD_NAME, _EXISTS, _UNKNOWN for the parent.
   */
  async create(options: CreateOptions, captured: Captured, base?: GuestMemory): Promise<Manifest> {
    const { name, onBytes } = options;
    await this.checkFree(name);
    const parent = options.parent === undefined ? undefined : await this.get(options.parent);
    const { memory, images, command, network } = captured;
    const state = { ...captured.state, runs: memory.runs(base) };
    return this.staged(async (folder) => {
      const parts = await writeParts(folder, memory.size, state, pagesOf(memory), onBytes);
      return this.alone(async () => {
        if (parent !== undefined) await this.get(parent.id); // nobody has removed it meanwhile
        const manifest: Manifest = {
          ...this.#header(name, parent),
          command: [...command],
          ...(network && { network: [...network] }),
          ...(options.labels && { labels: { ...options.labels } }),
          layers: images === undefined ? (parent?.layers ?? []) : await this.layers.add(images),
          ...parts,
        };
        await this.publish(folder, manifest);
        return manifest;
      });
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
    const named = await this.find(nameOrId);
    const found = named ?? (await this.list()).find(({ id }) => id === nameOrId);
    if (found !== undefined) return found;
    throw new MayflyError('MAYFLY_CHECKPOINT_UNKNOWN', `there is no checkpoint ${nameOrId}`);
  }

  /**
   * Makes a checkpoint ready to start machines from. Memory is mapped by them, not read here, once it was verified.
   * Throws as get() does, MAYFLY_CHECKPOINT_CPU, and MAYFLY_CHECKPOINT_DAMAGED for parts that are missing or wrong.
   */
  load(nameOrId: string): Promise<Loaded> {
    return this.reading(nameOrId, (lineage) => this.#load(lineage));
  }

  async #load(lineage: readonly Manifest[]): Promise<Loaded> {
    const manifest = lineage.at(-1)!;
    checkRunsHere(manifest, describeCpu());
    const chain = await this.chain(lineage);
    const verified = new Set<string>();
    for (const link of chain) {
      if (!isVerified(link.folder, link.manifest, this.layers)) await this.#verify(link, verified);
    }
    const { runs: _, ...state } = chain.at(-1)!.state;
    const fds: number[] = [];
    const close = () => {
      for (const fd of fds.splice(0)) closeSync(fd);
    };
    try {
      const memoryFd = await this.openMemory(chain);
      fds.push(memoryFd);
      // By descriptor: the files outlive their names.
      const images = manifest.layers.map(({ digest }) => openSync(this.layers.path(digest), 'r'));
      fds.push(...images);
      const paths = images.map((fd) => `/proc/self/fd/${fd}`);
      const { size } = manifest.memory;
      const workingSet = this.workingSet(manifest);
      return { manifest, memoryFd, memorySize: size, state, images: paths, workingSet, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Pages that its machines write first, as pairs [first page, count], if that was recorded. */
  workingSet(manifest: Manifest): Uint32Array | undefined {
    return readWorkingSet(this.folder(manifest), manifest);
  }

  /** Records them for later loads. Throws MAYFLY_CHECKPOINT_UNKNOWN. */
  keepWorkingSet(id: string, runs: Uint32Array): Promise<void> {
    return inStore(this.dir, async () => {
      const manifest = await this.get(id);
      await writeWorkingSet(this.folder(manifest), manifest, runs);
    });
  }

  /**
   * Reads everything of a checkpoint and its parents. Throws as load() does.
   *
   * @param verified what was found right before, which is not read again; what is found right now is added
   */
  verify(nameOrId: string, onBytes?: OnBytes, verified = new Set<string>()): Promise<void> {
    return this.reading(nameOrId, async (lineage) => {
      for (const link of await this.chain(lineage)) await this.#verify(link, verified, onBytes);
    });
  }

  /**
   * Children are merged with it first, one after the other; what is broken just goes.
   * Throws MAYFLY_CHECKPOINT_UNKNOWN, and MAYFLY_CHECKPOINT_DAMAGED when a child could not be merged.
   */
  remove(nameOrId: string, onBytes?: OnBytes): Promise<void> {
    return this.alone(async () => {
      if ((await this.broken()).some(({ name }) => name === nameOrId)) {
        await removeFolder(join(this.checkpoints, nameOrId));
      } else {
        const manifest = await this.get(nameOrId);
        await this.#mergeChildren(manifest, onBytes);
        await removeFolder(this.folder(manifest));
      }
      await this.#sweepLayers(await this.#all());
    });
  }

  /**
   * Makes a checkpoint again what another one is, by default its parent: a difference without pages. Its own children
   * keep their content. Throws MAYFLY_CHECKPOINT_UNKNOWN, _ROOT when there is no parent, _DAMAGED.
   */
  revert(nameOrId: string, to?: string, onBytes?: OnBytes): Promise<Manifest> {
    return this.alone(() => this.#revert(nameOrId, to, onBytes));
  }

  async #revert(nameOrId: string, to?: string, onBytes?: OnBytes): Promise<Manifest> {
    const manifest = await this.get(nameOrId);
    const wanted = to ?? manifest.parent;
    if (wanted === undefined) {
      const message = `${manifest.name} has no parent: name the checkpoint that it is to become`;
      throw new MayflyError('MAYFLY_CHECKPOINT_ROOT', message);
    }
    if ((await this.get(wanted)).id === manifest.id) return manifest;
    await this.#mergeChildren(manifest, onBytes);
    const target = (await this.chain(await this.lineage(await this.get(wanted)))).at(-1)!;
    const state = { ...target.state, runs: new Uint32Array() };
    const { size } = target.manifest.memory;
    const folder = this.folder(manifest);
    const reverted = await changeParts(folder, async () => ({
      ...target.manifest,
      id: randomId(),
      name: manifest.name,
      parent: target.manifest.id,
      createdAt: new Date().toISOString(),
      ...(await writeParts(folder, size, state, () => new Uint8Array())),
    }));
    await stampVerified(folder, reverted, this.layers);
    await this.#sweepLayers(await this.#all());
    return reverted;
  }

  /* ---- for the other files of this folder ---- */

  folder({ name }: Manifest): string {
    return join(this.checkpoints, name);
  }

  /** Lends a folder for what is to become a checkpoint. */
  staged<T>(work: (folder: string) => Promise<T>): Promise<T> {
    return inStore(this.dir, () =>
      withTemporary(this.checkpoints, async (folder) => {
        await mkdir(folder, { mode: 0o700 });
        return work(folder);
      }),
    );
  }

  /** While nobody else changes what there is. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return inStore(this.dir, () => alone(this.checkpoints, work, this.#onWait));
  }

  /**
   * Reads a checkpoint and what it is a difference to, oldest first, which somebody may merge or revert at the same time: what
   * fails then is done again. Throws MAYFLY_CHECKPOINT_UNKNOWN.
   */
  reading<T>(nameOrId: string, work: (lineage: readonly Manifest[]) => Promise<T>): Promise<T> {
    return inStore(this.dir, async () => {
      for (;;) {
        const lineage = await this.lineage(await this.get(nameOrId));
        try {
          return await work(lineage);
        } catch (error) {
          if (await this.#isUnchanged(lineage)) throw error;
        }
      }
    });
  }

  async #isUnchanged(manifests: readonly Manifest[]): Promise<boolean> {
    const now = await Promise.all(manifests.map(({ name }) => this.#find(name).catch(() => null)));
    return isDeepStrictEqual(now, manifests);
  }

  /** undefined: there is none of that name. Throws MAYFLY_CHECKPOINT_DAMAGED, _VERSION. */
  find(name: string): Promise<Manifest | undefined> {
    return inStore(this.dir, () => this.#find(name));
  }

  async #find(name: string): Promise<Manifest | undefined> {
    try {
      const manifest = await readManifest(join(this.checkpoints, name));
      if (manifest.name === name) return manifest;
      throw damaged(`the manifest of ${name} is that of ${manifest.name}`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  /** Throws MAYFLY_CHECKPOINT_BAD_NAME, _EXISTS. */
  async checkFree(name: string): Promise<void> {
    checkName(name);
    if ((await this.find(name)) !== undefined) throw existsError(name);
  }

  /** Gives a whole checkpoint its manifest and its name, within alone(). Throws MAYFLY_CHECKPOINT_EXISTS. */
  async publish(folder: string, manifest: Manifest): Promise<void> {
    await writeManifest(folder, manifest);
    await stampVerified(folder, manifest, this.layers);
    try {
      await rename(folder, this.folder(manifest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') throw existsError(manifest.name);
      throw error;
    }
    await sync(this.checkpoints);
  }

  /** A lineage with decoded states; all layers are there. Throws MAYFLY_CHECKPOINT_DAMAGED. */
  async chain(lineage: readonly Manifest[]): Promise<Link[]> {
    const last = lineage.at(-1)!;
    this.layers.require(last.layers, last.name);
    return Promise.all(lineage.map((m) => readLink(this.folder(m), m)));
  }

  /** The checkpoint and what it is a difference to, oldest first. Throws MAYFLY_CHECKPOINT_DAMAGED. */
  async lineage(manifest: Manifest): Promise<Manifest[]> {
    if (manifest.parent === undefined) return [manifest];
    try {
      return lineageIn(await this.list(), manifest);
    } catch {
      // Listed while somebody merged them: or it is wrong a second time.
      return lineageIn(await this.list(), await this.get(manifest.id));
    }
  }

  /** The memory of a chain; the descriptor is the caller's. */
  async openMemory(chain: readonly Link[]): Promise<number> {
    const [first] = chain;
    if (chain.length > 1) return this.#flattened(chain);
    return openSync(join(first!.folder, first!.manifest.memory.file), 'r');
  }

  /** Beside the store's files, or in the user's cache where these can only be read, or fill their disk. */
  async #flattened(chain: readonly Link[]): Promise<number> {
    try {
      return await flatten(this.checkpoints, chain);
    } catch (error) {
      if (!isUnwritable(error)) throw error;
      const cache = defaultCacheDir();
      return mkdir(cache, { recursive: true, mode: 0o700 })
        .then(() => flatten(cache, chain))
        .catch(() => {
          throw error; // of the two, the store is what the user knows
        });
    }
  }

  /* ---- parts ---- */

  async #all(): Promise<(Manifest | Broken)[]> {
    const there = await inStore(this.dir, () => readdir(this.checkpoints));
    const names = there.filter((name) => !name.startsWith('.'));
    const all = await Promise.all(
      names
        .sort()
        .map((name) => this.find(name).catch(({ message }) => ({ name, reason: String(message) }))),
    );
    return all.filter((m) => m !== undefined);
  }

  #header(name: string, parent: Manifest | undefined) {
    return {
      format: FORMAT,
      version: FORMAT_VERSION,
      id: randomId(),
      name,
      ...(parent && { parent: parent.id }),
      createdAt: new Date().toISOString(),
      mayfly: VERSION,
      abi: abi.ABI_VERSION,
      kernel: parent?.kernel ?? KernelImage.default().digest, // in memory it is the parent's still
      cpu: describeCpu(),
    } as const;
  }

  async #verify(link: Link, verified: Set<string>, onBytes?: OnBytes): Promise<void> {
    const { folder, manifest } = link;
    const once = async (what: string, verify: () => Promise<void>) => {
      if (!verified.has(what)) await verify();
      verified.add(what);
    };
    await once(`${manifest.name}/${manifest.memory.file}`, () => verifyMemory(link, onBytes));
    this.layers.require(manifest.layers, manifest.name);
    for (const layer of manifest.layers) {
      await once(layer.digest, () => this.layers.verify(layer, onBytes));
    }
    await stampVerified(folder, manifest, this.layers);
  }

  async #mergeChildren({ id }: Manifest, onBytes?: OnBytes): Promise<void> {
    for (;;) {
      const all = await this.list();
      const child = all.find(({ parent }) => parent === id);
      if (child === undefined) return;
      const links = [all.find((m) => m.id === id)!, child].map((m) => readLink(this.folder(m), m));
      await this.#merge(await Promise.all(links), onBytes);
    }
  }

  /** Makes a child a difference to its grandparent, or whole. Damage does not pass to it. */
  async #merge(links: readonly Link[], onBytes?: OnBytes): Promise<void> {
    const [parent, child] = links as [Link, Link];
    const { folder, manifest } = child;
    const memory = new ChainMemory(links, { checked: true });
    const buffer = Buffer.allocUnsafe(BLOCK);
    const read = (offset: number, length: number) => {
      const piece = buffer.subarray(0, length);
      memory.read(piece, offset);
      return piece;
    };
    try {
      const merged = await changeParts(folder, async () => {
        const { parent: _, ...rest } = manifest;
        const grandparent = parent.manifest.parent;
        const state = { ...child.state, runs: memory.runs };
        const parts = await writeParts(folder, memory.size, state, read, onBytes);
        memory.check();
        return { ...rest, ...(grandparent && { parent: grandparent }), ...parts };
      });
      await stampVerified(folder, merged, this.layers);
    } finally {
      memory.close();
    }
  }

  async #sweep(): Promise<void> {
    const all = await this.#all();
    for (const m of all) if (!isBroken(m)) await sweepParts(this.folder(m), m);
    await this.#sweepLayers(all);
  }

  /** Removes layers that nobody needs. They all stay where a checkpoint cannot be read, whose layers are not known. */
  async #sweepLayers(all: readonly (Manifest | Broken)[]): Promise<void> {
    const there = await this.layers.digests();
    const whole = all.filter((m): m is Manifest => !isBroken(m));
    if (whole.length < all.length) return;
    const used = new Set(whole.flatMap((m) => m.layers.map(({ digest }) => digest)));
    for (const digest of there) if (!used.has(digest)) await this.layers.remove(digest);
  }
}

function lineageIn(all: readonly Manifest[], manifest: Manifest): Manifest[] {
  const chain = [manifest];
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

function existsError(name: string): MayflyError {
  return new MayflyError('MAYFLY_CHECKPOINT_EXISTS', `there is a checkpoint ${name} already`);
}
