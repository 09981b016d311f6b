/**
 * Checkpoints and clones, as a Node.js program knows them: the module `mayfly.cjs`.
 *
 *   import { afterClone, checkpoint } from './mayfly.cjs';
 *   afterClone(() => database.reconnect());
 *   await warmUp();
 *   if ((await checkpoint()) === 'clone') serve(); // every clone begins here, after its hooks
 *
 * Load it before anything that takes a reference to Math.random, crypto.randomUUID or crypto.randomInt.
 */
import crypto from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { type AfterCloneHook, installUnique, makeUnique } from './unique.js';

export type { AfterCloneHook } from './unique.js';

declare global {
  var mayfly: Readonly<{ afterClone(hook: AfterCloneHook): void }> | undefined;
}

// In a guest that an agent runs, the agent has done it, and the hooks are its.
if (globalThis.mayfly === undefined) installUnique();

/** Which machine this is: the one that goes on, or one that starts from the checkpoint. */
export type Side = 'original' | 'clone';

/**
 * Registers what runs in each clone before checkpoint() settles there, in the order of registration. Promises are awaited.
 *
 * @throws TypeError when it is no function
 */
export function afterClone(hook: AfterCloneHook): void {
  globalThis.mayfly?.afterClone(hook);
}

/**
 * Asks for a checkpoint. Outside of a machine, and where nobody takes checkpoints, it is 'original'. The variable
 * MAYFLY_CHECKPOINT names another file than /dev/checkpoint: one that holds "clone" shows what a clone would do.
 *
 * No other code runs between the first moment of a clone and the first promise of a hook. Rejects with the error of
 * fs.openSync or fs.readSync, and with what a hook throws.
 */
export async function checkpoint(): Promise<Side> {
  if (!ask().startsWith('clone')) return 'original';
  await makeUnique(crypto.randomBytes(16).toString('base64'), generation());
  return 'clone';
}

function ask(): string {
  const answer = Buffer.alloc(16);
  let fd: number;
  try {
    fd = openSync(process.env.MAYFLY_CHECKPOINT ?? '/dev/checkpoint', 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'original';
    throw error;
  }
  try {
    return answer.toString('latin1', 0, readSync(fd, answer));
  } finally {
    closeSync(fd);
  }
}

/** The number of this life of the machine, as text: another one in each clone and after each rewind. '' outside of one. */
export function generation(): string {
  try {
    return readFileSync('/dev/generation', 'latin1').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
