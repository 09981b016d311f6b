/**
 * The pool's end of an invocation that goes on behind one message: chunks of its request go to the worker, chunks of its
 * answer come from it, each as fast as the other end takes them.
 */
import type { MessagePort } from 'node:worker_threads';
import { encodeFrame, MayflyError } from '@mayfly/protocol';
import {
  type FromPool,
  type FromWorker,
  type InvocationEnd,
  type TaskError,
  WINDOW,
  type WorkerStats,
} from '../worker/messages.js';
import type { InvokeOptions } from './types.js';

export class Conversation {
  /** When the invocation is over. */
  readonly end: Promise<WorkerStats>;
  readonly #port: MessagePort;
  readonly #options: InvokeOptions;
  /** Has the worker end the invocation, and say so. */
  readonly #abort: () => void;
  /** Why that was done, if it was not the signal. */
  reason: unknown;
  readonly #pieces: Uint8Array[] = [];
  #bodyEnded = false;
  #closed = false;
  #failure: unknown;
  #resolve: (stats: WorkerStats) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  /** Continues the reader of the answer, and the writer of the request. */
  #wakeReader: () => void = () => {};
  #wakeWriter: () => void = () => {};
  #request: AsyncIterable<Uint8Array> | undefined;
  #requestUnderWay = 0;

  constructor(port: MessagePort, options: InvokeOptions, abort: () => void) {
    this.#port = port;
    this.#options = options;
    this.#abort = abort;
    this.end = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.end.catch(() => {});
    port.on('message', (message: FromWorker) => this.#receive(message));
    port.on('close', () => this.fail(workerGone()));
  }

  /** Sends these pieces when the invocation begins; what the iterator throws ends the invocation. */
  sendRequest(pieces: AsyncIterable<Uint8Array>): void {
    this.#request = pieces;
  }

  /** The body of the answer, of which `first` came with its head. Ends the invocation when it is not read to its end. */
  body(first: Uint8Array): AsyncIterable<Uint8Array> {
    if (first.byteLength > 0) this.#pieces.unshift(first);
    const leave = async (): Promise<IteratorResult<Uint8Array>> => {
      if (!this.#bodyEnded) this.#end(new Error('nobody reads the answer'));
      return { done: true, value: undefined };
    };
    const iterator = { next: () => this.#next(), return: leave };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  /** Nothing more comes. */
  fail(error: unknown): void {
    if (this.#closed) return;
    const reason = this.reason ?? this.#options.signal?.reason;
    this.#failure = isAborted(error) ? reason : error;
    this.#reject(isAborted(error) ? abortedBy(reason, error) : error);
    this.#close();
  }

  #end(reason: unknown): void {
    if (this.#closed) return;
    this.reason ??= reason;
    this.#abort();
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#post({ taken: piece.byteLength });
        return { done: false, value: piece };
      }
      if (this.#bodyEnded) return { done: true, value: undefined };
      if (this.#closed) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  #receive(message: FromWorker): void {
    if ('bytes' in message) this.#pieces.push(...message.bytes);
    else if ('bodyEnd' in message) this.#bodyEnded = true;
    else if ('taken' in message) this.#requestTaken(message.taken);
    else if ('started' in message) void this.#pump();
    else if ('logs' in message) this.#tellLogs(message.logs);
    else if ('over' in message) this.#finish(message.over);
    else this.fail(new WorkerError(message.error));
    this.#wakeReader();
  }

  #tellLogs(logs: unknown[]): void {
    try {
      for (const lines of logs) this.#options.onLogs?.(lines);
    } catch (error) {
      this.#end(error);
    }
  }

  #finish(stats: WorkerStats): void {
    if (this.#closed) return;
    this.#bodyEnded = true;
    this.#resolve(stats);
    this.#close();
  }

  #close(): void {
    this.#closed = true;
    this.#port.close();
    this.#wakeReader();
    this.#wakeWriter();
  }

  async #pump(): Promise<void> {
    const pieces = this.#request?.[Symbol.asyncIterator]();
    if (pieces === undefined) return;
    try {
      while (!this.#closed) {
        const { done, value } = await pieces.next();
        if (this.#closed) break;
        if (done) return this.#sendFrame(encodeFrame({ type: 'chunk', end: true }));
        this.#sendFrame(encodeFrame({ type: 'chunk' }, value));
        await this.#room();
      }
    } catch (error) {
      this.#end(error);
      return;
    }
    pieces.return?.()?.catch(() => {}); // Nobody waits: it may hang in next().
  }

  #sendFrame(frame: Uint8Array): void {
    this.#requestUnderWay += frame.byteLength;
    // Small buffers are parts of a shared one, which cannot be given away.
    const own = frame.byteLength === frame.buffer.byteLength;
    this.#post({ frame }, own ? [frame.buffer as ArrayBuffer] : []);
  }

  async #room(): Promise<void> {
    while (this.#requestUnderWay >= WINDOW && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }

  #requestTaken(bytes: number): void {
    this.#requestUnderWay -= bytes;
    this.#wakeWriter();
  }

  #post(message: FromPool, transfer: ArrayBuffer[] = []): void {
    if (!this.#closed) this.#port.postMessage(message, transfer);
  }
}

/** What a worker said; with InvocationEnd where it is about an invocation. */
export class WorkerError extends MayflyError implements InvocationEnd {
  readonly cloneKept: boolean;
  readonly cpuMicros: number | undefined;

  constructor({ code, message, detail, cloneKept = false, cpuMicros }: TaskError['error']) {
    super(code, message, detail === undefined ? undefined : { cause: detail });
    this.cloneKept = cloneKept;
    this.cpuMicros = cpuMicros;
  }
}

export function isAborted(error: unknown): error is WorkerError {
  return error instanceof WorkerError && error.code === 'MAYFLY_ABORTED';
}

export function abortedBy(reason: unknown, { code, message, ...end }: WorkerError): WorkerError {
  return new WorkerError({ ...end, code, message, detail: reason });
}

export function workerGone(cause?: unknown): MayflyError {
  const message = 'the worker thread of the invocation died';
  return new MayflyError('MAYFLY_WORKER_GONE', message, cause === undefined ? {} : { cause });
}
