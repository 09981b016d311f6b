import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import { Pacer } from '../pacer.js';
import type { Sightings } from './sightings.js';
import { type Attributes, type EntryBody, Tree } from './tree.js';

/** Who owns what comes from the host: everybody keeps theirs, or all is given to one. */
export type Owner = 'keep' | { uid: number; gid: number };

export interface FolderOptions {
  /** Where the folder's content goes; default '/'. */
  at?: string;
  /** Default 'keep'. */
  owner?: Owner;
  /** Guest paths that are left out, with what lies below them. */
  skip?: (path: string) => boolean;
  /** Told of all that is looked at. */
  sightings?: Sightings;
}

/** What the walk remembers: the first name of each file that has several. */
interface Walk {
  tree: Tree;
  owner: Owner;
  skip: (path: string) => boolean;
  sightings: Sightings | undefined;
  linked: Map<string, string>;
  pacer: Pacer;
}

/**
 * The tree of a host folder: modes, owners, times, links (symbolic and hard), devices. Extended attributes are left out.
 * Throws MAYFLY_IMAGE_UNREADABLE for what cannot be read and MAYFLY_IMAGE_BAD_PATH for names that are not UTF-8.
 */
export async function treeFromFolder(dir: string, options: FolderOptions = {}): Promise<Tree> {
  const tree = new Tree();
  await addFolder(tree, dir, options);
  return tree;
}

/** Adds a host folder (or a single file) to a tree at `at`. */
export async function addFolder(
  tree: Tree,
  hostPath: string,
  options: FolderOptions = {},
): Promise<void> {
  const walk: Walk = {
    tree,
    owner: options.owner ?? 'keep',
    skip: options.skip ?? (() => false),
    sightings: options.sightings,
    linked: new Map(),
    pacer: new Pacer(),
  };
  try {
    const at = tree.resolveParents(options.at ?? '/');
    if (addOne(walk, hostPath, at)) await addContent(walk, hostPath, at);
  } catch (error) {
    throw error instanceof MayflyError ? error : unreadable(hostPath, error);
  }
}

export function unreadable(hostPath: string, cause: unknown): MayflyError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new MayflyError('MAYFLY_IMAGE_UNREADABLE', `${hostPath} cannot be read: ${why}`, {
    cause,
  });
}

/** Owner, mode and time of a host file. */
export function attributesOf(stat: BigIntStats, owner: Owner): Attributes {
  return {
    mode: Number(stat.mode) & 0o7777,
    uid: owner === 'keep' ? Number(stat.uid) : owner.uid,
    gid: owner === 'keep' ? Number(stat.gid) : owner.gid,
    mtimeNs: stat.mtimeNs,
  };
}

async function addContent(walk: Walk, hostPath: string, path: string): Promise<void> {
  await walk.pacer.pause();
  const below = path === '/' ? '/' : `${path}/`;
  for (const name of readNames(hostPath)) {
    const next = below + name;
    if (walk.skip(next)) continue;
    const inner = `${hostPath}/${name}`;
    if (addOne(walk, inner, next)) await addContent(walk, inner, next);
  }
}

/** Adds one entry; whether it is a folder. */
function addOne(walk: Walk, hostPath: string, path: string): boolean {
  const stat = lstatSync(hostPath, { bigint: true });
  if (stat.isDirectory()) walk.sightings?.addNames(hostPath, stat);
  else walk.sightings?.add(hostPath, stat);
  const body = bodyOf(walk, hostPath, path, stat);
  walk.tree.add({ path, ...attributesOf(stat, walk.owner), ...body });
  return body.type === 'dir';
}

function bodyOf(walk: Walk, hostPath: string, path: string, stat: BigIntStats): EntryBody {
  if (stat.isDirectory()) return { type: 'dir' };
  const first = firstName(walk, path, stat);
  if (first !== undefined) return { type: 'hardlink', target: first };
  if (stat.isSymbolicLink()) return { type: 'symlink', target: readlinkSync(hostPath) };
  if (stat.isFile()) {
    return { type: 'file', source: { kind: 'host', hostPath, size: Number(stat.size) } };
  }
  return specialOf(stat);
}

/** The path under which this inode is in the tree already; otherwise the path is remembered as its first. */
function firstName(walk: Walk, path: string, stat: BigIntStats): string | undefined {
  if (stat.nlink < 2n) return undefined;
  const inode = `${stat.dev}:${stat.ino}`;
  const first = walk.linked.get(inode);
  if (first === undefined) walk.linked.set(inode, path);
  return first;
}

function specialOf(stat: BigIntStats): EntryBody {
  if (stat.isFIFO()) return { type: 'fifo' };
  if (stat.isSocket()) return { type: 'socket' };
  const device = Number(stat.rdev);
  return {
    type: stat.isCharacterDevice() ? 'char' : 'block',
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
  };
}

/** Names in byte order, so that the walk and with it the first name of a hard link is the same on every host. */
function readNames(hostPath: string): string[] {
  const names = readdirSync(hostPath, { encoding: 'buffer' });
  return names.sort(Buffer.compare).map((bytes) => {
    const name = bytes.toString();
    if (Buffer.from(name).equals(bytes)) return name;
    throw new MayflyError(
      'MAYFLY_IMAGE_BAD_PATH',
      `${hostPath} holds a name that is not UTF-8: ${bytes.toString('latin1')}`,
    );
  });
}
