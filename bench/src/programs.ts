/** The programs of guest/, and running any program here or in a machine. */

import '@mayfly/image'; // a run loads it when it needs it, which is not what is measured
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type RunStats, runProgram } from '@mayfly/vmm/run';

export const guestProgram = (name: string) =>
  fileURLToPath(new URL(`../../build/${name}`, import.meta.url));

export interface GuestRun {
  stdout: string;
  stats: RunStats;
}

/** What mayfly run gives a program by default. */
const MEMORY_BYTES = 256 * 2 ** 20;

/** Throws when the program does not end with 0. */
export async function runInGuest(
  program: string,
  args: readonly string[],
  memoryBytes = MEMORY_BYTES,
): Promise<GuestRun> {
  let stdout = '';
  let stderr = '';
  const { exitCode, stats } = await runProgram({
    program,
    args,
    env: { PATH: '/usr/bin:/bin' },
    memoryBytes,
    stdout: (chunk) => {
      stdout += Buffer.from(chunk).toString('latin1');
    },
    stderr: (chunk) => {
      stderr += Buffer.from(chunk).toString('latin1');
    },
  });
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode} in the guest: ${stderr}`);
  return { stdout, stats };
}

/** Runs a program as a process of this host; its output and its time in microseconds. */
export function runOnHost(
  program: string,
  args: readonly string[],
): { stdout: string; micros: number } {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'latin1' });
  if (status !== 0) throw new Error(`${program} ended with ${status} on the host: ${stderr}`);
  return { stdout, micros: (performance.now() - start) * 1000 };
}
