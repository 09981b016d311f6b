/** Clones that are alive at once, over several processes: what each takes of the host's memory. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';
import { availableKib } from './host-memory.js';
import { scaled } from './scale.js';
import { type Guest, scratchFolder, storeCheckpoint } from './templates.js';

const GUESTS = fileURLToPath(new URL('./density-guests.js', import.meta.url));
/** Making a VM takes longer the more mappings its process has; and each takes two descriptors. */
const PER_PROCESS = 500;
const CLONES: Record<Guest, number> = { static: 1000, node: 5000 };

type Line = { clones: number; privateKib: number } & { alive: number } & { answered: number };

class Crowd {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  /** KiB a clone, one for each batch. */
  readonly samples: number[] = [];
  alive = 0;

  constructor(guest: Guest, folder: string, count: number) {
    const args = ['--expose-gc', GUESTS, guest, folder, String(count)];
    this.#process = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: this.#process.stdout });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async filled(): Promise<void> {
    for (;;) {
      const line = await this.#next();
      if (line.alive !== undefined) {
        this.alive = line.alive;
        return;
      }
      this.samples.push(line.privateKib / line.clones);
    }
  }

  /** Lets each clone that was rewound answer once more; how many did. */
  async answerAgain(): Promise<number> {
    this.#process.stdin.write('\n');
    return (await this.#next()).answered;
  }

  close(): void {
    this.#process.stdin.end();
  }

  async #next(): Promise<Line> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('a process with clones ended');
    return JSON.parse(value) as Line;
  }
}

async function measure(guest: Guest): Promise<Measurement> {
  const scratch = scratchFolder();
  const crowds: Crowd[] = [];
  const wanted = scaled(CLONES[guest]);
  try {
    const folder = await storeCheckpoint(guest, scratch.path);
    const before = availableKib();
    let alive = 0;
    while (alive < wanted) {
      const count = Math.min(PER_PROCESS, wanted - alive);
      const crowd = new Crowd(guest, folder, count);
      crowds.push(crowd);
      await crowd.filled();
      alive += crowd.alive;
      if (crowd.alive < count) break; // the host is full
    }
    const totalKib = Math.round((before - availableKib()) / alive);
    let answeredAgain = 0;
    for (const crowd of crowds) answeredAgain += await crowd.answerAgain();
    const samples = crowds.flatMap((crowd) => crowd.samples);
    return {
      samples,
      details: { clones: alive, processes: crowds.length, answeredAgain, totalKib },
    };
  } finally {
    for (const crowd of crowds) crowd.close();
    scratch.remove();
  }
}

export const densities: readonly Benchmark[] = [
  {
    name: 'density',
    unit: 'KiB',
    about:
      'private memory of a Node.js clone that waits and has answered once; totalKib: with the kernel’s and the processes’',
    run: () => measure('node'),
  },
  {
    name: 'density-static',
    unit: 'KiB',
    about: 'the same for a static guest',
    run: () => measure('static'),
  },
];
