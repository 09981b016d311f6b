/** Clones that are alive at once, over several pool processes: what each takes of the host's memory. */
import { MachineProcesses } from '@mayfly/vmm';
import type { Benchmark, Measurement } from './benchmark.js';
import { availableKib, privateKib } from './host-memory.js';
import { scaled } from './scale.js';
import {
  checkAnswer,
  eventBody,
  eventHead,
  type Guest,
  scratchFolder,
  templateSpec,
} from './templates.js';

/** Making a VM takes longer the more mappings its process has; and each takes two descriptors. */
const PER_PROCESS = 500;
const CLONES: Record<Guest, number> = { static: 1000, node: 5000 };
const BATCH = 50;
const TIMEOUT_MS = 300_000;
/** Less than this left: the host is full. */
const LEFT_KIB_MIN = 1 << 20;

/** Clones of one template that live on in a pool, one worker a process. */
class Crowd {
  readonly #pool: MachineProcesses;
  readonly #guest: Guest;
  /** How many each worker has. */
  readonly #counts: number[];

  constructor(pool: MachineProcesses, guest: Guest) {
    this.#pool = pool;
    this.#guest = guest;
    this.#counts = Array.from({ length: pool.workers }, () => 0);
  }

  get alive(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Adds clones that answer an event each and are rewound; KiB that each takes of its process. */
  async add(worker: number, count: number): Promise<number> {
    const pid = this.#pool.pids[worker];
    if (pid === undefined) throw new Error(`process ${worker} of the pool is gone`);
    if (this.#counts[worker] === 0) await this.#addOne(worker); // with what a worker takes besides
    const before = privateKib(pid);
    for (let i = 0; i < count; i++) await this.#addOne(worker);
    return (privateKib(pid) - before) / count;
  }

  /** Lets each clone answer once more; how many did. */
  async answerAgain(): Promise<number> {
    let answered = 0;
    for (const [worker, count] of this.#counts.entries()) {
      for (let clone = 0; clone < count; clone++, answered++) await this.#answer(worker, clone);
    }
    return answered;
  }

  async #addOne(worker: number): Promise<void> {
    const clone = this.#counts[worker] ?? 0;
    this.#counts[worker] = clone + 1;
    await this.#answer(worker, clone);
  }

  async #answer(worker: number, clone: number): Promise<void> {
    const place = { worker, clone };
    const frame = { head: eventHead(), body: eventBody() };
    const options = { place, timeoutMs: TIMEOUT_MS };
    const { head, end } = await this.#pool.invoke(this.#guest, frame, options);
    checkAnswer(head);
    await end;
    await this.#pool.start(this.#guest, place); // it is there: this is answered when it is rewound
  }
}

async function measure(guest: Guest): Promise<Measurement> {
  const scratch = scratchFolder();
  const wanted = scaled(CLONES[guest]);
  const before = availableKib();
  const pool = new MachineProcesses({
    directory: scratch.path,
    checkpoints: `${scratch.path}/checkpoints`,
    processes: Math.ceil(wanted / PER_PROCESS),
    workers: 1,
    clones: { memory: 'lazy', shells: 0 },
  });
  try {
    const stored = { group: guest, version: '1' };
    await pool.deploy({ ...(await templateSpec(guest)), stored });
    const crowd = new Crowd(pool, guest);
    const samples: number[] = [];
    for (let worker = 0; worker < pool.workers && availableKib() > LEFT_KIB_MIN; worker++) {
      const count = Math.min(PER_PROCESS, wanted - worker * PER_PROCESS);
      for (let have = 0; have < count && availableKib() > LEFT_KIB_MIN; have += BATCH) {
        samples.push(await crowd.add(worker, Math.min(BATCH, count - have)));
      }
    }
    const { alive } = crowd;
    const totalKib = Math.round((before - availableKib()) / alive);
    const answeredAgain = await crowd.answerAgain();
    return {
      samples,
      details: { clones: alive, processes: pool.workers, answeredAgain, totalKib },
    };
  } finally {
    await pool.close();
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
