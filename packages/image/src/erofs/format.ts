import { crc32c } from './crc32c.js';

/**
 * The on-disk format of EROFS as far as Mayfly writes it (Linux: Documentation/filesystems/erofs.rst and
 * fs/erofs/erofs_fs.h): 4 KiB blocks, extended inodes, flat uncompressed data. All numbers are little-endian.
 *
 *   0      1024          4096            inodes end        (whole blocks)
 *   | zero | superblock  | inodes, 64 B  | folder blocks, link targets | file data ... | zero |
 */

export const BLOCK_SIZE = 4096;
export const BLOCK_BITS = 12;
export const HUGE_PAGE_SIZE = 2 * 1024 * 1024;
export const SUPER_OFFSET = 1024;
export const INODE_SIZE = 64;
export const DIRENT_SIZE = 12;
/** Inode numbers ("nid") count slots of 32 bytes from the start of the metadata area, which is block 0 here. */
export const NID_SIZE = 32;
export const ROOT_NID = BLOCK_SIZE / NID_SIZE;

const MAGIC = 0xe0f5e1e2;
const SUPER_SIZE = 128;
const COMPAT_SB_CHKSUM = 1;
const COMPAT_MTIME = 2;
const EXTENDED_FLAT_PLAIN = 1;

export type InodeType = 'file' | 'dir' | 'char' | 'block' | 'fifo' | 'socket' | 'symlink';

/** Type bits of st_mode, and the type number in directory entries. */
export const TYPES: Record<InodeType, { mode: number; dirent: number }> = {
  file: { mode: 0o100000, dirent: 1 },
  dir: { mode: 0o040000, dirent: 2 },
  char: { mode: 0o020000, dirent: 3 },
  block: { mode: 0o060000, dirent: 4 },
  fifo: { mode: 0o010000, dirent: 5 },
  socket: { mode: 0o140000, dirent: 6 },
  symlink: { mode: 0o120000, dirent: 7 },
};

export interface Superblock {
  rootNid: number;
  inodeCount: number;
  blockCount: number;
}

export interface Inode {
  type: InodeType;
  /** Permission bits only. */
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: bigint;
  /** A number that is unique in the image and fits 32 bits. */
  ino: number;
  linkCount: number;
  size: number;
  /** The first data block, or the device number of a device. */
  place: number;
}

/** Block 0 with its checksum. */
export function encodeSuperblock(superblock: Superblock): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  const bytes = block.subarray(SUPER_OFFSET);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(COMPAT_SB_CHKSUM | COMPAT_MTIME, 8);
  bytes.writeUInt8(BLOCK_BITS, 12);
  bytes.writeUInt16LE(superblock.rootNid, 14);
  bytes.writeBigUInt64LE(BigInt(superblock.inodeCount), 16);
  bytes.writeUInt32LE(superblock.blockCount, 36);
  // The rest stays 0: build time, metadata at block 0, no shared xattrs, no uuid, no incompatible feature.
  bytes.writeUInt32LE(crc32c(bytes), 4);
  return block;
}

/** The superblock in block 0, or a word about why it is none that we read. */
export function decodeSuperblock(block: Buffer): Superblock | string {
  const bytes = Buffer.from(block.subarray(SUPER_OFFSET, BLOCK_SIZE));
  if (bytes.length < SUPER_SIZE || bytes.readUInt32LE(0) !== MAGIC) return 'it is no EROFS image';
  const checksum = bytes.readUInt32LE(4);
  bytes.writeUInt32LE(0, 4);
  if (crc32c(bytes) !== checksum) return 'the checksum of its superblock is wrong';
  const plain =
    bytes.readUInt8(12) === BLOCK_BITS &&
    bytes.readUInt32LE(40) === 0 &&
    bytes.readUInt32LE(80) === 0;
  if (!plain) return 'it uses EROFS features that Mayfly does not write';
  return {
    rootNid: bytes.readUInt16LE(14),
    inodeCount: Number(bytes.readBigUInt64LE(16)),
    blockCount: bytes.readUInt32LE(36),
  };
}

export function encodeInode(inode: Inode): Buffer {
  const bytes = Buffer.alloc(INODE_SIZE);
  const seconds = floorDivide(inode.mtimeNs, 1_000_000_000n);
  bytes.writeUInt16LE(EXTENDED_FLAT_PLAIN, 0);
  bytes.writeUInt16LE(TYPES[inode.type].mode | inode.mode, 4);
  bytes.writeBigUInt64LE(BigInt(inode.size), 8);
  bytes.writeUInt32LE(inode.place, 16);
  bytes.writeUInt32LE(inode.ino, 20);
  bytes.writeUInt32LE(inode.uid, 24);
  bytes.writeUInt32LE(inode.gid, 28);
  bytes.writeBigInt64LE(seconds, 32);
  bytes.writeUInt32LE(Number(inode.mtimeNs - seconds * 1_000_000_000n), 40);
  bytes.writeUInt32LE(inode.linkCount, 44);
  return bytes;
}

/** The inode, or a word about why it is none that we read. */
export function decodeInode(bytes: Buffer): Inode | string {
  if (bytes.readUInt16LE(0) !== EXTENDED_FLAT_PLAIN)
    return 'an inode has a layout Mayfly never writes';
  const mode = bytes.readUInt16LE(4);
  const type = (Object.keys(TYPES) as InodeType[]).find(
    (name) => TYPES[name].mode === (mode & 0o170000),
  );
  const size = bytes.readBigUInt64LE(8);
  if (type === undefined || size > BigInt(Number.MAX_SAFE_INTEGER))
    return 'an inode makes no sense';
  return {
    type,
    mode: mode & 0o7777,
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    mtimeNs: bytes.readBigInt64LE(32) * 1_000_000_000n + BigInt(bytes.readUInt32LE(40)),
    ino: bytes.readUInt32LE(20),
    linkCount: bytes.readUInt32LE(44),
    size: Number(size),
    place: bytes.readUInt32LE(16),
  };
}

function floorDivide(value: bigint, by: bigint): bigint {
  return value >= 0n ? value / by : -((-value + by - 1n) / by);
}

/** Linux's 32-bit device number (new_encode_dev). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
