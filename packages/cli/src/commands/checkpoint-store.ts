/** The store that the checkpoint commands and `mayfly clone` work with. */
import { resolve } from 'node:path';
import type { CheckpointStore } from '@mayfly/vmm/checkpoint';
import type { Command } from 'commander';
import type { Io } from '../output.js';
import { lineStart } from '../progress.js';

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

/** Says for whom it waits, if another process changes the store for long. */
export async function openStore({ store, json }: StoreFlags, io: Io): Promise<CheckpointStore> {
  const { CheckpointStore, defaultCheckpointDir } = await library();
  const dir = resolve(store || io.env.MAYFLY_CHECKPOINTS || defaultCheckpointDir());
  const onWait = (pid: number | undefined) => {
    const who = pid === undefined ? 'another process' : `process ${pid}`;
    io.stderr(`${lineStart(process.stderr)}  waiting until ${who} is done with ${dir}\n`);
  };
  return CheckpointStore.open(dir, json ? {} : { onWait });
}
