import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import type { RangesSource } from '../tree/ranges.js';
import type { Attributes } from '../tree/tree.js';
import { archiveError, type Chunks, decompress } from './decompress.js';
import type { Spool } from './spool.js';

/** A line of an archive. Names are as they count below a root: absolute, without '.' and '..'. */
export type TarEntry = { path: string } & Attributes &
  (
    | { type: 'dir' | 'fifo' }
    | { type: 'file'; source: RangesSource }
    | { type: 'symlink' | 'hardlink'; target: string }
    | { type: 'device'; whiteout: boolean }
  );

/**
 * Reads a tar stream (plain, gzip or zstd; ustar, GNU and pax names), contents going to the spool.
 * Throws MAYFLY_IMAGE_ARCHIVE_DAMAGED, which names `name`.
 */
export async function readTar(chunks: Chunks, spool: Spool, name: string): Promise<TarEntry[]> {
  const archive = extract();
  const input = Readable.from(decompress(chunks));
  input.on('error', (error) => archive.destroy(error));
  const entries: TarEntry[] = [];
  try {
    input.pipe(archive);
    for await (const item of archive) {
      const entry = await entryOf(item.header, item as Chunks, spool);
      if (entry !== undefined) entries.push(entry);
      item.resume();
    }
    await spool.flush();
    return entries;
  } catch (error) {
    throw archiveError(name, error);
  } finally {
    input.destroy();
  }
}

async function entryOf(
  header: Header,
  content: Chunks,
  spool: Spool,
): Promise<TarEntry | undefined> {
  const path = rootedPath(header.name);
  const attributes = attributesOf(header);
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return { path, ...attributes, type: 'file', source: await spool.add(content) };
    case 'directory':
      return { path, ...attributes, type: 'dir' };
    case 'symlink':
      return { path, ...attributes, type: 'symlink', target: header.linkname ?? '' };
    case 'link':
      return { path, ...attributes, type: 'hardlink', target: rootedPath(header.linkname ?? '') };
    case 'fifo':
      return { path, ...attributes, type: 'fifo' };
    case 'character-device':
    case 'block-device': {
      const whiteout =
        header.type === 'character-device' && header.devmajor === 0 && header.devminor === 0;
      return { path, ...attributes, type: 'device', whiteout };
    }
    case null:
    case undefined:
      throw new Error(`${header.name} is of a kind that Mayfly does not read`);
    default:
      return undefined; // pax and GNU headers, which tar-stream has put to use already
  }
}

/** '..' ends at the root, as it does for a process in it: no name leads out of the image. */
function rootedPath(name: string): string {
  const path = posix.normalize(`/${name}`);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function attributesOf({ mode, uid, gid, mtime }: Header): Attributes {
  return {
    mode: (mode ?? 0o644) & 0o7777,
    uid: uid ?? 0,
    gid: gid ?? 0,
    mtimeNs: BigInt(mtime?.getTime() ?? 0) * 1_000_000n,
  };
}
