/** The store that the checkpoint commands and `mayfly clone` work with. */
import { resolve } from 'node:path';
import type { CheckpointStore } from '@mayfly/vmm/checkpoint';
import type { Command } from 'commander';
import type { Io } from '../output.js';

export const PAGE = 4096;

export interface StoreFlags {
  store?: string;
  json?: boolean;
}

/** The options of every command that works with a store. */
export function ofStore(command: Command): Command {
  return command
    .option('--store <folder>', 'where checkpoints are kept (MAYFLY_CHECKPOINTS)')
    .option('--json', 'print JSON');
}

/** Loaded here, so that the other commands start sooner and need no native addon. */
export const library = () => import('@mayfly/vmm/checkpoint');

export async function openStore({ store }: StoreFlags, io: Io): Promise<CheckpointStore> {
  const { CheckpointStore, defaultCheckpointDir } = await library();
  const dir = store || io.env.MAYFLY_CHECKPOINTS || defaultCheckpointDir();
  return CheckpointStore.open(resolve(dir));
}
