import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import type { ArchiveProgress } from '../archive/archive-tree.js';
import { SUPER_OFFSET } from '../erofs/format.js';
import { treeFromErofs } from '../erofs/image-tree.js';
import type { WriteOptions } from '../erofs/writer.js';
import { treeFromFolder } from '../tree/folder.js';
import { withTemporary } from './durable.js';
import { checkName, type ImageRecord, type NamedImage, Records } from './names.js';
import { ImageStore, type StoredImage } from './store.js';

const FOLDERS = ['names', 'sources'];
const PREFIX_MIN = 4;
/** What may be looked up as a file name. */
const NAME_SAFE = /^[\w][\w.:-]*$/;
/** Changes whenever the same archive would become another image. */
const SOURCE_FORMAT = 'mayfly source 1';

/** Where images go when nobody says otherwise. */
export function defaultImageDir(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'mayfly', 'images');
}

/** How far an import is; `layer` of `layers` while the layers of a container image are read. */
export interface ImportProgress extends ArchiveProgress {
  step: 'read' | 'write';
}

type OnImport = (progress: ImportProgress) => void;
type OnWrite = NonNullable<WriteOptions['onProgress']>;

/**
 * Images by the names and sources that people have for them, over the store that has them by digest.
 *
 *   names/<name>.json       images that were given a name: {layers, config, source, createdAt}
 *   sources/<key>.json      what archives became: {layers, config}; only a cache
 */
export class ImageLibrary {
  readonly store: ImageStore;
  readonly #dir: string;
  readonly #names: Records<NamedImage>;
  readonly #sources: Records<ImageRecord>;

  private constructor(dir: string, store: ImageStore) {
    this.store = store;
    this.#dir = dir;
    this.#names = new Records(join(dir, 'names'));
    this.#sources = new Records(join(dir, 'sources'));
  }

  /** Opens a library and its store, making them if needed. Throws MAYFLY_IMAGE_STORE_UNUSABLE. */
  static async open(dir: string): Promise<ImageLibrary> {
    return new ImageLibrary(dir, await ImageStore.open(dir, FOLDERS));
  }

  /**
   * What a path of this host becomes as an image: a folder, an OCI image layout, a `docker save` or OCI archive, a tar file
   * (gzip and zstd too), or an EROFS image of any writer. Made once, as long as the source stays the same.
   * Throws MAYFLY_IMAGE_NO_FILE, and as treeFromFolder, treeFromArchive, treeFromErofs and build do.
   */
  async import(hostPath: string, onProgress: OnImport = () => {}): Promise<ImageRecord> {
    const stat = statSource(hostPath);
    const onWrite = (doneBytes: number, totalBytes: number) =>
      onProgress({ step: 'write', doneBytes, totalBytes });
    if (stat.isDirectory() && !isLayoutFolder(hostPath)) {
      const { digest } = await this.store.build(await treeFromFolder(hostPath), {
        onProgress: onWrite,
      });
      return { layers: [digest] };
    }
    const key = stat.isDirectory()
      ? await (await archives()).layoutId(hostPath)
      : await this.store.digestOf(hostPath);
    const source = createHash('sha256').update(`${SOURCE_FORMAT}\n${key}\n`).digest('hex');
    const known = await this.#sources.get(source);
    if (known !== undefined && (await this.#hasLayers(known))) return known;
    const erofs = stat.isFile() && looksLikeErofs(hostPath);
    const record = erofs
      ? await this.#importErofs(hostPath, onWrite)
      : await this.#importArchive(hostPath, onProgress, onWrite);
    await this.#sources.set(source, record);
    return record;
  }

  async #importErofs(hostPath: string, onProgress: OnWrite): Promise<ImageRecord> {
    const tree = await treeFromErofs(hostPath);
    return { layers: [(await this.store.build(tree, { onProgress })).digest] };
  }

  async #importArchive(
    hostPath: string,
    onProgress: OnImport,
    onWrite: OnWrite,
  ): Promise<ImageRecord> {
    const { treeFromArchive, Spool } = await archives();
    return withTemporary(this.#dir, async (temporary) => {
      const spool = await Spool.create(temporary);
      try {
        const onRead = (progress: ArchiveProgress) => onProgress({ step: 'read', ...progress });
        const { tree, config, notes } = await treeFromArchive(hostPath, spool, onRead);
        const { digest } = await this.store.write(tree, { onProgress: onWrite });
        return { layers: [digest], ...(config && { config }), ...(notes.length > 0 && { notes }) };
      } finally {
        await spool.close();
      }
    });
  }

  /** Gives a record a name; another image of that name loses it. Throws MAYFLY_IMAGE_BAD_NAME. */
  async setName(name: string, record: ImageRecord, source: string): Promise<NamedImage> {
    checkName(name);
    const named = { name, source, createdAt: new Date().toISOString(), ...record };
    await this.#names.set(name, named);
    return named;
  }

  /** Images with names, by name. */
  async listNames(): Promise<NamedImage[]> {
    return this.#names.list();
  }

  /**
   * What people call an image: a name, a digest or at least four digits of one, or a path of this host, which is imported.
   * Something with a slash is always a path. Throws MAYFLY_IMAGE_NO_IMAGE, MAYFLY_IMAGE_AMBIGUOUS, and as import does.
   */
  async find(reference: string, onProgress?: OnImport): Promise<ImageRecord> {
    if (!reference.includes('/')) {
      const found = await this.findStored(reference);
      if (found !== undefined) return found;
    }
    if (statSync(reference, { throwIfNoEntry: false }) !== undefined) {
      return this.import(reference, onProgress);
    }
    throw noImage(reference);
  }

  /** Like find, without paths of the host. */
  async findStored(reference: string): Promise<ImageRecord | undefined> {
    const named = NAME_SAFE.test(reference) ? await this.#names.get(reference) : undefined;
    if (named !== undefined) {
      if (await this.#hasLayers(named)) return named;
      const message = `layers of ${reference} are gone; build it again`;
      throw new MayflyError('MAYFLY_IMAGE_NO_IMAGE', message);
    }
    const digest = await this.#digestFrom(reference);
    return digest === undefined ? undefined : { layers: [digest] };
  }

  async #digestFrom(prefix: string): Promise<string | undefined> {
    if (!/^[0-9a-f]+$/.test(prefix) || prefix.length < PREFIX_MIN) return undefined;
    const found = (await this.store.list()).filter(({ digest }) => digest.startsWith(prefix));
    if (found.length < 2) return found[0]?.digest;
    const message = `${prefix} is the beginning of ${found.length} digests`;
    throw new MayflyError('MAYFLY_IMAGE_AMBIGUOUS', message);
  }

  async #hasLayers({ layers }: ImageRecord): Promise<boolean> {
    const found = await Promise.all(layers.map((digest) => this.store.get(digest)));
    return found.every((image) => image !== undefined);
  }

  /**
   * Takes a name away, and the layers that no other name has; returns the digests of the layers that went. Without a name, a
   * digest names a single layer. Throws MAYFLY_IMAGE_NO_IMAGE, and MAYFLY_IMAGE_IN_USE for a layer of a named image.
   */
  async removeImage(reference: string): Promise<string[]> {
    const record = await this.findRecord(reference);
    if (NAME_SAFE.test(reference)) await this.#names.remove(reference);
    const users = await this.listNames();
    const removed: string[] = [];
    for (const digest of new Set(record.layers)) {
      const user = users.find(({ layers }) => layers.includes(digest));
      if (user === undefined) {
        if (await this.store.remove(digest)) removed.push(digest);
      } else if (!('name' in record)) {
        const message = `${digest} is a layer of ${user.name}; remove that`;
        throw new MayflyError('MAYFLY_IMAGE_IN_USE', message);
      }
    }
    return removed;
  }

  /** Removes the layers that no name has: what `run` and `serve` made for themselves and can make again. */
  async removeUnnamed(): Promise<StoredImage[]> {
    const kept = new Set((await this.listNames()).flatMap(({ layers }) => layers));
    const unnamed = (await this.store.list()).filter(({ digest }) => !kept.has(digest));
    for (const { digest } of unnamed) await this.store.remove(digest);
    return unnamed;
  }

  /** A named image even when its layers are gone, or a layer. Throws MAYFLY_IMAGE_NO_IMAGE. */
  async findRecord(reference: string): Promise<ImageRecord> {
    const named = NAME_SAFE.test(reference) ? await this.#names.get(reference) : undefined;
    const record = named ?? (await this.findStored(reference));
    if (record === undefined) throw noImage(reference);
    return record;
  }
}

/** Loaded when needed: a run without an archive starts sooner. */
function archives() {
  return import('../archive/archive-tree.js');
}

/** Whether a folder is an OCI image layout and not just a root. */
function isLayoutFolder(dir: string): boolean {
  return existsSync(join(dir, 'oci-layout')) && existsSync(join(dir, 'index.json'));
}

const EROFS_MAGIC = Buffer.from([0xe2, 0xe1, 0xf5, 0xe0]);

function looksLikeErofs(hostPath: string): boolean {
  const fd = openSync(hostPath, 'r');
  try {
    const magic = Buffer.alloc(EROFS_MAGIC.length);
    readSync(fd, magic, 0, magic.length, SUPER_OFFSET);
    return magic.equals(EROFS_MAGIC);
  } finally {
    closeSync(fd);
  }
}

function statSource(hostPath: string) {
  const stat = statSync(hostPath, { throwIfNoEntry: false });
  if (stat?.isFile() || stat?.isDirectory()) return stat;
  const what = stat === undefined ? 'is not there' : 'is neither a file nor a folder';
  throw new MayflyError('MAYFLY_IMAGE_NO_FILE', `${hostPath} ${what}`);
}

function noImage(reference: string): MayflyError {
  return new MayflyError('MAYFLY_IMAGE_NO_IMAGE', `there is no image ${reference}`);
}
