/** What an invocation needs of a clone; tests have guests that are no machines. */
import type { Frame, LogLine, MayflyError } from '@mayfly/protocol';
import type { Stop } from '../machine/machine.js';
import type { EgressStats } from '../network/egress.js';

export interface GuestListener {
  /** A frame of the guest. What this throws ends the invocation. */
  onFrame(frame: Frame): void;
  /** The guest was given something while it was not running. */
  onInput(): void;
  /** After send() returned false: there is room again. */
  onDrain(): void;
}

export interface Guest {
  /** Gives the guest the first frame of an invocation; it runs in enter(). */
  begin(frame: Uint8Array, listener: GuestListener): void;
  /** Runs the guest until it waits, its slice is over, or it ends. Throws what is wrong with its frames (MAYFLY_FRAME_*). */
  enter(): Stop;
  /** Another frame. False: enough waits for the guest, go on after onDrain. */
  send(frame: Uint8Array): boolean;
  /** Holds onFrame back, and soon the guest, until resume(). */
  pause(): void;
  resume(): void;
  /** Everything is here: the guest need not run on when it waits. */
  satisfy(): void;
  /** What it printed since the last call; `last`: the line without an end too. */
  takeLines(last: boolean): LogLine[];
  /** What went out of it in this invocation; undefined when nothing tried to. */
  readonly egress: EgressStats | undefined;
  /** Page faults of its memory in this invocation; see InvokeStats. */
  readonly faults: number;
  /** How it failed, with what it printed. */
  errorOf(stop: Extract<Stop, { kind: 'failed' | 'exited' }>): MayflyError;
}
