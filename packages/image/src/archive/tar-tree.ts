import { posix } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import { joinPath } from '../tree/path.js';
import type { Tree } from '../tree/tree.js';
import type { TarEntry } from './tar.js';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

export interface Applied {
  /** Devices that were left out: guests have their own /dev. */
  devices: number;
}

/**
 * Unpacks a layer over a tree, by the rules of the OCI image specification: whiteouts take away what lower layers have, then the
 * layer's own entries are put in their places, symbolic links of parents followed inside the tree.
 */
export function applyLayer(tree: Tree, entries: readonly TarEntry[]): Applied {
  for (const entry of entries) applyWhiteout(tree, entry);
  const applied: Applied = { devices: 0 };
  for (const entry of entries) {
    if (isWhiteout(entry)) continue;
    if (entry.type === 'device') applied.devices++;
    else putEntry(tree, entry);
  }
  return applied;
}

function isWhiteout(entry: TarEntry): boolean {
  const marked = posix.basename(entry.path).startsWith(WHITEOUT);
  return marked || (entry.type === 'device' && entry.whiteout);
}

function applyWhiteout(tree: Tree, entry: TarEntry): void {
  if (!isWhiteout(entry)) return;
  const path = tree.resolveParents(entry.path);
  const name = posix.basename(path);
  const dir = posix.dirname(path);
  if (name === OPAQUE) {
    for (const child of tree.childrenOf(dir)) tree.remove(joinPath(dir, child));
  } else if (!name.startsWith(WHITEOUT)) {
    tree.remove(path);
  } else if (!['', '.', '..'].includes(name.slice(WHITEOUT.length))) {
    tree.remove(joinPath(dir, name.slice(WHITEOUT.length)));
  }
}

function putEntry(tree: Tree, entry: Exclude<TarEntry, { type: 'device' }>): void {
  const path = tree.resolveParents(entry.path);
  makeParents(tree, path);
  if (entry.type !== 'hardlink') {
    // A folder behind a link stays there, as tar and container engines have it.
    if (entry.type === 'dir' && leadsToFolder(tree, path)) return;
    tree.replace({ ...entry, path });
    return;
  }
  const named = tree.get(tree.resolveParents(entry.target));
  const target = named?.type === 'hardlink' ? tree.get(named.target) : named;
  if (target === undefined || target.type === 'dir') {
    throw new MayflyError(
      'MAYFLY_IMAGE_BAD_LINK',
      `${entry.path} is a hard link to ${entry.target}, which is no file of this image`,
    );
  }
  if (target.path !== path) tree.replace({ ...entry, path, target: target.path });
}

/** What was a file in a layer below becomes a folder where this layer has something in it. */
function makeParents(tree: Tree, path: string): void {
  for (let dir = posix.dirname(path); dir !== '/'; dir = posix.dirname(dir)) {
    const entry = tree.get(dir);
    if (entry !== undefined && entry.type !== 'dir') tree.remove(dir);
  }
}

function leadsToFolder(tree: Tree, path: string): boolean {
  if (tree.get(path)?.type !== 'symlink') return false;
  return (
    tree.get(tree.resolveParents(posix.join(path, 'x')).replace(/\/x$/, '') || '/')?.type === 'dir'
  );
}
