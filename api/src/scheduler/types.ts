/** What the scheduler is told, and what it wants done. Plain data throughout. */

/** How one function may use the host. */
export interface SchedulingSettings {
  /** Clones that are kept ready even when nobody calls. */
  minClones: number;
  /** Invocations that are in a guest at once, parked ones included. */
  maxClones: number;
  /** Invocations that may wait. */
  queueMax: number;
  /** A clone above minClones that served nobody for so long is stopped. */
  idleMs: number;
  /** Longest an invocation may wait. */
  timeoutMs: number;
  /** Host memory that a clone takes, as far as is known before one has run. */
  cloneBytes: number;
}

/** What all functions share. */
export interface SharedLimits {
  /** Invocations that one worker is given at once, not counting parked ones. */
  runningPerWorker: number;
  /** Host memory of all clones. */
  memoryBytes: number;
  /** Invocations of all functions that may wait. */
  waitingMax: number;
}

export interface SchedulerLimits extends SharedLimits {
  workers: number;
}

/** A place for one invocation at a time. The scheduler names it; it stays with its worker for life. */
export interface ClonePlace {
  clone: number;
  function: string;
  worker: number;
}

export type RejectionReason =
  /** The queue of the function, or all queues together, are full. */
  | 'overloaded'
  /** It waited for as long as it may take in all. */
  | 'timeout'
  /** Its caller went away while it waited. */
  | 'cancelled'
  /** The scheduler drains. */
  | 'closing';

/**
 * Every submitted invocation gets exactly one `dispatch` or `reject`. Effects are to be applied in order: a clone that a
 * `stop` or a `dispatch` names may have been made by a `start` or a `dispatch` before it.
 */
export type Effect =
  /** Make a clone ahead of its first invocation. */
  | ({ type: 'start' } & ClonePlace)
  /** Run the invocation in this clone; `fresh`: there is no such clone yet, it is made for this. */
  | ({ type: 'dispatch'; invocation: string; fresh: boolean } & ClonePlace)
  | ({ type: 'stop' } & ClonePlace)
  | { type: 'reject'; invocation: string; reason: RejectionReason; retryAfterSeconds: number }
  /** The function has no clones any more and nothing waits: what it holds besides may go, too. */
  | { type: 'idle'; function: string }
  /** The function was retired and its last invocation is over. */
  | { type: 'retired'; function: string }
  /** Nothing waits, nothing runs, nothing will. */
  | { type: 'drained' };

/** How an invocation that was dispatched ended. */
export interface Outcome {
  /** Whether the clone can serve again. */
  cloneKept: boolean;
  /** Processor time that it took; undefined if that is not known. */
  cpuMicros?: number;
  /** Host memory of the clone; undefined if that is not known. */
  cloneBytes?: number;
}

export interface FunctionLoad {
  /** In a guest and not parked. */
  running: number;
  /** In a guest that waits for time or input. */
  parked: number;
  waiting: number;
  /** Live: running, parked or idle. */
  clones: number;
  /** Invocations that found no clone and had one made. */
  coldStarts: number;
}
