import { BLOCK_SIZE, DIRENT_SIZE, type InodeType, TYPES } from './format.js';

/**
 * A folder's data. Each block stands alone: its entries, then their names, in byte order over the whole folder.
 *
 *   | nid, name offset, type | ... x n | name name name | zero |
 *
 * The first entry's name offset / 12 gives n; a name ends where the next begins, the last one at a zero or the block's end.
 */

export interface Dirent {
  name: Buffer;
  nid: number;
  type: InodeType;
}

/** Bytes of a folder with these names: whole blocks but the last, which ends with its last name. */
export function directorySize(names: Buffer[]): number {
  const blocks = splitBlocks(names, (name) => name.length);
  const last = blocks.at(-1)!;
  return (blocks.length - 1) * BLOCK_SIZE + last.reduce((sum, name) => sum + cost(name.length), 0);
}

/** The folder's blocks, padded to whole ones. Entries must be in byte order and include '.' and '..'. */
export function encodeDirectory(dirents: Dirent[]): Buffer {
  const blocks = splitBlocks(dirents, ({ name }) => name.length);
  return Buffer.concat(blocks.map(encodeBlock));
}

function encodeBlock(dirents: Dirent[]): Buffer {
  const block = Buffer.alloc(BLOCK_SIZE);
  let nameAt = dirents.length * DIRENT_SIZE;
  dirents.forEach(({ name, nid, type }, index) => {
    const at = index * DIRENT_SIZE;
    block.writeBigUInt64LE(BigInt(nid), at);
    block.writeUInt16LE(nameAt, at + 8);
    block.writeUInt8(TYPES[type].dirent, at + 10);
    nameAt += name.copy(block, nameAt);
  });
  return block;
}

/** Reads one block of a folder (shorter when it is the last). Returns undefined when it is damaged. */
export function decodeBlock(block: Buffer): { name: string; nid: number }[] | undefined {
  if (block.length < DIRENT_SIZE) return undefined;
  const count = block.readUInt16LE(8) / DIRENT_SIZE;
  if (!Number.isInteger(count) || count === 0 || count * DIRENT_SIZE > block.length)
    return undefined;
  const starts = Array.from({ length: count }, (_, i) => block.readUInt16LE(i * DIRENT_SIZE + 8));
  const dirents = starts.map((start, index) => {
    const bytes = block.subarray(start, starts[index + 1] ?? block.length);
    const zero = bytes.indexOf(0);
    const name = bytes.toString('utf8', 0, zero === -1 ? bytes.length : zero);
    return { name, nid: Number(block.readBigUInt64LE(index * DIRENT_SIZE)) };
  });
  return dirents.every(({ name }) => name !== '' && !name.includes('/')) ? dirents : undefined;
}

function cost(nameLength: number): number {
  return DIRENT_SIZE + nameLength;
}

function splitBlocks<T>(items: T[], nameLength: (item: T) => number): T[][] {
  const blocks: T[][] = [];
  let used = BLOCK_SIZE;
  for (const item of items) {
    const bytes = cost(nameLength(item));
    if (used + bytes > BLOCK_SIZE) {
      blocks.push([]);
      used = 0;
    }
    blocks.at(-1)!.push(item);
    used += bytes;
  }
  return blocks;
}
