import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { MayflyError } from '@mayfly/protocol';
import { Pacer, SMALL_READ_SIZE } from '../pacer.js';
import { unreadable } from '../tree/folder.js';
import { readRanges } from '../tree/ranges.js';
import type { FileSourceOf, Range, Tree } from '../tree/tree.js';
import { BLOCK_SIZE, encodeInode, encodeSuperblock, OPAQUE_XATTRS, ROOT_NID } from './format.js';
import { HugeWriter } from './huge-writer.js';
import { type Layout, layOut } from './layout.js';

export interface WriteOptions {
  /** Called as the image grows, with bytes done and the final size. */
  onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface WrittenImage {
  /** SHA-256 of the image, in hex. */
  digest: string;
  /** Bytes; a multiple of 2 MiB. */
  size: number;
}

/**
 * Writes a tree as an EROFS image to `path` and syncs it to disk. The same tree gives the same bytes. Memory stays at a
 * few MiB over the tree itself, whatever the files hold.
 * Throws MAYFLY_IMAGE_SOURCE_CHANGED when a host file is not as large as the tree says, MAYFLY_IMAGE_UNREADABLE.
 */
export async function writeErofs(
  tree: Tree,
  path: string,
  options: WriteOptions = {},
): Promise<WrittenImage> {
  const layout = layOut(tree);
  const file = await open(path, 'w');
  try {
    const out = new HugeWriter(file, (done) => options.onProgress?.(done, layout.size));
    await writeLayout(out, layout);
    const digest = await out.finish(layout.size);
    await file.sync();
    return { digest, size: layout.size };
  } finally {
    await file.close();
  }
}

async function writeLayout(out: HugeWriter, layout: Layout): Promise<void> {
  const pacer = new Pacer();
  const superblock = {
    rootNid: ROOT_NID,
    inodeCount: layout.inodes.length,
    blockCount: layout.size / BLOCK_SIZE,
  };
  await out.append(encodeSuperblock(superblock));
  for (const inode of layout.inodes) {
    await out.append(encodeInode(inode));
    if (inode.opaque === true) await out.append(OPAQUE_XATTRS);
  }
  for (const piece of layout.pieces) {
    await pacer.pause();
    await out.padTo(piece.offset);
    if ('make' in piece) await out.append(piece.make());
    else await copySource(out, piece.source);
  }
}

async function copySource(out: HugeWriter, source: FileSourceOf): Promise<void> {
  if (source.kind === 'bytes') return out.append(source.bytes);
  if (source.kind === 'ranges' && source.size <= SMALL_READ_SIZE) {
    return out.append(readRanges(source));
  }
  if (source.size <= SMALL_READ_SIZE) return out.append(readSmall(source));
  const file = await open(source.hostPath, 'r').catch((error: unknown) => {
    throw unreadable(source.hostPath, error);
  });
  try {
    const { size } = await file.stat();
    if (source.kind === 'host' && size !== source.size) throw sourceChanged(source.hostPath);
    const ranges = source.kind === 'host' ? [{ offset: 0, length: size }] : source.ranges;
    for (const range of ranges) await copyRange(out, file, range, source.hostPath);
  } finally {
    await file.close();
  }
}

async function copyRange(
  out: HugeWriter,
  file: FileHandle,
  { offset, length }: Range,
  hostPath: string,
): Promise<void> {
  let at = offset ?? 0;
  await out.fill(length, async (room) => {
    if (offset === undefined) return room.fill(0).length;
    const { bytesRead } = await file.read(room, 0, room.length, at);
    if (bytesRead === 0) throw sourceChanged(hostPath);
    at += bytesRead;
    return bytesRead;
  });
}

function readSmall(source: { hostPath: string; size: number }): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(source.hostPath);
  } catch (error) {
    throw unreadable(source.hostPath, error);
  }
  if (bytes.length !== source.size) throw sourceChanged(source.hostPath);
  return bytes;
}

export function sourceChanged(hostPath: string): MayflyError {
  return new MayflyError(
    'MAYFLY_IMAGE_SOURCE_CHANGED',
    `${hostPath} changed while the image was built; build it again`,
  );
}
