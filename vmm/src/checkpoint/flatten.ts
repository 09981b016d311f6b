/** A checkpoint and what it is a difference to, put together. */
import { closeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { openUnnamed } from '../memory/index.js';
import type { Manifest } from './manifest.js';
import { BLOCK, pieces, readPiece, writeAll } from './pages.js';
import type { StoredState } from './state.js';

/** A checkpoint of a chain with its decoded state. */
export interface Link {
  folder: string;
  manifest: Manifest;
  state: StoredState;
}

/** The memory of a chain, oldest first, as one file without a name. The descriptor is the caller's. */
export async function flatten(directory: string, chain: readonly Link[]): Promise<number> {
  const fd = openUnnamed(directory);
  try {
    await copyChain(fd, chain);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * In units of 2 MiB, so that the page cache holds the file in large folios: docs/decisions/0015-large-folios-for-stored-templates.md
 * Blocks of zeros stay holes.
 */
async function copyChain(fd: number, chain: readonly Link[]): Promise<void> {
  const { size } = chain[0]!.manifest.memory;
  const files: FileHandle[] = [];
  try {
    const to = await open(`/proc/self/fd/${fd}`, 'r+');
    files.push(to);
    await to.truncate(size);
    for (const { folder, manifest } of chain)
      files.push(await open(join(folder, manifest.memory.file)));
    const buffer = Buffer.allocUnsafe(BLOCK);
    for (const [block, pieces] of blocksOf(chain)) {
      buffer.fill(0);
      for (const { link, offset, length } of pieces) {
        await readPiece(files[1 + link]!, buffer.subarray(offset - block), offset, length);
      }
      await writeAll(to, buffer.subarray(0, Math.min(BLOCK, size - block)), block);
    }
  } finally {
    for (const file of files) await file.close();
  }
}

interface Piece {
  /** Its place in the chain. */
  link: number;
  offset: number;
  length: number;
}

/** What is stored of each block of 2 MiB, by its offset, oldest first. */
function blocksOf(chain: readonly Link[]): Map<number, Piece[]> {
  const blocks = new Map<number, Piece[]>();
  for (const [link, { state }] of chain.entries()) {
    for (const [offset, length] of pieces(state.runs)) {
      const block = offset - (offset % BLOCK);
      const there = blocks.get(block) ?? [];
      there.push({ link, offset, length });
      blocks.set(block, there);
    }
  }
  return blocks;
}
