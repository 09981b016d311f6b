import { MayflyError } from '@mayfly/protocol';
import { checkPath, checkTarget, joinPath, parentOf, partsOf } from './path.js';

const LINKS_MAX = 40;

/** Owner, permission bits (07777) and time of an entry. */
export interface Attributes {
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
}

/** Where a file's bytes are. `size` is what the host file had when the tree was made. */
export type FileSourceOf =
  | { kind: 'host'; hostPath: string; size: number }
  /** Ranges of a host file one after the other: a file inside an archive or another image. */
  | { kind: 'ranges'; hostPath: string; size: number; ranges: Range[] }
  | { kind: 'bytes'; bytes: Uint8Array };

/** Bytes of a host file from an offset; without one, zeroes. */
export interface Range {
  offset?: number;
  length: number;
}

export type EntryBody =
  /** `opaque`: as a layer, it hides the folder of the same name in the layers below. */
  | { type: 'dir'; opaque?: boolean }
  | { type: 'file'; source: FileSourceOf }
  | { type: 'symlink'; target: string }
  /** Another name of the file at the guest path `target`; its own attributes are ignored. */
  | { type: 'hardlink'; target: string }
  | { type: 'char' | 'block'; major: number; minor: number }
  | { type: 'fifo' | 'socket' };

export type Entry = { path: string } & Attributes & EntryBody;

/** A folder that nobody described: root's, 0755, at time 0, so that equal trees are equal bytes. */
export const PLAIN_DIR: Attributes & { type: 'dir' } = {
  type: 'dir',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
};

/** Bytes of a file's content. */
export function sourceSize(source: FileSourceOf): number {
  return source.kind === 'bytes' ? source.bytes.byteLength : source.size;
}

/**
 * A root file system before it is an image: entries by absolute guest path. Parents exist for every entry, and no entry
 * lies below anything but a folder, so a tree can always be written.
 */
export class Tree {
  readonly #entries = new Map<string, Entry>();
  readonly #children = new Map<string, Set<string>>();
  /** Hard links by their target. */
  readonly #links = new Map<string, Set<string>>();

  constructor() {
    this.#entries.set('/', { path: '/', ...PLAIN_DIR });
    this.#children.set('/', new Set());
  }

  get size(): number {
    return this.#entries.size;
  }

  get(path: string): Entry | undefined {
    return this.#entries.get(path);
  }

  /** Every entry, parents before children, siblings in byte order of their names. */
  *entries(from = '/'): Generator<Entry> {
    const left = [from];
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      const entry = this.#entries.get(path);
      if (entry === undefined) return;
      yield entry;
      if (entry.type !== 'dir') continue;
      const prefix = path === '/' ? '/' : `${path}/`;
      for (const name of this.childrenOf(path).reverse()) left.push(prefix + name);
    }
  }

  /** The names in a folder in byte order, which is the order EROFS searches by. */
  childrenOf(path: string): string[] {
    const names = [...(this.#children.get(path) ?? [])];
    // UTF-16 and UTF-8 sort alike, but for surrogates.
    if (!names.some((name) => /[\ud800-\udfff]/.test(name))) return names.sort();
    return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /**
   * Puts an entry at its path, creating plain parents. What was there is replaced, except that a folder keeps its
   * children. Throws MAYFLY_IMAGE_BAD_PATH for an unusable path, MAYFLY_IMAGE_BAD_ATTRIBUTE for numbers that an
   * inode cannot hold, MAYFLY_IMAGE_CONFLICT where a folder would be lost.
   */
  add(entry: Entry): void {
    checkPath(entry.path);
    if (entry.type === 'symlink') checkTarget(entry.path, entry.target);
    checkAttributes(entry);
    this.#checkConflict(entry);
    if (entry.path !== '/') this.#link(entry.path);
    if (entry.type === 'dir' && !this.#children.has(entry.path)) {
      this.#children.set(entry.path, new Set());
    }
    if (entry.type !== 'dir') this.#children.delete(entry.path);
    this.#entries.set(entry.path, entry);
    if (entry.type !== 'hardlink') return;
    const links = this.#links.get(entry.target);
    if (links === undefined) this.#links.set(entry.target, new Set([entry.path]));
    else links.add(entry.path);
  }

  /**
   * Like add, but what is at the path goes first, as when an archive is unpacked over a folder: other names of a file keep
   * it, and a folder keeps its children only for a folder.
   */
  replace(entry: Entry): void {
    checkPath(entry.path);
    const old = this.#entries.get(entry.path);
    if (old !== undefined && !(old.type === 'dir' && entry.type === 'dir')) this.remove(entry.path);
    this.add(entry);
  }

  /** Removes a path with all below it. A file that has other names stays under the first of them. */
  remove(path: string): void {
    const entry = this.#entries.get(path);
    if (entry === undefined || path === '/') return;
    for (const name of this.childrenOf(path)) this.remove(joinPath(path, name));
    this.#entries.delete(path);
    this.#children.delete(path);
    const parent = parentOf(path);
    this.#children.get(parent)?.delete(path.slice(parent === '/' ? 1 : parent.length + 1));
    if (entry.type === 'hardlink') this.#links.get(entry.target)?.delete(path);
    else this.#promoteLink(entry);
  }

  /** The first other name of a removed file becomes the file. */
  #promoteLink(file: Entry): void {
    const links = this.#links.get(file.path);
    this.#links.delete(file.path);
    const [first, ...others] = links ?? [];
    if (first === undefined) return;
    this.#entries.set(first, { ...file, path: first });
    if (others.length > 0) this.#links.set(first, new Set(others));
    for (const path of others) {
      const link = this.#entries.get(path) as Entry & { type: 'hardlink' };
      this.#entries.set(path, { ...link, target: first });
    }
  }

  /** Like add, unless the path is taken. */
  addMissing(entry: Entry): void {
    if (!this.#entries.has(entry.path)) this.add(entry);
  }

  /** The path with the symbolic links of its parents (as far as they are in the tree) followed. */
  resolveParents(path: string): string {
    checkPath(path);
    let left = partsOf(path);
    let done = '/';
    for (let links = 0; left.length > 1; ) {
      const next = joinPath(done, left[0]!);
      const entry = this.#entries.get(next);
      if (entry?.type !== 'symlink') {
        done = next;
        left = left.slice(1);
        continue;
      }
      if (++links > LINKS_MAX) throw conflict(path, `${next} leads in circles`);
      const base = entry.target.startsWith('/') ? '/' : done;
      left = [...partsOf(joinPath(base, entry.target)), ...left.slice(1)];
      done = '/';
    }
    return left.length === 0 ? done : joinPath(done, left[0]!);
  }

  /** The file that a hard link stands for. Throws MAYFLY_IMAGE_BAD_LINK if its target is no file. */
  linkTarget(entry: Entry & { type: 'hardlink' }): Entry {
    const target = this.#entries.get(entry.target);
    if (target === undefined || target.type === 'dir' || target.type === 'hardlink') {
      throw new MayflyError(
        'MAYFLY_IMAGE_BAD_LINK',
        `${entry.path} is a hard link to ${entry.target}, which is no file of this tree`,
      );
    }
    return target;
  }

  #checkConflict(entry: Entry): void {
    const children = this.#children.get(entry.path);
    if (entry.type !== 'dir' && (entry.path === '/' || (children?.size ?? 0) > 0)) {
      throw conflict(entry.path, `a ${entry.type} cannot replace a folder that has entries`);
    }
  }

  /** Enters a path in its parent, making the parents that are missing. */
  #link(path: string): void {
    const parent = parentOf(path);
    if (!this.#entries.has(parent)) this.add({ path: parent, ...PLAIN_DIR });
    const siblings = this.#children.get(parent);
    if (siblings === undefined) throw conflict(path, `${parent} is not a folder`);
    siblings.add(path.slice(parent === '/' ? 1 : parent.length + 1));
  }
}

const TIME_NS_MAX = 2n ** 63n - 1n;

function checkAttributes(entry: Entry): void {
  const { path, mode, uid, gid, mtimeNs } = entry;
  const device = entry.type === 'char' || entry.type === 'block';
  const numbers: [name: string, value: number, max: number][] = [
    ['mode', mode, 0o7777],
    ['uid', uid, 0xffffffff],
    ['gid', gid, 0xffffffff],
    ['major device number', device ? entry.major : 0, 0xfff],
    ['minor device number', device ? entry.minor : 0, 0xfffff],
  ];
  const bad = numbers.find(
    ([, value, max]) => !Number.isInteger(value) || value < 0 || value > max,
  );
  const time = mtimeNs >= -TIME_NS_MAX && mtimeNs <= TIME_NS_MAX;
  if (bad === undefined && time) return;
  throw new MayflyError(
    'MAYFLY_IMAGE_BAD_ATTRIBUTE',
    `${path} cannot have ${bad === undefined ? `the time ${mtimeNs} ns` : `${bad[0]} ${bad[1]}`}`,
  );
}

function conflict(path: string, why: string): MayflyError {
  return new MayflyError('MAYFLY_IMAGE_CONFLICT', `${path} cannot be put into the image: ${why}`);
}
