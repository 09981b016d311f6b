import { MayflyError } from '@mayfly/protocol';
import { joinPath, parentOf } from '../tree/path.js';
import { type Entry, type FileSourceOf, sourceSize, type Tree } from '../tree/tree.js';
import { congruenceOf } from './congruence.js';
import { type Dirent, directorySize, encodeDirectory } from './directory.js';
import {
  BLOCK_SIZE,
  encodeDevice,
  HUGE_PAGE_SIZE,
  INODE_SIZE,
  type Inode,
  NID_SIZE,
  OPAQUE_XATTRS,
  ROOT_NID,
  roundUp,
} from './format.js';

/** From this size on a file's start is chosen so that 2 MiB mappings work; below it would waste more than it gains. */
export const LARGE_FILE_SIZE = 1024 * 1024;

/** Bytes at a place of the image: made when their turn comes, or copied from a file. */
export type Piece = { offset: number } & ({ make: () => Buffer } | { source: FileSourceOf });

export interface Layout {
  inodes: Inode[];
  /** Everything after the inodes, by ascending offset. */
  pieces: Piece[];
  size: number;
}

interface Node {
  entry: Entry & { type: Exclude<Entry['type'], 'hardlink'> };
  inode: Inode;
  nid: number;
}

/** Decides where everything goes. Reads nothing of the files but the ELF headers of large ones. */
export function layOut(tree: Tree): Layout {
  const nodes = numberNodes(tree);
  const pieces: Piece[] = [];
  const last = [...nodes.values()].at(-1)!;
  let end = roundUp((last.nid + slotsOf(last.inode)) * NID_SIZE, BLOCK_SIZE);
  for (const node of nodes.values()) end = placeMetadata(tree, nodes, node, end, pieces);
  end = placeFiles(nodes, end, pieces);
  const size = roundUp(end, HUGE_PAGE_SIZE);
  if (size / BLOCK_SIZE > 0xffffffff) {
    throw new MayflyError('MAYFLY_IMAGE_TOO_LARGE', `an image of ${size} bytes is too large`);
  }
  return { inodes: [...nodes.values()].map(({ inode }) => inode), pieces, size };
}

/** Gives each entry that is an inode of its own a number, in path order; hard links count on their target. */
function numberNodes(tree: Tree): Map<string, Node> {
  const nodes = new Map<string, Node>();
  const links: (Entry & { type: 'hardlink' })[] = [];
  let nid = ROOT_NID;
  for (const entry of tree.entries()) {
    if (entry.type === 'hardlink') {
      links.push(entry);
      continue;
    }
    const node = newNode(entry, nodes.size + 1, nid);
    nodes.set(entry.path, node);
    nid += slotsOf(node.inode);
  }
  for (const link of links) nodes.get(tree.linkTarget(link).path)!.inode.linkCount++;
  for (const { entry } of nodes.values()) {
    if (entry.type === 'dir' && entry.path !== '/')
      nodes.get(parentOf(entry.path))!.inode.linkCount++;
  }
  return nodes;
}

function slotsOf(inode: Inode): number {
  return (INODE_SIZE + (inode.opaque === true ? OPAQUE_XATTRS.length : 0)) / NID_SIZE;
}

function newNode(entry: Node['entry'], ino: number, nid: number): Node {
  const { type, mode, uid, gid, mtimeNs } = entry;
  const device = entry.type === 'char' || entry.type === 'block';
  const inode: Inode = {
    type,
    mode,
    uid,
    gid,
    mtimeNs,
    ino,
    linkCount: type === 'dir' ? 2 : 1,
    size: 0,
    place: device ? encodeDevice(entry.major, entry.minor) : 0,
    ...(entry.type === 'dir' && entry.opaque === true && { opaque: true }),
  };
  return { entry, inode, nid };
}

/** Places a folder's blocks or a link's target; returns the new end. */
function placeMetadata(
  tree: Tree,
  nodes: Map<string, Node>,
  node: Node,
  end: number,
  pieces: Piece[],
): number {
  const { entry, inode } = node;
  if (entry.type === 'dir') {
    const names = namesIn(tree, entry.path);
    inode.size = directorySize(names);
    pieces.push({ offset: end, make: () => encodeDirectory(direntsOf(tree, nodes, entry.path)) });
  } else if (entry.type === 'symlink') {
    const target = Buffer.from(entry.target);
    inode.size = target.length;
    pieces.push({ offset: end, make: () => target });
  } else {
    return end;
  }
  inode.place = end / BLOCK_SIZE;
  return end + roundUp(inode.size, BLOCK_SIZE);
}

/** '.' and '..' are sorted among the other names, as fsck.erofs expects: '!a' comes before '.'. */
function namesIn(tree: Tree, path: string): Buffer[] {
  return ['.', '..', ...tree.childrenOf(path)]
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare);
}

function direntsOf(tree: Tree, nodes: Map<string, Node>, path: string): Dirent[] {
  return namesIn(tree, path).map((name) => {
    const entry = tree.get(joinPath(path, name.toString()))!;
    const target = entry.type === 'hardlink' ? tree.linkTarget(entry).path : entry.path;
    const { nid, inode } = nodes.get(target)!;
    return { name, nid, type: inode.type };
  });
}

/** Places file data: large files at their congruent offsets, small files in path order into the gaps and behind. */
function placeFiles(nodes: Map<string, Node>, start: number, pieces: Piece[]): number {
  const files = [...nodes.values()].filter(({ entry }) => entry.type === 'file').map(fileOf);
  const small = files.filter(({ source }) => sourceSize(source) < LARGE_FILE_SIZE);
  const large = files.filter(({ source }) => sourceSize(source) >= LARGE_FILE_SIZE);
  let end = start;
  let next = 0;
  for (const file of large) {
    const offset = congruentOffset(end, congruenceOf(file.source));
    for (; next < small.length && end + blocksOf(small[next]!) <= offset; next++) {
      end = placeFile(small[next]!, end, pieces);
    }
    end = placeFile(file, offset, pieces);
  }
  for (; next < small.length; next++) end = placeFile(small[next]!, end, pieces);
  return end;
}

interface FileNode {
  inode: Inode;
  source: FileSourceOf;
}

function fileOf({ entry, inode }: Node): FileNode {
  if (entry.type !== 'file') throw new TypeError(`${entry.path} is no file`);
  return { inode, source: entry.source };
}

function blocksOf({ source }: FileNode): number {
  return roundUp(sourceSize(source), BLOCK_SIZE);
}

/** The first offset from `end` on that leaves `residue` when divided by 2 MiB. */
function congruentOffset(end: number, residue: number): number {
  return end + ((residue - (end % HUGE_PAGE_SIZE) + HUGE_PAGE_SIZE) % HUGE_PAGE_SIZE);
}

function placeFile({ inode, source }: FileNode, offset: number, pieces: Piece[]): number {
  inode.size = sourceSize(source);
  if (inode.size === 0) return offset;
  inode.place = offset / BLOCK_SIZE;
  pieces.push({ offset, source });
  return offset + roundUp(inode.size, BLOCK_SIZE);
}
