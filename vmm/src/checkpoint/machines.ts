/** Machines on their way to a checkpoint, and machines that begin with one. */
import { MayflyError } from '@mayfly/protocol';
import type { ConsoleOptions } from '../devices/index.js';
import { checkHostname, newIdentity } from '../machine/identity.js';
import type { Machine } from '../machine/machine.js';
import {
  captureState,
  type MachineSource,
  type MachineState,
  machineFromState,
} from '../machine/machine-state.js';
import { betweenTurns, exitCodeOf, failureError } from '../machine/run-program.js';

/**
 * When a checkpoint is taken: when the program asks for it by reading /dev/checkpoint, when every thread of it waits for
 * something that will not come soon, or after a time, wherever it is then.
 */
export type Moment = 'asked' | 'idle' | { afterMs: number };

/** A program that sleeps for less is not idle. */
const IDLE_MS = 100;

function waitsLong(deadline: bigint | undefined): boolean {
  return deadline === undefined || Number(deadline - process.hrtime.bigint()) / 1e6 >= IDLE_MS;
}

/**
 * Runs a machine to the moment and takes its state. The machine may run on afterwards.
 * Throws MAYFLY_CHECKPOINT_ENDED when the program ends before, MAYFLY_CHECKPOINT_TIMEOUT, MAYFLY_GUEST_*.
 */
export async function runToMoment(
  machine: Machine,
  moment: Moment,
  timeoutMs = Number.POSITIVE_INFINITY,
): Promise<MachineState> {
  const started = performance.now();
  const due = typeof moment === 'object' ? started + moment.afterMs : Number.POSITIVE_INFINITY;
  const deadline = started + timeoutMs;
  for (;;) {
    const stop = machine.enter();
    if (stop.kind === 'failed') throw failureError(stop);
    if (stop.kind === 'exited') {
      const message = `the program ended with exit code ${exitCodeOf(stop.status)} before its checkpoint`;
      throw new MayflyError('MAYFLY_CHECKPOINT_ENDED', message);
    }
    const now = performance.now();
    const isMoment =
      now >= due ||
      (moment === 'asked' && stop.kind === 'checkpoint') ||
      (moment === 'idle' && stop.kind === 'idle' && waitsLong(stop.deadline));
    if (isMoment) return captureState(machine, stop.kind !== 'slice');
    if (now >= deadline) {
      throw new MayflyError(
        'MAYFLY_CHECKPOINT_TIMEOUT',
        'the program did not get to its checkpoint in time',
      );
    }
    await betweenTurns(machine, stop, Math.min(due, deadline));
  }
}

export interface CloneOptions {
  /** Its name for uname(2) and gethostname(2); the template's without one. */
  hostname?: string;
}

/**
 * A machine that goes on from a checkpoint, with an identity of its own.
 * Throws MAYFLY_BAD_HOSTNAME, MAYFLY_KVM_*.
 */
export function cloneMachine(
  source: MachineSource,
  console: ConsoleOptions,
  { hostname }: CloneOptions = {},
): Machine {
  if (hostname !== undefined) checkHostname(hostname);
  const machine = machineFromState(source, console);
  newIdentity(machine.shared, source.state.capturedAt, hostname);
  return machine;
}
