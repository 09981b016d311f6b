/** Which processors this process may use. */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';

function allowProcessors(list: string): void {
  const { status } = spawnSync('taskset', ['-c', '-p', list, String(process.pid)]);
  if (status !== 0) throw new Error(`taskset did not allow processors ${list}`);
}

/** Keeps this thread, and processes that it starts from now on, on the last processor. Returns what ends that. */
export function pinMainThread(): () => void {
  const last = cpus().length - 1;
  allowProcessors(String(last));
  return () => allowProcessors(`0-${last}`);
}
