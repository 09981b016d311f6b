/** Where an inode's data and attributes are, whoever wrote the image. */
import type { ByteSource } from '../byte-source.js';
import type { Range } from '../tree/tree.js';
import {
  BLOCK_SIZE,
  DATA,
  OPAQUE_NAME,
  type ReadInode,
  roundUp,
  XATTR_HEADER_SIZE,
  XATTR_PREFIXES,
} from './format.js';

const CHUNK_INDEXES = 0x20;
const CHUNK_BITS = 0x1f;
const HOLE = 0xffffffff;

/** The ranges of the image that are the inode's data. `at` is the inode's offset; every range lies inside the image. */
export function rangesOf(source: ByteSource, inode: ReadInode, at: number): Range[] {
  if (inode.size === 0) return [];
  if (inode.type === 'dir' && inode.size > source.size) {
    throw source.damaged('a folder is larger than the image');
  }
  const behind = at + inode.headSize + inode.xattrSize;
  const ranges = rangesByKind(source, inode, behind);
  for (const { offset = 0, length } of ranges) {
    if (offset + length > source.size) throw source.damaged('the data of an inode lies outside');
  }
  return ranges;
}

function rangesByKind(source: ByteSource, inode: ReadInode, behind: number): Range[] {
  const offset = inode.place * BLOCK_SIZE;
  switch (inode.dataKind) {
    case DATA.plain:
      return [{ offset, length: inode.size }];
    case DATA.inline: {
      const length = Math.floor((inode.size - 1) / BLOCK_SIZE) * BLOCK_SIZE;
      const tail = { offset: behind, length: inode.size - length };
      return length === 0 ? [tail] : [{ offset, length }, tail];
    }
    case DATA.chunks:
      return chunkRanges(source, inode, behind);
    default:
      throw source.damaged('an inode has a layout that Mayfly does not read');
  }
}

/** A table behind the inode says where each chunk is: 4 bytes a chunk, or 8 of which the last 4 count. */
function chunkRanges(source: ByteSource, inode: ReadInode, behind: number): Range[] {
  const size = BLOCK_SIZE * 2 ** (inode.place & CHUNK_BITS);
  const step = (inode.place & CHUNK_INDEXES) === 0 ? 4 : 8;
  const count = Math.ceil(inode.size / size);
  if (count * step > source.size) throw source.damaged('an inode has more chunks than fit');
  const table = source.read(roundUp(behind, step), count * step);
  const ranges: Range[] = [];
  for (let i = 0; i < count; i++) {
    const block = table.readUInt32LE(i * step + step - 4);
    const length = Math.min(size, inode.size - i * size);
    addRange(ranges, block === HOLE ? undefined : block * BLOCK_SIZE, length);
  }
  return ranges;
}

/** Neighbours become one range: chunks are mostly in order. */
function addRange(ranges: Range[], offset: number | undefined, length: number): void {
  const last = ranges.at(-1);
  const next = last?.offset === undefined ? undefined : last.offset + last.length;
  if (last !== undefined && next === offset) last.length += length;
  else ranges.push(offset === undefined ? { length } : { offset, length });
}

/** Whether a folder says overlay.opaque = y, as overlayfs does. */
export function isOpaque(
  source: ByteSource,
  inode: ReadInode,
  at: number,
  xattrOffset: number,
): boolean {
  if (inode.xattrSize === 0) return false;
  const bytes = source.read(at + inode.headSize, inode.xattrSize);
  const shared = bytes.readUInt8(4);
  const own = XATTR_HEADER_SIZE + 4 * shared;
  if (own > bytes.length) throw source.damaged('the attributes of an inode make no sense');
  for (let i = 0; i < shared; i++) {
    const offset = xattrOffset + 4 * bytes.readUInt32LE(XATTR_HEADER_SIZE + 4 * i);
    if (saysOpaque(source.read(offset, Math.min(OPAQUE_SIZE, source.size - offset)))) return true;
  }
  for (let next = own; next + 4 <= bytes.length; next += entrySize(bytes.subarray(next))) {
    if (saysOpaque(bytes.subarray(next))) return true;
  }
  return false;
}

const OPAQUE_SIZE = 4 + OPAQUE_NAME.length + 1;

function entrySize(entry: Buffer): number {
  return roundUp(4 + entry.readUInt8(0) + entry.readUInt16LE(2), 4);
}

function saysOpaque(entry: Buffer): boolean {
  const prefix = entry.length < OPAQUE_SIZE ? 0 : entry.readUInt8(1);
  return (
    (prefix === XATTR_PREFIXES.user || prefix === XATTR_PREFIXES.trusted) &&
    entry.readUInt8(0) === OPAQUE_NAME.length &&
    entry.readUInt16LE(2) === 1 &&
    entry.subarray(4, OPAQUE_SIZE).toString() === `${OPAQUE_NAME}y`
  );
}
