/** Machines on their way to a checkpoint, and machines that begin with one. */
import { MayflyError } from '@mayfly/protocol';
import type { ConsoleOptions } from '../devices/index.js';
import { GuestMemory } from '../kvm/index.js';
import { checkCpl0, checkSource, isAtCpl0 } from '../machine/cpl0.js';
import {
  type DriveOptions,
  type DriveStats,
  driveMachine,
  type RunResult,
} from '../machine/drive-machine.js';
import { checkHostname, newIdentity } from '../machine/identity.js';
import { KernelImage } from '../machine/kernel-image.js';
import type { Machine, Stop } from '../machine/machine.js';
import {
  captureState,
  keepStreams,
  type MachineState,
  machineFromState,
} from '../machine/machine-state.js';
import {
  betweenTurns,
  exitCodeOf,
  failureError,
  type Limits,
  waitForInput,
  waitUntil,
} from '../machine/run-to-end.js';
import type { WayIn } from '../network/way-in.js';
import { streamsOut } from '../network/way-out.js';
import { IDLE_MS, IdleWatch } from './idle-watch.js';
import type { Manifest } from './manifest.js';
import { countPages, type OnBytes } from './pages.js';
import type { CheckpointStore, Loaded } from './store.js';

/**
 * When a checkpoint is taken: when the program asks for it by reading /dev/checkpoint, when every thread of it waits for
 * something that will not come soon (idle-watch.ts), or after a time, wherever it is then.
 */
export type Moment = 'asked' | 'idle' | { afterMs: number };

export interface MomentOptions extends Limits {
  /** Ports whose clients may come before. 'idle' is then when some have come and all have gone. */
  wayIn?: WayIn;
  /** Aborted by who wants the checkpoint at once, wherever the program is then. */
  now?: AbortSignal;
}

/** An honest guest is at CPL 0 for a few instructions, and hardly when two slices in a row end. */
const AT_CPL0_MAX = 100;

function sleepMs(stop: Stop): number {
  if (stop.kind !== 'idle' || stop.deadline === undefined) return Number.POSITIVE_INFINITY;
  return Number(stop.deadline - process.hrtime.bigint()) / 1e6;
}

/**
 * Runs a machine to the moment and takes its state. It stands still then, until somebody enters it again; its clients wait.
 * Throws MAYFLY_CHECKPOINT_ENDED when the program ends before, MAYFLY_CHECKPOINT_NEVER when it waits for ever instead of
 * asking, MAYFLY_CHECKPOINT_TIMEOUT, MAYFLY_GUEST_*, and the signal's reason.
 */
export async function runToMoment(
  machine: Machine,
  moment: Moment,
  options: MomentOptions = {},
): Promise<MachineState> {
  const { wayIn, now, signal } = options;
  const wake = () => machine.bus.onInput?.();
  wayIn?.open(machine.devices.vsock);
  now?.addEventListener('abort', wake);
  signal?.addEventListener('abort', wake);
  try {
    return await takeTurns(machine, moment, options);
  } finally {
    now?.removeEventListener('abort', wake);
    signal?.removeEventListener('abort', wake);
  }
}

async function takeTurns(
  machine: Machine,
  moment: Moment,
  { timeoutMs = Number.POSITIVE_INFINITY, outputReady, signal, wayIn, now: atOnce }: MomentOptions,
): Promise<MachineState> {
  const started = performance.now();
  const due = typeof moment === 'object' ? started + moment.afterMs : Number.POSITIVE_INFINITY;
  const deadline = started + timeoutMs;
  const watch = new IdleWatch(wayIn);
  let atCpl0 = 0;
  for (;;) {
    const stop = machine.enter();
    signal?.throwIfAborted();
    checkGoesOn(machine, stop, moment, wayIn);
    const now = performance.now();
    const isIdle = watch.isIdle(stop, sleepMs(stop), now);
    const isDue = now >= due || atOnce?.aborted === true;
    if (isDue || (isMoment(stop, moment, isIdle) && (await isQuiet(machine, deadline)))) {
      const state = captureState(machine, stop.kind !== 'slice');
      if (!isAtCpl0(state.vcpu) || ++atCpl0 >= AT_CPL0_MAX) return state;
    }
    if (now >= deadline) {
      const message = 'the program did not get to its checkpoint in time';
      throw new MayflyError('MAYFLY_CHECKPOINT_TIMEOUT', message);
    }
    // That its clients have gone is no input of the guest's.
    const until = Math.min(due, deadline, wayIn ? now + IDLE_MS : Number.POSITIVE_INFINITY);
    const blocked = outputReady?.();
    if (blocked !== undefined) await waitUntil(blocked, until);
    else await betweenTurns(machine, stop, until);
  }
}

/** Whether nothing comes to a machine that waits, if something could. */
async function isQuiet(machine: Machine, deadline: number): Promise<boolean> {
  if (streamsOut(machine.devices.vsock).length === 0) return true;
  const until = Math.min(performance.now() + IDLE_MS, deadline);
  await waitForInput(machine, undefined, until);
  return performance.now() >= until;
}

function isMoment(stop: Stop, moment: Moment, isIdle: boolean): boolean {
  return moment === 'idle' ? isIdle : stop.kind === 'checkpoint' && moment === 'asked';
}

function checkGoesOn(machine: Machine, stop: Stop, moment: Moment, wayIn: WayIn | undefined): void {
  if (stop.kind === 'failed') throw failureError(stop);
  if (stop.kind === 'exited') {
    const message = `the program ended with exit code ${exitCodeOf(stop.status)} before its checkpoint`;
    throw new MayflyError('MAYFLY_CHECKPOINT_ENDED', message);
  }
  const waits = stop.kind === 'idle' && stop.deadline === undefined;
  const isConnected = streamsOut(machine.devices.vsock).length > 0;
  if (waits && moment === 'asked' && wayIn === undefined && !isConnected) {
    const message = 'the program waits for input and did not ask for a checkpoint';
    throw new MayflyError('MAYFLY_CHECKPOINT_NEVER', message);
  }
}

/** Where a machine comes from: images of its own, or a checkpoint, to which the next one is a difference. */
export interface Origin {
  /** Paths, bottom first. */
  images?: readonly string[];
  parent?: Loaded;
  command: readonly string[];
  /** What it may connect to, if that was said. */
  network?: readonly string[];
}

/** Stores a machine that stands still and is not entered meanwhile. Throws MAYFLY_TEMPLATE_TAMPERED, and as CheckpointStore.create() does. */
export async function storeMachine(
  store: CheckpointStore,
  { machine, state, parent, images, ...rest }: Origin & { machine: Machine; state: MachineState },
  { name, onBytes }: { name: string; onBytes?: OnBytes },
): Promise<Manifest> {
  const options = {
    name,
    ...(onBytes && { onBytes }),
    ...(parent && { parent: parent.manifest.id }),
  };
  const { memory, kernel } = machine;
  if (kernel !== undefined) checkCpl0(memory.buffer, memory.size, kernel, state.vcpu);
  const captured = { memory, state, ...rest, ...(images && { images }) };
  const base = parent && GuestMemory.readonlyFile(parent.memoryFd, parent.memorySize);
  try {
    return await store.create(options, captured, base);
  } finally {
    base?.close();
  }
}

export interface CloneOptions {
  /** Its name for uname(2) and gethostname(2); the template's without one. */
  hostname?: string;
  /** Streams that the caller goes on with, by their ports. The guest finds all others reset. */
  isKept?(hostPort: number, guestPort: number): boolean;
}

/**
 * Whether its guest kernel is another build's, whose entry is not known here and not checked. The host does not depend on
 * it: it matters to clones that are rewound, and those of pools have this kernel. Throws MAYFLY_TEMPLATE_TAMPERED.
 */
function hasForeignKernel(loaded: Loaded): boolean {
  const known = foreign.get(loaded);
  if (known !== undefined) return known;
  const isForeign = loaded.manifest.kernel !== KernelImage.default().digest;
  if (!isForeign) checkSource(loaded);
  foreign.set(loaded, isForeign);
  return isForeign;
}
/** Of what was looked at: machines are made of it by the thousand. */
const foreign = new WeakMap<Loaded, boolean>();

/**
 * A machine that goes on from a checkpoint, with an identity of its own.
 * Throws MAYFLY_BAD_HOSTNAME, MAYFLY_TEMPLATE_TAMPERED, MAYFLY_KVM_*.
 */
export function cloneMachine(
  source: Loaded,
  console: ConsoleOptions,
  { hostname, isKept = () => false }: CloneOptions = {},
): Machine {
  if (hostname !== undefined) checkHostname(hostname);
  const foreignKernel = hasForeignKernel(source);
  const state = keepStreams(source.state, isKept);
  const machine = machineFromState({ ...source, state }, console, { foreignKernel });
  prepare(machine, source.workingSet);
  newIdentity(machine.shared, source.state.capturedAt, hostname);
  return machine;
}

/** Copies what it will write, and tells it of resets: what is wrong with its rings is then wrong with the checkpoint. */
function prepare(machine: Machine, workingSet: Uint32Array | undefined): void {
  try {
    if (workingSet !== undefined) machine.memory.populate(workingSet);
    machine.serve();
  } catch (error) {
    machine.close();
    throw error;
  }
}

export interface CloneStats extends DriveStats {
  /** Until the clone could execute its first instruction. */
  createMicros: number;
  /** Pages that it wrote: what it has in memory of its own. */
  writtenPages: number;
}

/** A first run that wrote more says little about what the next one will write. */
const WORKING_SET_PAGES_MAX = 8192;

/**
 * Runs a clone to the end of its program, as runProgram() runs programs. What the first one wrote becomes the working set of
 * what was loaded. Throws as that and cloneMachine() do.
 */
export async function runClone(
  loaded: Loaded,
  options: DriveOptions & CloneOptions & Pick<ConsoleOptions, 'stdout' | 'stderr'>,
): Promise<RunResult<CloneStats>> {
  const started = performance.now();
  const { stdout, stderr, stdin } = options;
  const machine = cloneMachine(
    loaded,
    { stdout, stderr, needInput: () => void stdin?.resume() },
    options,
  );
  try {
    const createMicros = (performance.now() - started) * 1000;
    const [program = '', ...args] = loaded.manifest.command;
    const start = { program, argv: [program, ...args] };
    const { stats, ...end } = await driveMachine(machine, start, options);
    const written = machine.memory.written();
    const writtenPages = countPages(written);
    if (writtenPages <= WORKING_SET_PAGES_MAX) loaded.workingSet ??= written;
    return { ...end, stats: { ...stats, createMicros, writtenPages } };
  } finally {
    machine.close();
  }
}
