/** A machine that runs one Linux program, with its input, its network, and what is to be told of its end. */
import type { ProgramStart } from '@mayfly/image';
import type { EgressOptions, EgressStats } from '../network/egress.js';
import type { IngressStats, PublishedPort, WayIn } from '../network/way-in.js';
import { WayOut } from '../network/way-out.js';
import type { Machine } from './machine.js';
import { type End, type Limits, runToEnd, SIGKILL } from './run-to-end.js';
import type { GuestStats } from './shared-page.js';

/** What is done with a machine that runs, wherever it comes from. */
export interface DriveOptions extends Limits {
  /** undefined: no input. */
  stdin?: NodeJS.ReadableStream;
  /** What the guest may connect to, docs/networking.md; absent or empty: nothing. */
  network?: EgressOptions;
  /** The machine has its way out already: instead of `network`. It is closed at the end. */
  wayOut?: WayOut;
  /** Ports of this host that lead to the guest's, listening already. It is closed when the guest ends. */
  wayIn?: WayIn;
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

export interface DriveStats extends GuestStats {
  /** From the first instruction to the end, waiting included. */
  runMicros: number;
  /** What went out; absent when nothing tried to. */
  network?: EgressStats;
  /** What came in; absent when no port is published. */
  published?: (PublishedPort & IngressStats)[];
}

export interface RunResult<Stats = DriveStats> {
  /** As a shell would say it: the program's own, 128 + signal, 124 for a time-out. */
  exitCode: number;
  /** The signal that ended the program. */
  signal?: number;
  stats: Stats;
}

/**
 * Runs a machine, booted or cloned, to the end of its program. It stays the caller's to close; `start` is for who looks at it.
 * Throws MAYFLY_NETWORK_RULE, and MAYFLY_GUEST_* for a guest that broke, with the report in `cause`.
 */
export async function driveMachine(
  machine: Machine,
  start: ProgramStart,
  options: DriveOptions,
): Promise<RunResult> {
  const wayOut = options.wayOut ?? (await openWayOut(machine, options.network));
  const wake = () => machine.bus.onInput?.();
  const started = performance.now();
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
      runMicros: (performance.now() - started) * 1000,
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

/** To the end, with a debugger if one was asked for. */
async function runObserved(machine: Machine, program: string, options: DriveOptions): Promise<End> {
  if (options.gdbPort === undefined) return runToEnd(machine, options);
  const { GdbServer } = await import('../debug/gdb-server.js');
  const gdb = await GdbServer.listen(machine, program, options.gdbPort);
  options.onDebugger?.(gdb.port);
  return runToEnd(machine, options, gdb).finally(() => gdb.close(SIGKILL));
}
