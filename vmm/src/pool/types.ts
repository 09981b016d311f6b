/**
 * What the API asks of the pool: templates by name, invocations in clones of them. Types only; frames are those of
 * @mayfly/protocol, and their heads go through the pool unread.
 */

import type { Dialect } from '../dialects/dialect.js';
import type { EgressStats } from '../network/egress.js';

/** Everything that decides what a template is. */
export interface TemplateSpec {
  name: string;
  /** Paths of EROFS images, bottom first. */
  images: string[];
  argv: string[];
  env: Record<string, string>;
  cwd?: string;
  memoryBytes: number;
  /** What it may connect to, docs/networking.md; left out: nothing. */
  network?: readonly string[];
  bootTimeoutMs: number;
  /**
   * Keep the template on disk, for as long as prune() wants, and load it instead of booting when it is there: the same
   * version of the same group, made from the same things.
   */
  stored?: { group: string; version: string };
  /** How the program is spoken to; frames, if left out. */
  dialect?: Dialect;
}

/** Bytes that are at hand, or that come piece by piece. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * A clone by its worker, from 0, and a number that the caller chose. It exists from its first use on, is busy with one
 * invocation at a time, and is gone when an invocation in it fails, but see MachineFailure.
 */
export interface Place {
  worker: number;
  clone: number;
}

export interface InvokeFrame {
  /** A JSON object; see HostHead. The pool adds `more` where the body comes piece by piece. */
  head: object;
  body: Body;
}

/** Tells that nobody wants an invocation any more: an AbortSignal, or what does no more than is needed of one, at less cost. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
  addEventListener(type: 'abort', listener: () => void, options?: { once: true }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface InvokeOptions {
  place: Place;
  /** Longest time from the entry into the guest to the end of the invocation: MAYFLY_GUEST_TIMEOUT. */
  timeoutMs: number;
  /** Longest time in the guest, waiting not included: MAYFLY_GUEST_CPU. */
  cpuMs?: number | undefined;
  /**
   * Ends the invocation: invoke() and `end` reject with MAYFLY_ABORTED, whose `cause` is its reason, when the guest has been
   * stopped; reading the body rejects with the reason itself.
   */
  signal?: Signal | undefined;
  /** Lines that the guest does not keep for the answer's head: what it wrote there, and nothing is known of it. */
  onLogs?: ((lines: unknown) => void) | undefined;
  /** When the invocation was asked for, of sharedNow(), if that was before the call of invoke(). */
  queuedAt?: number;
  /** What a Journal calls the invocation, where the pool has one. */
  ticket?: number;
  /** The guest waits for time, input or the reader of its answer (true), or goes on. What is short may not be told. */
  onParked?(parked: boolean): void;
}

export interface InvokeTiming {
  /** From the call of invoke(), or `queuedAt`, until the entry into the guest. */
  queueMicros: number;
  /** Of those, what making the clone took, or what was left of its rewind; undefined where it is not measured. */
  cloneMicros?: number | undefined;
  /** From the entry into the guest until the head of its answer was read. */
  guestMicros: number;
}

export interface InvokeStats extends InvokeTiming {
  /** In the guest, waiting not included. */
  cpuMicros: number;
  /** Pages that were put back after the invocation, as far as known when it ends. */
  rewoundPages: number;
  /**
   * Page faults of the clone's memory: pages that the guest, or the VMM for it, touched first since the clone was made. The
   * worker thread's own faults (getrusage) between taking the invocation up and its last turn, those of its heap included.
   */
  faults?: number;
  /** What the last rewind of the clone took, the one before the invocation; undefined if it is new, or not measured. */
  rewindMicros?: number | undefined;
  /** What went out of the guest; absent when nothing tried to. */
  network?: EgressStats | undefined;
}

export interface InvokeResult extends InvokeTiming {
  /** As the guest wrote it: a JSON object, nothing more is known. */
  head: unknown;
  /**
   * Piece by piece when it was not at hand with the head: reading slowly slows the guest down, not reading it to its end
   * (return() of the iterator) ends the invocation.
   */
  body: Body;
  /**
   * When the invocation is over, which may be after the answer is complete: then `guestMicros` is all of its time in the
   * guest. Rejects with what ended it too early; it need not be waited for. MAYFLY_ABORTED says with its `cause` why: the
   * signal's reason, what the body of the request threw, or that nobody reads the answer.
   */
  end: Promise<InvokeStats>;
  /** Those of `end`, if it is over already. */
  stats?: InvokeStats | undefined;
}

/**
 * What a pool throws, as a MayflyError: MAYFLY_GUEST_TIMEOUT, MAYFLY_GUEST_CPU, MAYFLY_GUEST_EXITED, MAYFLY_GUEST_PANIC,
 * MAYFLY_GUEST_OOM, MAYFLY_BOOT_FAILED, MAYFLY_TEMPLATE_TAMPERED, MAYFLY_TEMPLATE_UNKNOWN, ...
 * MAYFLY_WORKER_GONE: its worker thread died; the same invocation may be tried again.
 */
export interface MachineFailure {
  code: string;
  message: string;
  detail?: string;
  /** The invocation was stopped, and its clone is there to serve the next; without it, it is gone. */
  cloneKept?: boolean;
  /** What the invocation took until then, if it had begun. */
  stats?: InvokeStats;
}

/** Clones are the caller's to place and to count: the pool makes and stops those that it is told. */
export interface Pool {
  readonly workers: number;
  /**
   * Loads a stored template, or boots the program and captures a template when it waits for its first frame. Resolves with the head of the first
   * frame that the guest sent, whatever it says: an agent that could not load its function sends an error and exits,
   * and then there is no template to remove.
   */
  deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }>;
  /** Runs one invocation in a pristine clone. Resolves with the head of its answer. */
  invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<InvokeResult>;
  /** Makes a clone ahead of its first invocation. */
  start(name: string, place: Place): Promise<void>;
  /** Ends an idle clone; one that is not there is no error. */
  stop(name: string, place: Place): Promise<void>;
  /** Lets go of everything of a template without clones that its next invocation can have again. */
  unload(name: string): Promise<void>;
  /** Forgets a template; unknown names are no error. Invocations under way are the caller's to wait for. */
  remove(name: string): Promise<void>;
  /** Removes what is stored of a group but for the versions in `keep`. Templates in memory stay. */
  prune(group: string, keep: readonly string[]): Promise<void>;
  /**
   * Whom to tell when a worker dies, with its number. Its clones are gone; another worker takes its place and number, and
   * with them the invocations that had not begun. Those that had end with MAYFLY_WORKER_GONE. A pool whose workers
   * cannot die has none to tell.
   */
  onWorkerLost?(listener: (worker: number) => void): void;
  close(): Promise<void>;
}
