/** How calls of a pool fail. */
import { MayflyError } from '@mayfly/protocol';
import { taskError } from '../worker/invocation.js';
import type { InvocationEnd, TaskError, WorkerStats } from '../worker/messages.js';

/** What a worker said; with InvocationEnd where it is about an invocation. */
export class WorkerError extends MayflyError implements InvocationEnd {
  readonly cloneKept: boolean;
  readonly stats?: WorkerStats;

  constructor({ code, message, detail, cloneKept = false, stats }: TaskError['error']) {
    super(code, message, detail === undefined ? undefined : { cause: detail });
    this.cloneKept = cloneKept;
    if (stats !== undefined) this.stats = stats;
  }
}

export function isAborted(error: unknown): error is WorkerError {
  return error instanceof WorkerError && error.code === 'MAYFLY_ABORTED';
}

export function abortedBy(reason: unknown, { code, message, ...end }: WorkerError): WorkerError {
  return new WorkerError({ ...end, code, message, detail: reason });
}

export function workerGone(cause?: unknown): MayflyError {
  const message = 'the worker of the invocation died';
  return new MayflyError('MAYFLY_WORKER_GONE', message, cause === undefined ? {} : { cause });
}

/** A process died before it had begun with an invocation, or before it answered another call. */
export class NotBegun extends MayflyError {
  constructor() {
    super('MAYFLY_WORKER_GONE', 'the process of the pool died');
  }
}

export function isWorkerGone(error: unknown): boolean {
  return error instanceof MayflyError && error.code === 'MAYFLY_WORKER_GONE';
}

/** For another process, which makes a WorkerError of it. */
export function taskErrorOf(error: unknown): TaskError {
  if (!(error instanceof WorkerError)) return taskError(error);
  const { cloneKept, stats } = error;
  return taskError(error, stats === undefined ? { cloneKept } : { cloneKept, stats });
}
