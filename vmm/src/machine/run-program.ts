/** Runs one Linux program of the host in a machine of its own, as if it ran here. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import { bootMachine } from './factory.js';
import type { Machine, Stop } from './machine.js';
import type { GuestStats } from './shared-page.js';

export interface RunOptions {
  /** Path of the program on the host. */
  program: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd?: string;
  memoryBytes: number;
  timeoutMs?: number;
  strace?: boolean;
  /** Where built images are kept. */
  imageDir?: string;
  /** undefined: no input. */
  stdin?: NodeJS.ReadableStream;
  stdout(chunk: Uint8Array): void;
  stderr(chunk: Uint8Array): void;
}

export interface RunStats extends GuestStats {
  imageMicros: number;
  /** From the first instruction to the end, waiting included. */
  runMicros: number;
  createMicros: number;
}

export interface RunResult {
  /** As a shell would say it: the program's own, 128 + signal, 124 for a time-out. */
  exitCode: number;
  stats: RunStats;
}

const now = () => Number(process.hrtime.bigint()) / 1000;

/** Where images go when nobody says otherwise. */
export function defaultImageDir(): string {
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(base, 'mayfly', 'images');
}

/**
 * Throws MayflyError for what the host finds wrong (MAYFLY_ELF_*, MAYFLY_KVM_*, MAYFLY_BAD_MEMORY_SIZE) and for a
 * guest that broke (MAYFLY_GUEST_*), with the report in `cause`.
 */
export async function runProgram(options: RunOptions): Promise<RunResult> {
  const started = now();
  const store = await ImageStore.open(options.imageDir ?? defaultImageDir());
  const image = await store.build(await treeFromPrograms([{ path: options.program }]));
  const built = now();
  const machine = bootMachine({
    program: options.program,
    argv: [options.program, ...options.args],
    env: options.env,
    cwd: options.cwd ?? '/',
    images: [image.path],
    memoryBytes: options.memoryBytes,
    console: { stdout: options.stdout, stderr: options.stderr },
    strace: options.strace ?? false,
    verbose: options.strace ?? false,
  });
  try {
    const created = now();
    connectStdin(machine, options.stdin);
    const exitCode = await runToEnd(machine, options.timeoutMs);
    const stats = {
      ...machine.shared.stats,
      imageMicros: built - started,
      createMicros: created - built,
      runMicros: now() - created,
    };
    return { exitCode, stats };
  } finally {
    options.stdin?.removeAllListeners('data');
    options.stdin?.pause();
    machine.close();
  }
}

function connectStdin(machine: Machine, stdin: NodeJS.ReadableStream | undefined): void {
  const { console } = machine.devices;
  if (stdin === undefined) {
    console.endInput();
    return;
  }
  stdin.on('data', (chunk: Buffer) => console.pushInput(chunk));
  stdin.on('end', () => console.endInput());
}

/** Drives the machine to its end; between turns the host's own events are served. */
export async function runToEnd(machine: Machine, timeoutMs?: number): Promise<number> {
  const deadline =
    timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  for (;;) {
    const stop = machine.enter();
    if (stop.kind === 'exited') return exitCodeOf(stop.status);
    if (stop.kind === 'failed') throw failureError(stop);
    if (performance.now() >= deadline) return 124;
    if (stop.kind === 'idle') await waitForInput(machine, stop.deadline, deadline);
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The exit code that a shell would show for a wait status. */
export function exitCodeOf(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

export function failureError(stop: Extract<Stop, { kind: 'failed' }>): MayflyError {
  const { code, message, detail } = stop.failure;
  return new MayflyError(code, message, { cause: detail });
}

/** Resolves when the guest has input, or when its own or the caller's deadline is there. */
export function waitForInput(
  machine: Machine,
  wake: bigint | undefined,
  deadline: number,
): Promise<void> {
  const sleepMs =
    wake === undefined ? Number.POSITIVE_INFINITY : Number(wake - process.hrtime.bigint()) / 1e6;
  const untilMs = Math.min(sleepMs, deadline - performance.now());
  if (untilMs <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      machine.bus.onInput = undefined;
      resolve();
    };
    // Also when there is no deadline: without a timer, Node.js would end, and with it a guest that waits for ever.
    const timer = setTimeout(done, Math.min(untilMs, 2 ** 30));
    machine.bus.onInput = done;
  });
}
