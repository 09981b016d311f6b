import { createHash } from 'node:crypto';
import { Pacer } from '../pacer.js';
import type { Entry, Tree } from '../tree/tree.js';
import type { FileDigests } from './file-digests.js';

/** Changes whenever the same tree would become another image. */
const FORMAT = 'mayfly image 1';

export interface TreeKey {
  /** SHA-256, in hex, of all that decides the image's bytes. */
  key: string;
  /** Throws MAYFLY_IMAGE_SOURCE_CHANGED if a source file is no longer what the key was made of. */
  verify: () => void;
}

/** Describes a tree line by line, each file by its content's digest, and hashes that. */
export async function keyOf(tree: Tree, digests: FileDigests): Promise<TreeKey> {
  const hash = createHash('sha256').update(`${FORMAT}\n`);
  const checks: (() => void)[] = [];
  const pacer = new Pacer();
  for (const entry of tree.entries()) {
    await pacer.pause();
    const { path, type, mode, uid, gid, mtimeNs } = entry;
    const content = await contentOf(entry, digests, checks);
    hash.update(`${JSON.stringify([path, type, mode, uid, gid, `${mtimeNs}`, ...content])}\n`);
  }
  return {
    key: hash.digest('hex'),
    verify: () => {
      for (const check of checks) check();
    },
  };
}

async function contentOf(
  entry: Entry,
  digests: FileDigests,
  checks: (() => void)[],
): Promise<(string | number)[]> {
  switch (entry.type) {
    case 'dir':
      return entry.opaque === true ? ['opaque'] : [];
    case 'symlink':
    case 'hardlink':
      return [entry.target];
    case 'char':
    case 'block':
      return [entry.major, entry.minor];
    case 'file': {
      const { source } = entry;
      if (source.kind === 'bytes') return [createHash('sha256').update(source.bytes).digest('hex')];
      const { digest, verify } = await digests.of(source.hostPath);
      checks.push(verify);
      return source.kind === 'host' ? [digest] : [digest, JSON.stringify(source.ranges)];
    }
    default:
      return [];
  }
}
