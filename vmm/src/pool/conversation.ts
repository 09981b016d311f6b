/**
 * The pool's end of an invocation that goes on behind one message: pieces of its request go to the worker, pieces of its
 * answer come from it, each as fast as the other end takes them.
 */
import type { MessagePort } from 'node:worker_threads';
import { encodeFrame } from '@mayfly/protocol';
import type { FromPool, FromWorker, WorkerStats } from '../worker/messages.js';
import { abortedBy, isAborted, WorkerError, workerGone } from './failures.js';
import { Inflow, Outflow } from './flow.js';
import type { InvokeOptions } from './types.js';

/** To the other end. What comes from there goes to receive(). */
export interface Line {
  /** A piece of the request, or its end; returns how many bytes it will be said to have taken of it. */
  sendPiece(piece?: Uint8Array): number;
  /** The reader of the answer has taken so much. */
  sendTaken(bytes: number): void;
  close(): void;
}

export class Conversation {
  /** When the invocation is over. */
  readonly end: Promise<WorkerStats>;
  readonly #line: Line;
  readonly #options: InvokeOptions;
  /** Has the worker end the invocation, and say so. */
  readonly #abort: () => void;
  /** Why that was done, if it was not the signal. */
  reason: unknown;
  readonly #request: Outflow;
  readonly #answer = new Inflow(
    (bytes) => {
      if (!this.#closed) this.#line.sendTaken(bytes);
    },
    () => this.#end(new Error('nobody reads the answer')),
  );
  #requestPieces: AsyncIterable<Uint8Array> | undefined;
  #closed = false;
  #resolve: (stats: WorkerStats) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(line: Line, options: InvokeOptions, abort: () => void) {
    this.#line = line;
    this.#request = new Outflow((piece) => line.sendPiece(piece));
    this.#options = options;
    this.#abort = abort;
    this.end = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.end.catch(() => {});
  }

  /** With a worker thread. */
  static overPort(port: MessagePort, options: InvokeOptions, abort: () => void): Conversation {
    const conversation = new Conversation(new PortLine(port), options, abort);
    port.on('message', (message: FromWorker) => conversation.receive(message));
    port.on('close', () => conversation.fail(workerGone()));
    return conversation;
  }

  /** Sends these pieces when the invocation begins; what the iterator throws ends the invocation. */
  sendRequest(pieces: AsyncIterable<Uint8Array>): void {
    this.#requestPieces = pieces;
  }

  /** The body of the answer, of which `first` came with its head. Ends the invocation when it is not read to its end. */
  body(first: Uint8Array): AsyncIterable<Uint8Array> {
    if (first.byteLength > 0) this.#answer.unshift(first);
    return this.#answer;
  }

  /** Nothing more comes. */
  fail(error: unknown): void {
    if (this.#closed) return;
    const reason = this.reason ?? this.#options.signal?.reason;
    this.#answer.fail(isAborted(error) ? reason : error);
    this.#reject(isAborted(error) ? abortedBy(reason, error) : error);
    this.#close();
  }

  #end(reason: unknown): void {
    if (this.#closed) return;
    this.reason ??= reason;
    this.#abort();
  }

  receive(message: FromWorker): void {
    if ('bytes' in message) this.#answer.push(...message.bytes);
    else if ('bodyEnd' in message) this.#answer.end();
    else if ('taken' in message) this.#request.taken(message.taken);
    else if ('started' in message) this.#pump();
    else if ('logs' in message) this.#tellLogs(message.logs);
    else if ('over' in message) this.#finish(message.over);
    else this.fail(new WorkerError(message.error));
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
    this.#answer.end();
    this.#resolve(stats);
    this.#close();
  }

  #close(): void {
    this.#closed = true;
    this.#line.close();
    this.#request.close();
  }

  #pump(): void {
    if (this.#requestPieces === undefined) return;
    this.#request.send(this.#requestPieces).catch((error: unknown) => this.#end(error));
  }
}

class PortLine implements Line {
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  sendPiece(piece?: Uint8Array): number {
    const head = { type: 'chunk' };
    const frame = piece ? encodeFrame(head, piece) : encodeFrame({ ...head, end: true });
    // Small buffers are parts of a shared one, which cannot be given away.
    const { byteLength } = frame; // it is gone afterwards
    const own = byteLength === frame.buffer.byteLength;
    this.#post({ frame }, own ? [frame.buffer as ArrayBuffer] : []);
    return byteLength;
  }

  sendTaken(taken: number): void {
    this.#post({ taken });
  }

  close(): void {
    this.#port.close();
  }

  #post(message: FromPool, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}
