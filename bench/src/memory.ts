/** What a running guest takes of the host's memory: its own pages, and what comes on top of them. */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';

const GUESTS = fileURLToPath(new URL('./memory-guests.js', import.meta.url));

/** One line a batch of guests: KiB a guest of its own pages, and beyond them. */
function batches(): { own: number[]; beyond: number[] } {
  const lines = execFileSync(process.execPath, ['--expose-gc', GUESTS], { encoding: 'utf8' });
  const rows = lines
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number));
  return { own: rows.map(([own]) => own!), beyond: rows.map(([, beyond]) => beyond!) };
}

export const memories: readonly Benchmark[] = [
  {
    name: 'memory',
    unit: 'KiB',
    about: 'what a waiting hello guest costs beyond its own pages: KVM, page tables, VMM',
    run: async (): Promise<Measurement> => ({ samples: batches().beyond }),
  },
  {
    name: 'memory-own',
    unit: 'KiB',
    about: 'pages of a waiting hello guest, in huge pages of the host',
    run: async (): Promise<Measurement> => ({ samples: batches().own }),
  },
];
