/** Runs one Linux program, of the host or of images, in a machine of its own, as if it ran here. */
import type { ProgramStart, WriteOptions } from '@mayfly/image';
import { MayflyError } from '@mayfly/protocol';
import type { GdbServer } from '../debug/gdb-server.js';
import type { EgressOptions, EgressStats } from '../network/egress.js';
import type { IngressStats, PublishedPort, WayIn } from '../network/way-in.js';
import { WayOut } from '../network/way-out.js';
import type { BootUser } from './boot.js';
import { bootMachine } from './factory.js';
import type { Machine, Stop } from './machine.js';
import type { GuestStats } from './shared-page.js';

export { denialText } from '../network/denial.js';

export interface RunOptions {
  /** Absolute path of the program on the host; with `images`, a path in them or a name to be found in PATH. */
  program: string;
  args: readonly string[];
  /** The program is known to be an ELF file at that path of the images: they are not searched for it. */
  startsAsItIs?: boolean;
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** Absent: root. */
  user?: BootUser;
  memoryBytes: number;
  timeoutMs?: number;
  strace?: boolean;
  /** Paths of EROFS images, bottom first. Absent: an image of the host program with what it needs is built. */
  images?: readonly string[];
  /** Where built images are kept. */
  imageDir?: string;
  /** Told how far the building of an image is, in bytes. */
  onBuild?: WriteOptions['onProgress'];
  /** undefined: no input. */
  stdin?: NodeJS.ReadableStream;
  stdout(chunk: Uint8Array): void;
  stderr(chunk: Uint8Array): void;
  /** What the guest may connect to, docs/networking.md; absent or empty: nothing. */
  network?: EgressOptions;
  /** The machine has its way out already: instead of `network`. It is closed at the end. */
  wayOut?: WayOut;
  /** Ports of this host that lead to the guest's, listening already. It is closed when the guest ends. */
  wayIn?: WayIn;
  /** Asked between turns of the guest, which waits while there is a promise: the receiver of its output is slow. */
  outputReady?(): Promise<unknown> | undefined;
  /** Ends the run; runProgram throws the reason. */
  signal?: AbortSignal;
  /**
   * Called when a signal that dumps core ends the program, with what happened, registers and a backtrace in several lines;
   * and with what became of the core file.
   */
  onCrash?(report: string): void;
  /** Where an ELF core file is written when a signal that dumps core or the time-out ends the program. */
  coreFile?: string;
  /** A debugger is waited for on this port of 127.0.0.1, 0 for any free one. */
  gdbPort?: number;
  /** Called with the port once a debugger can connect. */
  onDebugger?(port: number): void;
}

/** What is done with a machine that runs, wherever it comes from. */
export type DriveOptions = Pick<
  RunOptions,
  | 'timeoutMs'
  | 'stdin'
  | 'outputReady'
  | 'signal'
  | 'onCrash'
  | 'coreFile'
  | 'network'
  | 'wayOut'
  | 'wayIn'
  | 'gdbPort'
  | 'onDebugger'
>;

export interface DriveStats extends GuestStats {
  /** From the first instruction to the end, waiting included. */
  runMicros: number;
  /** What went out; absent when nothing tried to. */
  network?: EgressStats;
  /** What came in; absent when no port is published. */
  published?: (PublishedPort & IngressStats)[];
}

export interface RunStats extends DriveStats {
  imageMicros: number;
  createMicros: number;
}

export interface RunResult<Stats = RunStats> {
  /** As a shell would say it: the program's own, 128 + signal, 124 for a time-out. */
  exitCode: number;
  /** The signal that ended the program. */
  signal?: number;
  stats: Stats;
}

const SIGKILL = 9;

const now = () => Number(process.hrtime.bigint()) / 1000;

/**
 * Throws MayflyError for what the host finds wrong (MAYFLY_ELF_*, MAYFLY_PROGRAM_*, MAYFLY_IMAGE_*, MAYFLY_KVM_*,
 * MAYFLY_BAD_MEMORY_SIZE, MAYFLY_NETWORK_RULE, MAYFLY_LISTEN) and for a guest that broke (MAYFLY_GUEST_*), with the
 * report in `cause`.
 */
export async function runProgram(options: RunOptions): Promise<RunResult> {
  const { machine, start, imageMicros, createMicros } = await bootProgram(options);
  try {
    const { stats, ...end } = await driveMachine(machine, start, options);
    return { ...end, stats: { ...stats, imageMicros, createMicros } };
  } finally {
    machine.close();
  }
}

export interface Booted {
  machine: Machine;
  start: ProgramStart;
  /** Paths, bottom first. */
  images: readonly string[];
  imageMicros: number;
  createMicros: number;
}

export type BootOptions = Omit<RunOptions, keyof DriveOptions> &
  Pick<DriveOptions, 'stdin' | 'gdbPort'>;

/** A machine about to start the program. Throws as runProgram() does for what the host finds wrong. */
export async function bootProgram(options: BootOptions): Promise<Booted> {
  const started = now();
  const { programRoot } = await import('./program-root.js'); // workers run no program of the host
  const { images, start } = await programRoot(options);
  const built = now();
  const machine = bootMachine({
    ...start,
    env: options.env,
    cwd: options.cwd ?? '/',
    ...(options.user && { user: options.user }),
    images,
    memoryBytes: options.memoryBytes,
    console: {
      stdout: options.stdout,
      stderr: options.stderr,
      needInput: () => void options.stdin?.resume(),
    },
    strace: options.strace ?? false,
    verbose: options.strace ?? false,
    debug: options.gdbPort !== undefined,
  });
  return { machine, start, images, imageMicros: built - started, createMicros: now() - built };
}

/**
 * Runs a machine, booted or cloned, to the end of its program. It stays the caller's to close; `start` is for who looks at it.
 * Throws as runProgram() does for a guest that broke.
 */
export async function driveMachine(
  machine: Machine,
  start: ProgramStart,
  options: DriveOptions,
): Promise<RunResult<DriveStats>> {
  const wayOut = options.wayOut ?? (await openWayOut(machine, options.network));
  const wake = () => machine.bus.onInput?.();
  const started = now();
  try {
    options.wayIn?.open(machine.devices.vsock);
    connectStdin(machine, options.stdin);
    options.signal?.addEventListener('abort', wake);
    const end = await runObserved(machine, start.program, options);
    // What most runs do not need is loaded when it is needed.
    if (end.described) {
      const { crashReport } = await import('../debug/crash-report.js');
      options.onCrash?.(crashReport(machine, end.signal ?? 0));
    }
    if (options.coreFile !== undefined && (end.timedOut || end.described)) {
      const { dumpCore } = await import('../debug/dump.js');
      const told = dumpCore(machine, options.coreFile, end.signal, start.argv);
      options.onCrash?.(told);
    }
    const stats = {
      ...machine.shared.stats,
      runMicros: now() - started,
      ...(wayOut.stats && { network: { ...wayOut.stats } }),
      ...(options.wayIn && { published: options.wayIn.stats }),
    };
    const { exitCode, signal } = end;
    return { exitCode, ...(signal !== undefined && { signal }), stats };
  } finally {
    options.signal?.removeEventListener('abort', wake);
    options.stdin?.removeAllListeners('data');
    options.stdin?.pause();
    wayOut.close();
    options.wayIn?.close();
  }
}

/** What a machine can connect through, until it is closed. Throws MAYFLY_NETWORK_RULE. */
export async function openWayOut(
  machine: Machine,
  network: EgressOptions = { allow: [] },
): Promise<WayOut> {
  if (network.allow.length > 0) (await import('../network/egress.js')).checkRules(network.allow);
  const { vsock } = machine.devices;
  return new WayOut(vsock, { hostname: () => machine.shared.hostname, ...network });
}

/** Input that the guest does not read yet waits where it comes from. */
function connectStdin(machine: Machine, stdin: NodeJS.ReadableStream | undefined): void {
  const { console } = machine.devices;
  if (stdin === undefined || console.inputEnded) {
    console.endInput();
    return;
  }
  stdin.on('data', (chunk: Buffer) => {
    if (!console.pushInput(chunk)) stdin.pause();
  });
  stdin.on('end', () => console.endInput());
}

export interface End {
  exitCode: number;
  signal?: number;
  /** It was one that dumps core, and the guest kernel described the program. */
  described?: boolean;
  timedOut?: boolean;
}

export type Limits = Pick<RunOptions, 'timeoutMs' | 'outputReady' | 'signal'>;

/** To the end, with a debugger if one was asked for. */
async function runObserved(machine: Machine, program: string, options: DriveOptions): Promise<End> {
  if (options.gdbPort === undefined) return runToEnd(machine, options);
  const { GdbServer } = await import('../debug/gdb-server.js');
  const gdb = await GdbServer.listen(machine, program, options.gdbPort);
  options.onDebugger?.(gdb.port);
  return runToEnd(machine, options, gdb).finally(() => gdb.close(SIGKILL));
}

/** Drives the machine to its end; between turns the host's own events are served. */
export async function runToEnd(machine: Machine, limits: Limits, gdb?: GdbServer): Promise<End> {
  const { timeoutMs = Number.POSITIVE_INFINITY, outputReady, signal } = limits;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const stop = machine.enter();
    signal?.throwIfAborted();
    if (stop.kind === 'exited') {
      gdb?.close(stop.status);
      return endOf(stop);
    }
    if (stop.kind === 'stopped' && !(await gdb?.stopped(stop.signal))) {
      return { exitCode: 128 + SIGKILL, signal: SIGKILL };
    }
    if (stop.kind === 'failed') throw failureError(stop);
    if (performance.now() >= deadline) return { exitCode: 124, timedOut: true };
    const blocked = outputReady?.();
    if (blocked !== undefined) await waitUntil(blocked, deadline);
    else await betweenTurns(machine, stop, deadline);
    signal?.throwIfAborted();
  }
}

/** Until the promise resolves, or the deadline is there (performance.now() ms). */
export async function waitUntil(ready: Promise<unknown>, deadline: number): Promise<void> {
  if (deadline === Number.POSITIVE_INFINITY) return void (await ready);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(deadline - performance.now(), 0));
  });
  await Promise.race([ready, late]);
  clearTimeout(timer);
}

function endOf({ status, described }: Extract<Stop, { kind: 'exited' }>): End {
  const signal = status & 0x7f;
  return { exitCode: exitCodeOf(status), ...(signal !== 0 && { signal, described }) };
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

/** After a stop that is no end: an idle guest is waited for, the host's own events are served after any other. */
export function betweenTurns(machine: Machine, stop: Stop, deadline: number): Promise<void> {
  if (stop.kind === 'idle') return waitForInput(machine, stop.deadline, deadline);
  return new Promise((resolve) => setImmediate(resolve));
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
  // Sockets and other guests get a turn, also where a guest's timer is always due.
  if (untilMs <= 0) return new Promise((resolve) => setImmediate(resolve));
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
