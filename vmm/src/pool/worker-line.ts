/**
 * The line to one worker thread: invocations go there, what is told of them comes back. Messages of the same moment travel
 * together, for the thread is woken once then, but the first one of a thread that has nothing to do does not wait for others.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { encodeFrame } from '@mayfly/protocol';
import type { FromWorker, InvokeTask, ParkedNews, ToWorker } from '../worker/messages.js';
import type { Line } from './conversation.js';
import type { Exchange } from './exchange.js';
import { workerGone } from './failures.js';

/** A thread's end is told sooner. */
const UNTOLD_MS = 60_000;

export class WorkerLine {
  readonly #port: MessagePort;
  readonly #exchanges = new Map<number, Exchange>();
  #messages: ToWorker[] = [];
  #transfer: ArrayBuffer[] = [];
  #posting = false;
  /** Nothing more comes. */
  #closed = false;
  /** The thread is known to be gone. */
  #lost = false;
  /** Between the two, where something is under way, nothing else of a dead thread keeps the process alive until it is told. */
  #untold: NodeJS.Timeout | undefined;

  /** `connect` gives the thread its end; when it fails, all invocations do. */
  constructor(connect: (port: MessagePort) => Promise<unknown>) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (message: FromWorker) => this.#receive(message));
    port1.on('close', () => {
      this.#closed = true;
      if (this.#lost) this.fail(workerGone());
      else if (this.#exchanges.size > 0) this.#stayAlive();
    });
    port1.unref();
    connect(port2).catch((error: unknown) => this.fail(error));
  }

  invoke(id: number, invoke: InvokeTask, exchange: Exchange): void {
    const idle = this.#exchanges.size === 0;
    this.#exchanges.set(id, exchange);
    if (idle) this.#stayAlive();
    this.#messages.push({ id, invoke });
    if (idle) this.#post();
    else this.#postSoon();
  }

  /** How an exchange speaks; `abort` is its own. */
  lineOf(id: number, abort: () => void): Line {
    return {
      sendPiece: (piece) => this.#sendPiece(id, piece),
      sendTaken: (taken) => this.#send({ id, taken }),
      abort,
    };
  }

  abort(id: number): void {
    this.#send({ id, abort: true });
  }

  /** The thread is gone, and there will be another. What it said before may still be on its way. */
  lost(): void {
    this.#lost = true;
    if (this.#closed) this.fail(workerGone());
  }

  /** Ends all that is under way. */
  fail(error: unknown): void {
    const exchanges = [...this.#exchanges.values()];
    this.#exchanges.clear();
    clearInterval(this.#untold);
    this.#port.close();
    for (const exchange of exchanges) exchange.fail(error);
  }

  #stayAlive(): void {
    this.#port.ref();
    if (this.#closed) this.#untold ??= setInterval(() => {}, UNTOLD_MS);
  }

  #sendPiece(id: number, piece: Uint8Array | undefined): number {
    const head = { type: 'chunk' };
    const frame = piece ? encodeFrame(head, piece) : encodeFrame({ ...head, end: true });
    const { byteLength } = frame; // it is gone afterwards
    this.#transfer.push(frame.buffer as ArrayBuffer);
    this.#send({ id, frame });
    return byteLength;
  }

  #send(message: ToWorker): void {
    this.#messages.push(message);
    this.#postSoon();
  }

  #postSoon(): void {
    if (this.#posting) return;
    this.#posting = true;
    setImmediate(this.#post);
  }

  readonly #post = (): void => {
    this.#posting = false;
    const messages = this.#messages;
    if (messages.length === 0) return;
    const transfer = this.#transfer;
    this.#messages = [];
    if (transfer.length > 0) this.#transfer = [];
    this.#port.postMessage(messages, transfer);
  };

  #receive(message: FromWorker): void {
    if ('parked' in message) this.#tellParked(message);
    else if (this.#exchanges.get(message.id)?.receive(message)) this.#forget(message.id);
  }

  #forget(id: number): void {
    this.#exchanges.delete(id);
    if (this.#exchanges.size === 0) this.#port.unref();
  }

  #tellParked({ parked, resumed }: ParkedNews): void {
    for (const id of parked) this.#exchanges.get(id)?.options.onParked?.(true);
    for (const id of resumed) this.#exchanges.get(id)?.options.onParked?.(false);
  }
}
