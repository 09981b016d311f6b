import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';
import { type Guest, scratchFolder, storeCheckpoint } from './templates.js';

const COLD_START = fileURLToPath(new URL('./cold-start.js', import.meta.url));
const STARTS = 30;

/** Each in a process of its own; the checkpoint's files are in the page cache, as they are after the first. */
async function measure(guest: Guest): Promise<Measurement> {
  const scratch = scratchFolder();
  try {
    const folder = await storeCheckpoint(guest, scratch.path);
    const start = () =>
      Number(execFileSync(process.execPath, [COLD_START, guest, folder], { encoding: 'utf8' }));
    start();
    return { samples: Array.from({ length: scaled(STARTS) }, start) };
  } finally {
    scratch.remove();
  }
}

export const colds: readonly Benchmark[] = [
  {
    name: 'cold',
    unit: 'us',
    about:
      'checkpoint on disk to the first answer of a Node.js guest, in a new process, without node’s start',
    run: () => measure('node'),
  },
  {
    name: 'cold-static',
    unit: 'us',
    about: 'the same for a static guest',
    run: () => measure('static'),
  },
];
