import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runProgram } from '@mayfly/vmm/run';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';

const PROGRAM = fileURLToPath(new URL('../../build/syscall', import.meta.url));
const MEMORY_BYTES = 64 * 1024 * 1024;
const BATCHES = 2000;

const numbers = (text: string) => text.trim().split('\n').map(Number);

/** Nanoseconds a call, as the program measured them in a machine of its own. */
async function inGuest(what: 'system' | 'call'): Promise<number[]> {
  let output = '';
  const add = (chunk: Uint8Array) => {
    output += Buffer.from(chunk).toString('latin1');
  };
  const { exitCode } = await runProgram({
    program: PROGRAM,
    args: [what, String(scaled(BATCHES))],
    env: {},
    memoryBytes: MEMORY_BYTES,
    stdout: add,
    stderr: add,
  });
  if (exitCode !== 0) throw new Error(`${PROGRAM} ended with ${exitCode}: ${output}`);
  return numbers(output);
}

async function onHost(): Promise<number[]> {
  const { stdout } = await promisify(execFile)(PROGRAM, ['system', String(scaled(BATCHES))]);
  return numbers(stdout);
}

export const syscalls: readonly Benchmark[] = [
  {
    name: 'syscall',
    unit: 'ns',
    about: 'getppid() of a program in a guest; floor: a call through a table, there too',
    run: async (): Promise<Measurement> => ({
      samples: await inGuest('system'),
      floor: await inGuest('call'),
    }),
  },
  {
    name: 'syscall-host',
    unit: 'ns',
    about: 'getppid() of the same program on the host, for comparison',
    run: async (): Promise<Measurement> => ({ samples: await onHost() }),
  },
];
