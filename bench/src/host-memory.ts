/** What /proc says of memory, in KiB. */
import { readFileSync } from 'node:fs';

function sum(path: string, fields: RegExp): number {
  const matches = [...readFileSync(path, 'utf8').matchAll(fields)];
  if (matches.length === 0) throw new Error(`${path} does not say what is wanted`);
  return matches.reduce((total, [, kib]) => total + Number(kib), 0);
}

/** Memory of the host that is free or could be. */
export const availableKib = () => sum('/proc/meminfo', /^MemAvailable:\s+(\d+) kB$/gm);

/** Pages that a process shares with nobody; of this one, where node runs with --expose-gc, garbage of JavaScript's left out. */
export function privateKib(pid: number | 'self' = 'self'): number {
  if (pid === 'self') globalThis.gc?.();
  return sum(`/proc/${pid}/smaps_rollup`, /^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm);
}
