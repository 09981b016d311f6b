/**
 * What it costs that a pool is in another process: guests that answer at once and are no machines, behind worker threads of this
 * process and of another.
 */
import { MachinePool, MachineProcesses } from '@mayfly/vmm';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';
import { scratchFolder } from './templates.js';

const TURNS = 10;
const BATCH = 2000;
const AT_ONCE = 16;
const WARM_UP = 2000;
const BODY = Buffer.from('{"name":"World"}');

type AnyPool = MachinePool | MachineProcesses;

async function invoke(pool: AnyPool, clone: number): Promise<void> {
  const options = { place: { worker: 0, clone }, timeoutMs: 60_000 };
  const frame = { head: { type: 'event', command: 'echo' }, body: BODY };
  await (await pool.invoke('echo', frame, options)).end;
}

/** One after the other: microseconds of each. */
async function times(pool: AnyPool, count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await invoke(pool, 0);
    samples.push((performance.now() - start) * 1000);
  }
  return samples;
}

/** Several at once: how many a second. */
async function rate(pool: AnyPool, count: number): Promise<number> {
  const start = performance.now();
  let left = count;
  const caller = async (_: unknown, clone: number) => {
    while (left-- > 0) await invoke(pool, clone);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  return (count / (performance.now() - start)) * 1000;
}

async function measure(): Promise<Measurement> {
  const scratch = scratchFolder();
  const worker = new URL(import.meta.resolve('@mayfly/vmm/script-worker'));
  const common = { directory: scratch.path, workers: 1, worker };
  const threads = new MachinePool(common);
  const processes = new MachineProcesses({ ...common, processes: 1 });
  const limits = { memoryBytes: 1 << 20, bootTimeoutMs: 60_000 };
  const batch = scaled(BATCH);
  const samples: number[] = [];
  const floor: number[] = [];
  const rates: number[] = [];
  const floorRates: number[] = [];
  const mean = (of: number[]) => of.reduce((sum, one) => sum + one, 0) / of.length;
  try {
    for (const pool of [threads, processes]) {
      await pool.deploy({ name: 'echo', images: [], argv: ['/echo'], env: {}, ...limits });
      await times(pool, scaled(WARM_UP));
    }
    for (let turn = 0; turn < TURNS; turn++) {
      floor.push(...(await times(threads, batch)));
      samples.push(...(await times(processes, batch)));
      floorRates.push(await rate(threads, batch));
      rates.push(await rate(processes, batch));
    }
    return {
      samples,
      floor,
      throughput: mean(rates),
      details: { threadsPerSecond: Math.round(mean(floorRates)) },
    };
  } finally {
    await Promise.all([threads.close(), processes.close()]);
    scratch.remove();
  }
}

export const poolProcess: Benchmark = {
  name: 'pool-process',
  unit: 'us',
  about:
    'an invocation by a worker of another process, without a machine; floor: by a worker thread of the server; per second: 16 at once',
  run: measure,
};
