/** What crosses between the pool (main thread) and its workers. */
import type { MessagePort } from 'node:worker_threads';
import type { Dialect } from '../dialects/dialect.js';
import type { EgressStats } from '../network/egress.js';
import type { CloneSettings } from './clone-settings.js';
import type { Template } from './template.js';

export interface BootTask {
  kind: 'boot';
  id: number;
  name: string;
  program: string;
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  images: string[];
  memoryBytes: number;
  /** Rules; see TemplateSpec. */
  network: readonly string[];
  timeoutMs: number;
  /** Where the template's memory file is made. */
  directory: string;
  dialect?: Dialect | undefined;
}

export interface BootResult {
  /** Head of the first frame that the guest sent. */
  head: unknown;
  /** undefined when the guest ended after its first frame. */
  template: Template | undefined;
  bootMicros: number;
  /** What the guest printed while it booted. */
  output: string;
}

/** The state of a task, in memory that pool and workers share: whether it may be tried again elsewhere. */
export const taskState = { WAITING: 0, STARTED: 1, ABORTED: 2 } as const;

export interface InvokeTask {
  /** Of its state. */
  slot: number;
  templateId: number;
  clone: number;
  /** In the journal, if there is one. */
  ticket: number | undefined;
  /** Sent along when the worker may not have it yet. */
  template: Template | undefined;
  frame: Uint8Array;
  /** The body of the request follows. */
  more: boolean;
  timeoutMs: number;
  /** Longest time in the guest. */
  cpuMs: number | undefined;
  /** When the invocation was asked for, of sharedNow(). */
  queuedAt: number;
}

/** The head of an answer and what was there with it. */
export interface InvokeReply {
  head: unknown;
  /** All of the body, or its beginning. */
  body: Uint8Array;
  /** Log lines that were not told; see InvokeOptions.onLogs. */
  logs: unknown[];
  queueMicros: number;
  cloneMicros?: number | undefined;
  guestMicros: number;
  /** The invocation is over. */
  stats: WorkerStats | undefined;
  /** The body goes on. */
  streams: boolean;
}

export interface WorkerStats {
  queueMicros: number;
  cloneMicros: number;
  /** From the entry to the end, waiting included. */
  guestMicros: number;
  /** In the guest. */
  cpuMicros: number;
  rewoundPages: number;
  /** Page faults; see InvokeStats. */
  faults: number;
  /** Of the rewind before; undefined for a new clone. */
  rewindMicros: number | undefined;
  /** What went out; undefined when nothing tried to. */
  network: EgressStats | undefined;
  /** Clones of this worker that had to be replaced rather than rewound, so far. */
  replaced: number;
}

export interface StartTask {
  kind: 'start';
  templateId: number;
  clone: number;
  template: Template;
}

export interface StopTask {
  kind: 'stop';
  templateId: number;
  clone: number;
}

export interface ForgetTask {
  kind: 'forget';
  templateId: number;
}

/** Gives a thread its end of the line on which invocations come and go. */
export interface ConnectTask {
  kind: 'connect';
  port: MessagePort;
}

/** Keeps a template on disk, in a store that this process has opened. */
export interface StoreTask {
  kind: 'store';
  template: Template;
  directory: string;
  name: string;
  labels: Record<string, string>;
  command: string[];
}

export type Task = BootTask | StartTask | StopTask | ForgetTask | ConnectTask | StoreTask;

/** On the line, to the worker; what is sent at about the same time is one message, a list. `id` is that of an invocation. */
export type ToWorker = { id: number } & (
  | { invoke: InvokeTask }
  /** Nobody wants it any more. */
  | { abort: true }
  /** A frame of the request; answered with `taken` when there is room for more. */
  | { frame: Uint8Array }
  /** Bytes of the answer that its reader has taken. */
  | { taken: number }
);

/** What is told of an invocation. The last one is `over`, a reply with statistics, or `error`. */
export type AboutInvocation =
  /** It has begun: frames of the request may come. */
  | { started: true }
  | { taken: number }
  /** Lines that cannot wait for the reply, or come behind it. */
  | { logs: unknown[] }
  | { reply: InvokeReply }
  | { bytes: Uint8Array[] }
  | { bodyEnd: true }
  | { over: WorkerStats }
  | TaskError;

/** On the line, to the pool. */
export type FromWorker = ({ id: number } & AboutInvocation) | ParkedNews;

/** Invocations that wait for time, input or their readers since they were told of last, or go on. */
export interface ParkedNews {
  parked: number[];
  resumed: number[];
}

/** Outside of the line: what clones of a template write, found out by one worker for all. */
export interface Learned {
  templateId: number;
  /** Pairs [first page, count]. */
  workingSet: Uint32Array;
}

/** workerData of a worker. */
export interface WorkerSettings extends Partial<CloneSettings> {
  /** States of tasks, by slot. */
  states: Int32Array;
  /** File of a Journal. */
  journal: number | undefined;
}

/** Bytes that may be on their way between the two threads, in each direction of an invocation. */
export const WINDOW = 512 * 1024;

/** Errors lose their class between threads: they travel as data. */
export interface TaskError {
  error: { code: string; message: string; detail?: unknown } & InvocationEnd;
}

/** Of an invocation that failed. */
export interface InvocationEnd {
  /** Its guest stood still when it was ended, and is rewound; else it is gone. */
  cloneKept?: boolean;
  /** What it took until then, if it had begun. */
  stats?: WorkerStats;
}
