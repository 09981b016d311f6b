/** A checkpoint and what it is a difference to, put together for machines. */
import { closeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { openUnnamed } from '../memory/index.js';
import { ChainMemory, type Link } from './chain-memory.js';
import { BLOCK, pieces, writeAll } from './pages.js';

/** The memory of a chain, oldest first, as one file without a name. The descriptor is the caller's. */
export async function flatten(directory: string, chain: readonly Link[]): Promise<number> {
  const memory = new ChainMemory(chain);
  try {
    const fd = openUnnamed(directory);
    try {
      await copy(memory, fd);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } finally {
    memory.close();
  }
}

/**
 * In units of 2 MiB, so that the page cache holds the file in large folios: docs/decisions/0015-large-folios-for-stored-templates.md
 * Blocks of zeros stay holes.
 */
async function copy(memory: ChainMemory, fd: number): Promise<void> {
  const file = await open(`/proc/self/fd/${fd}`, 'r+');
  try {
    await file.truncate(memory.size);
    const buffer = Buffer.allocUnsafe(BLOCK);
    for (const offset of blocksOf(memory.runs)) {
      const block = buffer.subarray(0, Math.min(BLOCK, memory.size - offset));
      memory.read(block, offset);
      await writeAll(file, block, offset);
    }
  } finally {
    await file.close();
  }
}

/** Where the blocks of 2 MiB begin of which something is stored, rising. */
function blocksOf(runs: Uint32Array): Set<number> {
  const blocks = new Set<number>();
  for (const [offset] of pieces(runs)) blocks.add(offset - (offset % BLOCK));
  return blocks;
}
