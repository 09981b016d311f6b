/** A worker that runs a spinning guest until it has been interrupted `rounds` times. */
import { parentPort, workerData } from 'node:worker_threads';
import { exits } from '../../src/kvm/index.js';
import { createGuest, programs } from './tiny-guest.js';

export interface WorkerOptions {
  readonly rounds: number;
  /** [0] counts interruptions; [1] is 1 while the worker is in run(). */
  readonly counters: Int32Array;
  /** Leave everything open at the end. */
  readonly leak?: boolean;
}

const { rounds, counters, leak = false } = workerData as WorkerOptions;
const guest = createGuest(programs.spin);
parentPort?.postMessage(guest.vcpu.kickToken);
for (let i = 0; i < rounds; i++) {
  Atomics.store(counters, 1, 1);
  const reason = guest.vcpu.run();
  Atomics.store(counters, 1, 0);
  if (reason !== exits.INTERRUPTED) throw new Error(`unexpected exit ${reason}`);
  Atomics.add(counters, 0, 1);
  Atomics.notify(counters, 0);
}
if (!leak) guest.close();
