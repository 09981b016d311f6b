/** What crosses between the pool (main thread) and its workers. Types only. */
import type { LogLine } from '@mayfly/protocol';
import type { Dialect } from '../dialects/dialect.js';
import type { EgressStats } from '../network/egress.js';
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

export interface InvokeTask {
  kind: 'invoke';
  templateId: number;
  clone: number;
  /** Sent along when the worker may not have it yet. */
  template: Template | undefined;
  frame: Uint8Array;
  timeoutMs: number;
  /** CLOCK_MONOTONIC ms (performance.timeOrigin based) at which the request entered the queue. */
  queuedAt: number;
  /** One Int32: not 0 = the caller went away. */
  abort: Int32Array | undefined;
}

export interface InvokeReply {
  head: unknown;
  body: Uint8Array;
  guestMicros: number;
  queueMicros: number;
  cloneMicros: number;
  /** Of the rewind before; undefined for a new clone. */
  rewindMicros: number | undefined;
  rewoundPages: number;
  /** What went out; undefined when nothing tried to. */
  network: EgressStats | undefined;
  /** Lines of the log that the guest does not know. */
  logs: LogLine[];
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

/** Keeps a template on disk, in a store that this process has opened. */
export interface StoreTask {
  kind: 'store';
  template: Template;
  directory: string;
  name: string;
  labels: Record<string, string>;
  command: string[];
}

export type Task = BootTask | InvokeTask | StartTask | StopTask | ForgetTask | StoreTask;

/** Errors lose their class between threads: they travel as data. */
export interface TaskError {
  error: { code: string; message: string; detail?: string };
}
