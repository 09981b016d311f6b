import { accessSync, constants, mkdirSync } from 'node:fs';
import { chmod, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { looksLikeElf } from '../elf/parser.js';
import { ErofsReader, type ListedEntry } from '../erofs/reader.js';
import { type WriteOptions, writeErofs } from '../erofs/writer.js';
import { readFileStart, treeFromPrograms } from '../tree/programs.js';
import { Sightings } from '../tree/sightings.js';
import type { Tree } from '../tree/tree.js';
import { absent, createFile, removeAbandoned, replaceFile } from './durable.js';
import { FileDigests } from './file-digests.js';
import { keyOf, type TreeKey } from './key.js';
import { Recipes } from './recipes.js';

const DIGEST = /^[0-9a-f]{64}$/;
const SUFFIX = '.erofs';
const ELF_MAGIC_SIZE = 4;
const FOLDERS = ['images', 'keys', 'recipes'];

/** An image in the store. `digest` is its SHA-256 in hex, `size` its bytes. */
export interface StoredImage {
  digest: string;
  path: string;
  size: number;
}

/** An image of a host program. */
export interface ProgramImage extends StoredImage {
  /** Whether the program is started as it is, and not by an interpreter that its first line names. */
  isElf: boolean;
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
    accessSync(path, constants.W_OK);
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
 *   recipes/<program>       the image of a host program, and what decided on it; only a cache
 *   files.txt               digests of host files; only a cache
 *
 * Several processes may share a store: a file appears under its name whole and synced, or not at all.
 */
export class ImageStore {
  readonly #images: string;
  readonly #keys: string;
  readonly #recipes: Recipes;
  readonly #digests: FileDigests;
  readonly #folders: readonly string[];
  readonly #building = new Map<string, Promise<StoredImage>>();
  #swept: Promise<void> | undefined;

  private constructor(dir: string, folders: readonly string[]) {
    this.#images = join(dir, 'images');
    this.#keys = join(dir, 'keys');
    this.#recipes = new Recipes(join(dir, 'recipes'));
    this.#digests = new FileDigests(join(dir, 'files.txt'));
    this.#folders = [...folders, dir];
  }

  /**
   * Opens a store, making it if needed, with `more` folders for others beside its own.
   * Throws MAYFLY_IMAGE_STORE_UNUSABLE.
   */
  static async open(dir: string, more: readonly string[] = []): Promise<ImageStore> {
    const folders = [...FOLDERS, ...more].map((name) => join(dir, name));
    for (const folder of folders) makeFolder(folder);
    return new ImageStore(dir, folders);
  }

  /**
   * The image of a host program with all that it needs, as treeFromPrograms finds it. `program`: absolute path.
   * Throws as treeFromPrograms and build do.
   */
  async buildProgram(program: string, options: WriteOptions = {}): Promise<ProgramImage> {
    const image = (await this.#knownProgram(program)) ?? (await this.#newProgram(program, options));
    return { ...image, isElf: looksLikeElf(readFileStart(program, ELF_MAGIC_SIZE)) };
  }

  async #knownProgram(program: string): Promise<StoredImage | undefined> {
    const digest = this.#recipes.imageOf(program);
    return digest === undefined ? undefined : this.get(digest);
  }

  async #newProgram(program: string, options: WriteOptions): Promise<StoredImage> {
    const sightings = new Sightings();
    const tree = await treeFromPrograms([{ path: program }], { sightings });
    const image = await this.build(tree, options);
    await this.#recipes.save(program, image.digest, sightings);
    return image;
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

  /** Once, before the first write: who only reads need not wait for it. */
  async #sweep(): Promise<void> {
    for (const folder of this.#folders) await removeAbandoned(folder);
  }

  async #write(tree: Tree, key: TreeKey | undefined, options: WriteOptions): Promise<StoredImage> {
    this.#swept ??= this.#sweep();
    await this.#swept;
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
