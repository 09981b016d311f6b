import { crc32c } from './crc32c.js';

/**
 * The on-disk format of EROFS as far as Mayfly writes it (Linux: Documentation/filesystems/erofs.rst and
 * fs/erofs/erofs_fs.h): 4 KiB blocks, extended inodes, flat uncompressed data. All numbers are little-endian. Images of
 * others are read with compact inodes, tails behind the inode and chunks too.
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
const INCOMPAT_CHUNKED = 4;
const EXTENDED_FLAT_PLAIN = 1;

/** How an inode says where its data is. */
export const DATA = { plain: 0, inline: 2, chunks: 4 } as const;

export const XATTR_HEADER_SIZE = 12;
/** Attribute name prefixes: user. and trusted. */
export const XATTR_PREFIXES = { user: 1, trusted: 4 } as const;
export const OPAQUE_NAME = Buffer.from('overlay.opaque');

/** The attributes of an opaque folder: header and trusted.overlay.opaque = "y"; 64 bytes, as inodes are. */
export const OPAQUE_XATTRS = encodeOpaque();

function encodeOpaque(): Buffer {
  const bytes = Buffer.alloc(INODE_SIZE);
  bytes.writeUInt8(OPAQUE_NAME.length, XATTR_HEADER_SIZE);
  bytes.writeUInt8(XATTR_PREFIXES.trusted, XATTR_HEADER_SIZE + 1);
  bytes.writeUInt16LE(1, XATTR_HEADER_SIZE + 2);
  OPAQUE_NAME.copy(bytes, XATTR_HEADER_SIZE + 4);
  bytes.write('y', XATTR_HEADER_SIZE + 4 + OPAQUE_NAME.length);
  return bytes;
}

/** Bytes of header and entries together, as an inode counts them: the header and one for each 4 bytes. */
const OPAQUE_COUNT = 1 + Math.ceil((4 + OPAQUE_NAME.length + 1) / 4);

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
  /** Byte offset of the inodes; 0 in images of ours. */
  metaOffset?: number;
  /** Byte offset of the attributes that inodes share. */
  xattrOffset?: number;
  /** What compact inodes have for a time. */
  buildTimeNs?: bigint;
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
  /** A folder that hides the one of the same name in the layers below. */
  opaque?: boolean;
}

/** An inode of any writer: `dataKind` says what `place` means, `headSize` where its attributes begin. */
export interface ReadInode extends Inode {
  dataKind: number;
  headSize: number;
  xattrSize: number;
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
  if ((bytes.readUInt32LE(8) & COMPAT_SB_CHKSUM) !== 0 && crc32c(bytes) !== checksum)
    return 'the checksum of its superblock is wrong';
  if (bytes.readUInt8(12) !== BLOCK_BITS) return 'its blocks are not of 4 KiB';
  if ((bytes.readUInt32LE(80) & ~INCOMPAT_CHUNKED) !== 0)
    return 'it is compressed or uses other features that Mayfly does not read';
  return {
    rootNid: bytes.readUInt16LE(14),
    inodeCount: Number(bytes.readBigUInt64LE(16)),
    blockCount: bytes.readUInt32LE(36),
    metaOffset: bytes.readUInt32LE(40) * BLOCK_SIZE,
    xattrOffset: bytes.readUInt32LE(44) * BLOCK_SIZE,
    buildTimeNs: bytes.readBigUInt64LE(24) * 1_000_000_000n + BigInt(bytes.readUInt32LE(32)),
  };
}

export function encodeInode(inode: Inode): Buffer {
  const bytes = Buffer.alloc(INODE_SIZE);
  const seconds = floorDivide(inode.mtimeNs, 1_000_000_000n);
  bytes.writeUInt16LE(EXTENDED_FLAT_PLAIN, 0);
  if (inode.opaque === true) bytes.writeUInt16LE(OPAQUE_COUNT, 2);
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

/**
 * The inode, or a word about why it is none that we read.
 * @param bytes 64, of which a compact inode uses 32
 */
export function decodeInode(bytes: Buffer, buildTimeNs: bigint): ReadInode | string {
  const extended = (bytes.readUInt16LE(0) & 1) === 1;
  const mode = bytes.readUInt16LE(4);
  const type = (Object.keys(TYPES) as InodeType[]).find(
    (name) => TYPES[name].mode === (mode & 0o170000),
  );
  const size = extended ? bytes.readBigUInt64LE(8) : BigInt(bytes.readUInt32LE(8));
  if (type === undefined || size > BigInt(Number.MAX_SAFE_INTEGER))
    return 'an inode makes no sense';
  const xattrCount = bytes.readUInt16LE(2);
  return {
    type,
    mode: mode & 0o7777,
    size: Number(size),
    place: bytes.readUInt32LE(16),
    ino: bytes.readUInt32LE(20),
    ...(extended ? extendedFields(bytes) : compactFields(bytes, buildTimeNs)),
    dataKind: (bytes.readUInt16LE(0) >> 1) & 7,
    headSize: extended ? INODE_SIZE : INODE_SIZE / 2,
    xattrSize: xattrCount === 0 ? 0 : XATTR_HEADER_SIZE + 4 * (xattrCount - 1),
  };
}

type Owners = Pick<Inode, 'uid' | 'gid' | 'mtimeNs' | 'linkCount'>;

function extendedFields(bytes: Buffer): Owners {
  return {
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    mtimeNs: bytes.readBigInt64LE(32) * 1_000_000_000n + BigInt(bytes.readUInt32LE(40)),
    linkCount: bytes.readUInt32LE(44),
  };
}

function compactFields(bytes: Buffer, buildTimeNs: bigint): Owners {
  return {
    uid: bytes.readUInt16LE(24),
    gid: bytes.readUInt16LE(26),
    mtimeNs: buildTimeNs,
    linkCount: bytes.readUInt16LE(6),
  };
}

function floorDivide(value: bigint, by: bigint): bigint {
  return value >= 0n ? value / by : -((-value + by - 1n) / by);
}

/** The inverse of encodeDevice. */
export function decodeDevice(device: number): { major: number; minor: number } {
  return {
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
  };
}

/** Linux's 32-bit device number (new_encode_dev). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
