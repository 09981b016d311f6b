/**
 * What goes on behind the first message of an invocation: pieces of its request go to the other end, pieces of its answer
 * come from there, each as fast as the one who gets them takes them.
 */
import type { AboutInvocation, WorkerStats } from '../worker/messages.js';
import { Inflow, Outflow } from './flow.js';

/** To the worker or process that an invocation runs in. */
export interface Line {
  /** A piece of the request, or its end; returns how many bytes it will be said to have taken of it. */
  sendPiece(piece?: Uint8Array): number;
  /** The reader of the answer has taken so much. */
  sendTaken(bytes: number): void;
  /** Has the invocation ended, and that said. */
  readonly abort: () => void;
}

export class Conversation {
  /** When the invocation is over. */
  readonly end: Promise<WorkerStats>;
  /** Ends the invocation from this side. */
  readonly #stop: (reason: unknown) => void;
  readonly #request: Outflow;
  readonly #answer: Inflow;
  #requestPieces: AsyncIterable<Uint8Array> | undefined;
  #closed = false;
  #resolve: (stats: WorkerStats) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(line: Line, stop: (reason: unknown) => void) {
    this.#stop = (reason) => {
      if (!this.#closed) stop(reason);
    };
    this.#request = new Outflow((piece) => line.sendPiece(piece));
    this.#answer = new Inflow(
      (bytes) => {
        if (!this.#closed) line.sendTaken(bytes);
      },
      () => this.#stop(new Error('nobody reads the answer')),
    );
    this.end = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.end.catch(() => {});
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

  receive(message: AboutInvocation): void {
    if ('bytes' in message) this.#answer.push(...message.bytes);
    else if ('bodyEnd' in message) this.#answer.end();
    else if ('taken' in message) this.#request.taken(message.taken);
    else if ('started' in message) this.#pump();
    else if ('over' in message) this.finish(message.over);
  }

  finish(stats: WorkerStats): void {
    if (this.#closed) return;
    this.#answer.end();
    this.#resolve(stats);
    this.#close();
  }

  /** Nothing more comes: `broken` is for the reader of the answer, `error` for who waits for the end. */
  fail(error: unknown, broken: unknown): void {
    if (this.#closed) return;
    this.#answer.fail(broken);
    this.#reject(error);
    this.#close();
  }

  #close(): void {
    this.#closed = true;
    this.#request.close();
  }

  #pump(): void {
    if (this.#requestPieces === undefined) return;
    this.#request.send(this.#requestPieces).catch((error: unknown) => this.#stop(error));
  }
}
