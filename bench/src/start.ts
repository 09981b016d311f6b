/** How long a program takes to start, from the request to make a machine to the program's end. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';
import { guestProgram, runInGuest, runOnHost } from './programs.js';
import { scaled } from './scale.js';

const BOOTS = 100;
const RUNS = 30;
const NODE_STARTS = 20;

/** A machine whose program ends with its first instructions; the image is there. */
async function boot(): Promise<Measurement> {
  const samples: number[] = [];
  for (let i = 0; i <= scaled(BOOTS); i++) {
    const { stats } = await runInGuest(guestProgram('nothing'), []);
    if (i > 0) samples.push(stats.createMicros + stats.runMicros);
  }
  return { samples };
}

const RUN_HELLO = `
import { guestProgram, runInGuest } from ${JSON.stringify(fileURLToPath(new URL('./programs.js', import.meta.url)))};
const start = performance.now();
const { stdout } = await runInGuest(guestProgram('hello'), []);
if (stdout !== 'hello\\n') throw new Error(stdout);
console.log((performance.now() - start) * 1000);
`;

/** Each in a process of its own, as mayfly run has it; node's start and the loading of modules are left out. */
async function runHello(): Promise<Measurement> {
  const samples: number[] = [];
  const floor: number[] = [];
  const args = ['--input-type=module', '-e', RUN_HELLO];
  for (let i = 0; i <= scaled(RUNS); i++) {
    const micros = Number(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    const host = runOnHost(guestProgram('hello'), []).micros;
    if (i === 0) continue; // built the image
    samples.push(micros);
    floor.push(host);
  }
  return { samples, floor };
}

async function nodeStart(): Promise<Measurement> {
  const samples: number[] = [];
  const floor: number[] = [];
  for (let i = 0; i <= scaled(NODE_STARTS); i++) {
    const { stats } = await runInGuest(process.execPath, ['-e', '0']);
    const { micros } = runOnHost(process.execPath, ['-e', '0']);
    if (i === 0) continue;
    samples.push(stats.createMicros + stats.runMicros);
    floor.push(micros);
  }
  return { samples, floor };
}

export const starts: readonly Benchmark[] = [
  {
    name: 'boot',
    unit: 'us',
    about: 'a new machine, up to the first instructions of a static program, which end it',
    run: boot,
  },
  {
    name: 'run-hello',
    unit: 'us',
    about:
      'mayfly run of a static hello in a new process, without node’s start; floor: host process',
    run: runHello,
  },
  {
    name: 'node-start',
    unit: 'us',
    about: 'node -e 0 in a new machine; floor: a process of the host',
    run: nodeStart,
  },
];
