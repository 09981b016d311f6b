import { type ByteSource, FileSource } from '../byte-source.js';
import { joinPath, partsOf } from '../tree/path.js';
import type { Range } from '../tree/tree.js';
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
import { isOpaque, rangesOf } from './inode-data.js';

const LINK_TARGET_MAX = 4095;

/** One line of a listing. `offset` is where the file's data begins in the image; it is undefined for what has none. */
export interface ListedEntry extends Inode {
  path: string;
  nid: number;
  offset: number | undefined;
  target: string | undefined;
  /** Where the data is in the image. */
  ranges: Range[];
}

/**
 * Reads uncompressed images of any writer: to list one, to take a file out, to make a tree of it. Everything is checked
 * against the image's size. Throws MAYFLY_IMAGE_DAMAGED, and for missing paths returns undefined.
 */
export class ErofsReader {
  readonly path: string;
  readonly superblock: Superblock;
  readonly #source: FileSource;

  constructor(path: string) {
    this.path = path;
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
      const next = this.child(entry, name);
      if (next === undefined) return undefined;
      entry = next;
    }
    return entry;
  }

  /** The entry of a folder with a name. */
  child(dir: ListedEntry, name: string): ListedEntry | undefined {
    const found = this.#dirents(dir).find((dirent) => dirent.name === name);
    return found && this.#entry(joinPath(dir.path, name), found.nid);
  }

  /** The first `length` bytes of a file, or all that it has. */
  readStart(entry: ListedEntry, length: number): Buffer {
    return this.#data(entry, length);
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
    const source = this.#source;
    const { metaOffset = 0, xattrOffset = 0, buildTimeNs = 0n } = this.superblock;
    const at = metaOffset + nid * NID_SIZE;
    const bytes = Buffer.alloc(INODE_SIZE);
    source.read(at, Math.max(NID_SIZE, Math.min(INODE_SIZE, source.size - at))).copy(bytes);
    const inode = decodeInode(bytes, buildTimeNs);
    if (typeof inode === 'string') throw source.damaged(inode);
    const hasData = inode.type === 'file' || inode.type === 'dir' || inode.type === 'symlink';
    const ranges = hasData ? rangesOf(source, inode, at) : [];
    const opaque = inode.type === 'dir' && isOpaque(source, inode, at, xattrOffset);
    const entry = { ...inode, path, nid, ranges, offset: ranges[0]?.offset };
    return {
      ...entry,
      target: inode.type === 'symlink' ? this.#linkTarget(entry) : undefined,
      ...(opaque && { opaque }),
    };
  }

  #linkTarget(inode: { size: number; ranges: Range[] }): string {
    if (inode.size > LINK_TARGET_MAX) throw this.#source.damaged('a link is too long');
    return this.#data(inode).toString();
  }

  #data({ size, ranges }: { size: number; ranges: Range[] }, most = size): Buffer {
    const parts: Buffer[] = [];
    let left = Math.min(size, most);
    for (const { offset, length } of ranges) {
      const part = Math.min(length, left);
      if (part === 0) break;
      parts.push(offset === undefined ? Buffer.alloc(part) : this.#source.read(offset, part));
      left -= part;
    }
    return Buffer.concat(parts);
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
