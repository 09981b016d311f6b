/** Runs a machine turn by turn, to the end of its program. */
import { MayflyError } from '@mayfly/protocol';
import type { GdbServer } from '../debug/gdb-server.js';
import type { Machine, Stop } from './machine.js';

export const SIGKILL = 9;

export interface End {
  exitCode: number;
  signal?: number;
  /** It was one that dumps core, and the guest kernel described the program. */
  described?: boolean;
  timedOut?: boolean;
}

/** What ends it earlier, or holds it up. */
export interface Limits {
  timeoutMs?: number;
  /** Asked between turns of the guest, which waits while there is a promise: the receiver of its output is slow. */
  outputReady?(): Promise<unknown> | undefined;
  /** Ends the run; its reason is thrown. */
  signal?: AbortSignal;
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
