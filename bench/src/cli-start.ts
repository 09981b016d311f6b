/** How long commands take before they do anything: node's own start, loading modules, reading the command line. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Measurement } from './benchmark.js';
import { guestProgram } from './programs.js';
import { scaled } from './scale.js';
import { quantile, rounded } from './statistics.js';

const STARTS = 20;

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const HOOK = pathOf('./cli-start-hook.cjs');
const MAYFLY = pathOf('../../../packages/cli/bin/mayfly.js');

interface Start {
  micros: number;
  processorMicros: number;
}

function startOf(args: readonly string[], env: NodeJS.ProcessEnv): Start {
  const start = performance.now();
  const { status, stderr, output } = spawnSync(process.execPath, ['--require', HOOK, ...args], {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const micros = (performance.now() - start) * 1000;
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`);
  return { micros, processorMicros: Number(output[3]) };
}

function measure(args: readonly string[]): Measurement {
  const dir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
  const env = { ...process.env, XDG_CACHE_HOME: dir, XDG_DATA_HOME: dir };
  try {
    const ours: Start[] = [];
    const floor: Start[] = [];
    startOf(args, env); // builds the image, and brings files into the page cache
    for (let i = 0; i < scaled(STARTS); i++) {
      ours.push(startOf(args, env));
      floor.push(startOf(['-e', '0'], env));
    }
    const micros = (starts: Start[]) => starts.map((start) => start.micros);
    const processor = (starts: Start[]) =>
      rounded(
        quantile(
          starts.map((start) => start.processorMicros),
          0.5,
        ) / 1000,
      );
    return {
      samples: micros(ours),
      floor: micros(floor),
      details: { cpuMs: processor(ours), floorCpuMs: processor(floor) },
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const benchmark = (name: string, what: string, args: () => readonly string[]): Benchmark => ({
  name: `cli-start-${name}`,
  unit: 'us',
  about: `${what}, in a new process; floor: node -e 0`,
  run: async () => measure(args()),
});

export const cliStarts: readonly Benchmark[] = [
  benchmark('version', 'mayfly --version', () => [MAYFLY, '--version']),
  benchmark('run', 'mayfly run of a static program, up to where it opens /dev/kvm', () => [
    MAYFLY,
    'run',
    '--',
    guestProgram('hello'),
  ]),
  benchmark('serve', 'the server without machines, up to the answer of /readyz', () => [
    pathOf('./cli-start-serve.js'),
  ]),
];
