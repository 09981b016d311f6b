import { constants } from 'node:fs';
import { access, chmod, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { ErofsReader, type ListedEntry } from '../erofs/reader.js';
import { type WriteOptions, writeErofs } from '../erofs/writer.js';
import type { Tree } from '../tree/tree.js';
import { absent, createFile, removeAbandoned, replaceFile } from './durable.js';
import { FileDigests } from './file-digests.js';
import { keyOf, type TreeKey } from './key.js';

const DIGEST = /^[0-9a-f]{64}$/;
const SUFFIX = '.erofs';
const FOLDERS = ['images', 'keys'];

/** An image in the store. `digest` is its SHA-256 in hex, `size` its bytes. */
export interface StoredImage {
  digest: string;
  path: string;
  size: number;
}

/** Makes the folders of a store and removes what crashed writers left in them. */
export async function openFolders(dir: string, names: string[]): Promise<void> {
  for (const name of names) await makeFolder(join(dir, name));
  for (const name of [...names, '.']) await removeAbandoned(join(dir, name));
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.W_OK);
  } catch (cause) {
    throw new MayflyError(
      'MAYFLY_IMAGE_STORE_UNUSABLE',
      `images cannot be kept in ${path} (${(cause as NodeJS.ErrnoException).code}): give a folder that can be written`,
      { cause },
    );
  }
}

/**
 * Images by the digest of their bytes, and an index from trees to images so that no tree is built twice.
 *
 *   images/<digest>.erofs   never changed once there
 *   keys/<key of a tree>    the digest of its image; only a cache
 *   files.txt              digests of host files; only a cache
 *
 * Several processes may share a store: a file appears under its name whole and synced, or not at all.
 */
export class ImageStore {
  readonly #images: string;
  readonly #keys: string;
  readonly #digests: FileDigests;
  readonly #building = new Map<string, Promise<StoredImage>>();

  private constructor(dir: string, digests: FileDigests) {
    this.#images = join(dir, 'images');
    this.#keys = join(dir, 'keys');
    this.#digests = digests;
  }

  /** Opens a store, making it if needed, and removes what crashed builds left behind. */
  static async open(dir: string): Promise<ImageStore> {
    await openFolders(dir, FOLDERS);
    return new ImageStore(dir, await FileDigests.open(join(dir, 'files.txt')));
  }

  /**
   * The image of a tree: the stored one if there is one, otherwise written now.
   * Throws as writeErofs does; a failed build leaves nothing behind.
   */
  async build(tree: Tree, options: WriteOptions = {}): Promise<StoredImage> {
    const key = await keyOf(tree, this.#digests);
    await this.#digests.save();
    const running = this.#building.get(key.key);
    if (running !== undefined) return running;
    const build = this.#findOrWrite(tree, key, options);
    this.#building.set(key.key, build);
    try {
      return await build;
    } finally {
      this.#building.delete(key.key);
    }
  }

  /** Writes a tree whose files are not worth a key, as they are there only now. Throws as writeErofs does. */
  write(tree: Tree, options: WriteOptions = {}): Promise<StoredImage> {
    return this.#write(tree, undefined, options);
  }

  /** SHA-256 of a host file in hex, remembered as long as the file stays the same. */
  async digestOf(hostPath: string): Promise<string> {
    const { digest } = await this.#digests.of(hostPath);
    await this.#digests.save();
    return digest;
  }

  /** The image with a digest, or undefined. Throws MAYFLY_IMAGE_BAD_DIGEST for what is no digest. */
  async get(digest: string): Promise<StoredImage | undefined> {
    const path = this.#pathOf(digest);
    const found = await stat(path).catch(absent);
    return found === undefined ? undefined : { digest, path, size: found.size };
  }

  /** All images, by digest. */
  async list(): Promise<StoredImage[]> {
    const names = (await readdir(this.#images)).filter((name) => name.endsWith(SUFFIX)).sort();
    const images = names.map((name) => this.get(name.slice(0, -SUFFIX.length)));
    return (await Promise.all(images)).filter((image) => image !== undefined);
  }

  /** Removes an image; says whether there was one. Machines that have it open keep it until they close it. */
  async remove(digest: string): Promise<boolean> {
    const image = await this.get(digest);
    if (image === undefined) return false;
    await rm(image.path, { force: true });
    for (const key of await readdir(this.#keys)) {
      if ((await this.#digestFor(key)) === digest) await rm(join(this.#keys, key), { force: true });
    }
    return true;
  }

  /** What is in an image. Throws MAYFLY_IMAGE_NO_IMAGE, and MAYFLY_IMAGE_DAMAGED if it cannot be read. */
  async inspect(digest: string): Promise<StoredImage & { entries: ListedEntry[] }> {
    const image = await this.get(digest);
    if (image === undefined) {
      throw new MayflyError('MAYFLY_IMAGE_NO_IMAGE', `there is no image ${digest}`);
    }
    const reader = new ErofsReader(image.path);
    try {
      return { ...image, entries: [...reader.list()] };
    } finally {
      reader.close();
    }
  }

  async #findOrWrite(tree: Tree, key: TreeKey, options: WriteOptions): Promise<StoredImage> {
    const digest = await this.#digestFor(key.key);
    const known = digest === undefined ? undefined : await this.get(digest);
    return known ?? (await this.#write(tree, key, options));
  }

  async #write(tree: Tree, key: TreeKey | undefined, options: WriteOptions): Promise<StoredImage> {
    let written = { digest: '', size: 0 };
    const path = await createFile(this.#images, async (temporary) => {
      written = await writeErofs(tree, temporary, options);
      key?.verify();
      await chmod(temporary, 0o444);
      return `${written.digest}${SUFFIX}`;
    });
    if (key !== undefined) await replaceFile(join(this.#keys, key.key), `${written.digest}\n`);
    return { ...written, path };
  }

  async #digestFor(key: string): Promise<string | undefined> {
    const text = await readFile(join(this.#keys, key), 'utf8').catch(absent);
    const digest = text?.trim() ?? '';
    return DIGEST.test(digest) ? digest : undefined;
  }

  #pathOf(digest: string): string {
    if (!DIGEST.test(digest)) {
      throw new MayflyError(
        'MAYFLY_IMAGE_BAD_DIGEST',
        `${JSON.stringify(digest)} is no image digest`,
      );
    }
    return join(this.#images, `${digest}${SUFFIX}`);
  }
}
