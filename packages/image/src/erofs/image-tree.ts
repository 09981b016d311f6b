import { MayflyError } from '@mayfly/protocol';
import { Pacer } from '../pacer.js';
import { type EntryBody, Tree } from '../tree/tree.js';
import { decodeDevice } from './format.js';
import { ErofsReader, type ListedEntry } from './reader.js';

/**
 * The tree of an uncompressed EROFS image of any writer (mkfs.erofs with compact inodes, tails behind inodes, chunks,
 * attributes), so that it can be written again the way guests like it. All of its folders and inodes are read, so damage in
 * them shows here. Attributes are left out, but for overlayfs's opaque folders. Throws MAYFLY_IMAGE_DAMAGED.
 */
export async function treeFromErofs(hostPath: string): Promise<Tree> {
  const reader = new ErofsReader(hostPath);
  const tree = new Tree();
  const names = new Map<number, string>();
  const pacer = new Pacer();
  try {
    for (const entry of reader.list()) {
      await pacer.pause();
      const { path, mode, uid, gid, mtimeNs } = entry;
      tree.add({ path, mode, uid, gid, mtimeNs, ...bodyOf(hostPath, entry, names) });
    }
    return tree;
  } catch (error) {
    throw asDamage(hostPath, error);
  } finally {
    reader.close();
  }
}

/** Names and numbers that no tree takes are damage of the image that has them. */
function asDamage(hostPath: string, error: unknown): unknown {
  if (!(error instanceof MayflyError) || error.code === 'MAYFLY_IMAGE_DAMAGED') return error;
  const message = `${hostPath} is damaged: ${error.message}`;
  return new MayflyError('MAYFLY_IMAGE_DAMAGED', message, { cause: error });
}

function bodyOf(hostPath: string, entry: ListedEntry, names: Map<number, string>): EntryBody {
  switch (entry.type) {
    case 'dir':
      return { type: 'dir', ...(entry.opaque === true && { opaque: true }) };
    case 'symlink':
      return { type: 'symlink', target: entry.target ?? '' };
    case 'file': {
      const first = names.get(entry.nid);
      if (first !== undefined) return { type: 'hardlink', target: first };
      names.set(entry.nid, entry.path);
      const { size, ranges } = entry;
      return { type: 'file', source: { kind: 'ranges', hostPath, size, ranges } };
    }
    case 'char':
    case 'block':
      return { type: entry.type, ...decodeDevice(entry.place) };
    default:
      return { type: entry.type };
  }
}
