/** Compiles guest programs and runs them here and in a machine. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type * as Tap from 'tap';
import { type RunOptions, runProgram } from '../../src/machine/run-program.js';

export const guestSources = fileURLToPath(
  new URL('../../../../firmware/test/guest', import.meta.url),
);
export const scratch = mkdtempSync('/var/tmp/mayfly-guest-');
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
export const imageDir = join(scratch, 'images');

/** Programs that want to know where. */
const programArguments: Record<string, string[]> = { 'file_tree.c': ['/tmp'] };

/** Some need a peer, the others make calls that a host may not refuse. */
const guestOnly = new Set([
  'fuzz_calls.c',
  'net_outside.c',
  'net_refused.c',
  'refused.c',
  'socket_vsock.c',
  'spawn.c',
]);

/** The programs of firmware/test/guest that do the same on Linux and in a guest. */
export function comparablePrograms(): { file: string; args: string[] }[] {
  return readdirSync(guestSources)
    .filter((file) => file.endsWith('.c') && !guestOnly.has(file))
    .map((file) => ({ file, args: programArguments[file] ?? [] }));
}

/** Arguments of fuzz_calls.c: whatever its random calls do, the guest kernel goes on or the program ends. */
export const FUZZ_RUNS = [1, 2, 3].map((seed) => [`${seed}`, '20000']);

/** Whether an exit code of fuzz_calls.c says that all is well: done, or ended by one of its own signals. */
export const fuzzEndedWell = (exitCode: number) => exitCode === 0 || exitCode > 128;

export interface Outcome {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Compiles one C file; returns the program's path. */
export function compile(
  source: string,
  name: string,
  flags: readonly string[] = ['-static'],
  compiler = 'gcc',
): string {
  const program = join(scratch, name);
  const args = [
    '-std=gnu17',
    '-D_GNU_SOURCE',
    '-O1',
    '-w',
    '-pthread',
    ...flags,
    '-o',
    program,
    source,
  ];
  const { status, stderr } = spawnSync(compiler, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${compiler} ${args.join(' ')}\n${stderr}`);
  return program;
}

/** In a mount namespace with an empty /tmp, as in the guest. */
const FRESH_TMP = [
  process.getuid?.() === 0 ? '-m' : '-rm',
  'sh',
  '-c',
  'mount -t tmpfs tmpfs /tmp && exec "$0" "$@"',
];

/** Runs a program on this host; a signal that ends it becomes 128 + its number. */
export function runHere(program: string, args: readonly string[] = [], input = ''): Outcome {
  const { status, signal, error, stdout, stderr } = spawnSync(
    'unshare',
    [...FRESH_TMP, program, ...args],
    {
      input,
      encoding: 'utf8',
      env: ENV,
      cwd: '/',
      timeout: 20_000,
    },
  );
  // EPIPE: it ended before all of its input was written, which is its right; its outcome is there.
  if (error && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  if (signal) return { exitCode: 128 + constants.signals[signal], stdout, stderr };
  if (status === null) throw new Error(`${program} ended in no known way on the host`);
  return { exitCode: status, stdout, stderr };
}

export const ENV = { PATH: '/usr/bin:/bin', HOME: '/root', LANG: 'C' };

export async function runInGuest(
  program: string,
  args: readonly string[] = [],
  options: Partial<RunOptions> & { input?: string } = {},
): Promise<Outcome> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const { input, ...rest } = options;
  const { exitCode } = await runProgram({
    program,
    args,
    env: ENV,
    memoryBytes: 256 * 1024 * 1024,
    timeoutMs: 20_000,
    imageDir,
    ...(input === undefined ? undefined : { stdin: Readable.from([Buffer.from(input)]) }),
    stdout: (chunk) => out.push(Buffer.from(chunk)),
    stderr: (chunk) => err.push(Buffer.from(chunk)),
    ...rest,
  });
  const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString();
  return { exitCode, stdout: text(out), stderr: text(err) };
}

/** Compares outcomes line by line: a whole diff of long outputs takes minutes. */
export function sameOutcome(t: Tap.Test, guest: Outcome, host: Outcome): void {
  t.equal(guest.exitCode, host.exitCode, 'exit code');
  for (const stream of ['stdout', 'stderr'] as const) {
    const here = host[stream].split('\n');
    const there = guest[stream].split('\n');
    const at = here.findIndex((line, i) => line !== there[i]);
    t.same(
      at < 0 ? there.slice(here.length) : there.slice(at, at + 5),
      at < 0 ? [] : here.slice(at, at + 5),
      stream,
    );
  }
}
