/** A checkpoint and what it is a difference to, put together. */
import { closeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { openUnnamed } from '../memory/index.js';
import type { Manifest } from './manifest.js';
import { copyPages } from './pages.js';
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

async function copyChain(fd: number, chain: readonly Link[]): Promise<void> {
  const to = await open(`/proc/self/fd/${fd}`, 'r+');
  try {
    await to.truncate(chain[0]!.manifest.memory.size);
    for (const { folder, manifest, state } of chain) {
      await copyPages(join(folder, manifest.memory.file), to, state.runs);
    }
  } finally {
    await to.close();
  }
}
