/** CPU-bound programs that time themselves, on the host and in a guest in turns. */
import type { Benchmark, Measurement } from './benchmark.js';
import { runInGuest, runOnHost } from './programs.js';
import { scaled } from './scale.js';

const TURNS = 4;
/** V8 sizes its heap, and so how often it collects, by the memory that there is: the host has more. */
const MEMORY_BYTES = 4 * 2 ** 30;
const ROUNDS = 12;
const WARM_UP = 4;

/** Each prints a line of microseconds a round: numbers, strings, objects and sorting. */
const JAVASCRIPT = `
function work() {
  let hash = 0;
  const words = new Map();
  for (let i = 0; i < 60000; i++) {
    hash = (Math.imul(hash, 31) + i) | 0;
    const word = 'w' + (hash & 4095);
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  const sorted = [...words].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const values = new Float64Array(40000).map((_, i) => Math.sqrt(i) * Math.sin(i));
  return JSON.stringify(sorted).length + values.sort()[7];
}
for (let i = 0; i < ${ROUNDS}; i++) {
  const start = performance.now();
  work();
  console.log(Math.round((performance.now() - start) * 1000));
}`;

const PYTHON = `
import time
def work():
    words = {}
    h = 0
    for i in range(60000):
        h = (h * 31 + i) & 0x7fffffff
        w = 'w%d' % (h & 4095)
        words[w] = words.get(w, 0) + 1
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return len(ranked) + sum(i * i % 7 for i in range(100000))
for _ in range(${ROUNDS}):
    start = time.perf_counter()
    work()
    print(round((time.perf_counter() - start) * 1e6))
`;

const rounds = (stdout: string) => stdout.trim().split('\n').map(Number).slice(WARM_UP);

async function measure(program: string, args: readonly string[]): Promise<Measurement> {
  const turns = scaled(TURNS);
  const samples: number[] = [];
  const floor: number[] = [];
  for (let turn = 0; turn < turns; turn++) {
    floor.push(...rounds(runOnHost(program, args).stdout));
    samples.push(...rounds((await runInGuest(program, args, MEMORY_BYTES)).stdout));
  }
  return { samples, floor };
}

export const cpus: readonly Benchmark[] = [
  {
    name: 'cpu-js',
    unit: 'us',
    about: 'a round of CPU-bound JavaScript in a guest; floor: the same node on the host',
    run: () => measure(process.execPath, ['-e', JAVASCRIPT]),
  },
  {
    name: 'cpu-python',
    unit: 'us',
    about: 'a round of CPU-bound Python in a guest; floor: the same python3 on the host',
    run: () => measure('/usr/bin/python3', ['-c', PYTHON]),
  },
];
