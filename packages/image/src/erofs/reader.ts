import { type ByteSource, FileSource } from '../byte-source.js';
import { joinPath, partsOf } from '../tree/path.js';
import { decodeBlock } from './directory.js';
import {
  BLOCK_SIZE,
  decodeInode,
  decodeSuperblock,
  INODE_SIZE,
  type Inode,
  NID_SIZE,
  type Superblock,
} from './format.js';

/** One line of a listing. `offset` is where the file's data begins in the image; it is undefined for what has none. */
export interface ListedEntry extends Inode {
  path: string;
  nid: number;
  offset: number | undefined;
  target: string | undefined;
}

/**
 * Reads the images that Mayfly writes: to list one, and to take a file out. Everything is checked against the image's
 * size. Throws MAYFLY_IMAGE_DAMAGED, and for missing paths returns undefined.
 */
export class ErofsReader {
  readonly superblock: Superblock;
  readonly #source: FileSource;

  constructor(path: string) {
    this.#source = new FileSource(path, 'MAYFLY_IMAGE_DAMAGED');
    try {
      this.superblock = readSuperblock(this.#source);
    } catch (error) {
      this.#source.close();
      throw error;
    }
  }

  close(): void {
    this.#source.close();
  }

  /** Every entry of the image, folders before what is in them. */
  *list(): Generator<ListedEntry> {
    yield* this.#walk('/', this.superblock.rootNid, new Set());
  }

  /** The entry at a path; symbolic links are not followed. */
  stat(path: string): ListedEntry | undefined {
    let entry = this.#entry('/', this.superblock.rootNid);
    for (const name of partsOf(path)) {
      const found = this.#dirents(entry).find((dirent) => dirent.name === name);
      if (found === undefined) return undefined;
      entry = this.#entry(joinPath(entry.path, name), found.nid);
    }
    return entry;
  }

  /** The bytes of a file; undefined when there is none at that path. */
  readFile(path: string): Buffer | undefined {
    const entry = this.stat(path);
    return entry?.type === 'file' ? this.#data(entry) : undefined;
  }

  /** A folder has one parent, so one that is met twice is damage, and would make the walk endless. */
  *#walk(path: string, nid: number, seen: Set<number>): Generator<ListedEntry> {
    const entry = this.#entry(path, nid);
    yield entry;
    if (entry.type !== 'dir') return;
    if (seen.has(nid)) throw this.#source.damaged('its folders lead in circles');
    seen.add(nid);
    for (const child of this.#dirents(entry)) {
      if (child.name === '.' || child.name === '..') continue;
      yield* this.#walk(joinPath(path, child.name), child.nid, seen);
    }
  }

  #entry(path: string, nid: number): ListedEntry {
    const inode = decodeInode(this.#source.read(nid * NID_SIZE, INODE_SIZE));
    if (typeof inode === 'string') throw this.#source.damaged(inode);
    const hasData = inode.type === 'file' || inode.type === 'dir' || inode.type === 'symlink';
    const offset = hasData && inode.size > 0 ? inode.place * BLOCK_SIZE : undefined;
    const target = inode.type === 'symlink' ? this.#data(inode).toString() : undefined;
    return { ...inode, path, nid, offset, target };
  }

  #data(inode: Inode): Buffer {
    return inode.size === 0
      ? Buffer.alloc(0)
      : this.#source.read(inode.place * BLOCK_SIZE, inode.size);
  }

  #dirents(entry: ListedEntry): { name: string; nid: number }[] {
    if (entry.type !== 'dir') return [];
    const bytes = this.#data(entry);
    const dirents = [];
    for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
      const block = decodeBlock(bytes.subarray(at, at + BLOCK_SIZE));
      if (block === undefined) throw this.#source.damaged(`the folder ${entry.path} is unreadable`);
      dirents.push(...block);
    }
    return dirents;
  }
}

function readSuperblock(source: ByteSource): Superblock {
  const superblock = decodeSuperblock(source.read(0, Math.min(source.size, BLOCK_SIZE)));
  if (typeof superblock === 'string') throw source.damaged(superblock);
  return superblock;
}
