import { createReadStream, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { RangesSource } from '../tree/ranges.js';
import type { Blob, Blobs } from './container.js';
import type { TarEntry } from './tar.js';

const LINKS_MAX = 40;

/** The files of an OCI image layout in a folder. Names come from digests, so that none leads out of it. */
export function folderBlobs(dir: string): Blobs {
  return {
    name: dir,
    get(path) {
      const file = join(dir, path);
      const stat = statSync(file, { throwIfNoEntry: false });
      return stat?.isFile() ? { size: stat.size, read: () => createReadStream(file) } : undefined;
    },
  };
}

/** The files of an archive; old `docker save` puts links where images share a layer. */
export function archiveBlobs(name: string, entries: readonly TarEntry[]): Blobs {
  const byPath = new Map(entries.map((entry) => [entry.path, entry]));
  return {
    name,
    get(path) {
      let at = posix.resolve('/', path);
      for (let links = 0; links < LINKS_MAX; links++) {
        const entry = byPath.get(at);
        if (entry?.type === 'file') return blobOf(entry.source);
        if (entry?.type === 'symlink') at = posix.resolve(posix.dirname(at), entry.target);
        else if (entry?.type === 'hardlink') at = entry.target;
        else return undefined;
      }
      return undefined;
    },
  };
}

function blobOf(source: RangesSource): Blob {
  return { size: source.size, read: () => readSpooled(source) };
}

async function* readSpooled({ hostPath, ranges }: RangesSource): AsyncGenerator<Uint8Array> {
  for (const { offset = 0, length } of ranges) {
    yield* createReadStream(hostPath, { start: offset, end: offset + length - 1 });
  }
}
