import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';

const LOAD = fileURLToPath(new URL('./scaling-load.js', import.meta.url));
const TURNS = 5;
const LOAD_MS = 3000;

/** Answers a second of a whole pool, main thread included, that has so many processors and no more. */
function rate(processors: number): number {
  const args = ['-c', `0-${processors - 1}`, process.execPath, LOAD, String(processors)];
  return Number(execFileSync('taskset', [...args, String(scaled(LOAD_MS))], { encoding: 'utf8' }));
}

async function measure(): Promise<Measurement> {
  if (cpus().length < 2) throw new Error('scaling wants two processors');
  const turns = Array.from({ length: TURNS }, () => ({ one: rate(1), two: rate(2) }));
  const mean = (rates: number[]) => rates.reduce((sum, r) => sum + r, 0) / rates.length;
  return {
    samples: turns.map(({ one, two }) => two / one),
    throughput: mean(turns.map(({ two }) => two)),
    details: { onePerSecond: Math.round(mean(turns.map(({ one }) => one))) },
  };
}

export const scaling: Benchmark = {
  name: 'scaling',
  unit: 'x',
  about:
    'answers of a pool that has two processors to those of one that has one; per second: of the two',
  run: measure,
};
