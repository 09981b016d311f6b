import { ErofsReader, type ListedEntry } from '../erofs/reader.js';
import { joinPath, partsOf } from '../tree/path.js';
import type { FileSourceOf } from '../tree/tree.js';

const LINKS_MAX = 40;

/** A folder or file as the layers show it: one source, or for a merged folder several, the topmost first. */
interface Source {
  reader: ErofsReader;
  entry: ListedEntry;
}

/** What is at a path, symbolic links followed. */
export interface RootEntry {
  path: string;
  entry: ListedEntry;
  /** The first bytes of a file. */
  readStart(length: number): Buffer;
  /** The bytes of a file, as a part of its image. */
  source(): FileSourceOf;
}

/** The root file system that a guest sees of its images, on the host: the same rules as `firmware/fs/layers.c`. */
export class ImageRoot {
  /** Topmost first. */
  readonly #readers: ErofsReader[] = [];

  /**
   * Opens images, bottom first, as machines take them.
   * Throws MAYFLY_IMAGE_DAMAGED for what is no image.
   */
  constructor(paths: readonly string[]) {
    try {
      for (const path of paths) this.#readers.unshift(new ErofsReader(path));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const reader of this.#readers) reader.close();
  }

  /** What a path leads to; undefined when it leads nowhere. */
  find(path: string): RootEntry | undefined {
    let left = partsOf(path);
    let done = '/';
    let at = this.#top();
    for (let links = 0; left.length > 0; ) {
      const [name, ...rest] = left as [string, ...string[]];
      const next = lookUp(at, name);
      const target = next[0]?.entry.target;
      if (next.length === 0) return undefined;
      if (target === undefined) {
        at = next;
        done = joinPath(done, name);
        left = rest;
        continue;
      }
      if (++links > LINKS_MAX) return undefined;
      left = [...partsOf(joinPath(target.startsWith('/') ? '/' : done, target)), ...rest];
      done = '/';
      at = this.#top();
    }
    const [source] = at;
    if (source === undefined) return undefined;
    const { reader, entry } = source;
    const { size, ranges } = entry;
    return {
      path: done,
      entry,
      readStart: (length) => reader.readStart(entry, length),
      source: () => ({ kind: 'ranges', hostPath: reader.path, size, ranges }),
    };
  }

  #top(): Source[] {
    return this.#readers.map((reader) => ({ reader, entry: reader.stat('/')! }));
  }
}

/** A name in a merged folder: the topmost hit, and for folders what merges into it. */
function lookUp(dir: Source[], name: string): Source[] {
  const found: Source[] = [];
  for (const { reader, entry } of dir) {
    const child = entry.type === 'dir' ? reader.child(entry, name) : undefined;
    if (child === undefined) continue;
    const isDir = child.type === 'dir';
    if (isWhiteout(child) || (found.length > 0 && !isDir)) break;
    found.push({ reader, entry: child });
    if (!isDir || child.opaque === true) break;
  }
  return found;
}

/** As in overlayfs: the character device 0, 0. */
function isWhiteout({ type, place }: ListedEntry): boolean {
  return type === 'char' && place === 0;
}
