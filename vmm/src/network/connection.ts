/**
 * A connection of a guest: its vsock stream on one side, a TCP socket of this host on the other. Each side is read only as fast
 * as the other takes.
 */
import { connect, type Socket } from 'node:net';
import type { VsockCloseReason, VsockStream } from '../devices/index.js';
import { encodeAnswer, refusalOf } from './request.js';

const CONNECT_TIMEOUT_MS = 60_000;
/** What a guest has sent before its end of the connection closed is still delivered, for so long. */
const LINGER_MS = 10_000;
/** Of all guests of the process together; those beyond are cut off. */
const LINGERING_MAX = 64;
let lingering = 0;

export interface ConnectionEvents {
  connected(): void;
  /** Bytes that the guest sent, on their way. */
  sent(bytes: number): void;
  /** Bytes for the guest. */
  received(bytes: number): void;
  closed(): void;
}

export class OutboundConnection {
  readonly #stream: VsockStream;
  readonly #events: ConnectionEvents;
  readonly #socket: Socket;
  #connected = false;
  #timer: NodeJS.Timeout;

  /** `early`: what the guest sent behind its request. The stream is paused until the socket is connected. */
  constructor(
    stream: VsockStream,
    to: { host: string; port: number },
    early: Uint8Array,
    events: ConnectionEvents,
  ) {
    this.#stream = stream;
    this.#events = events;
    stream.pause();
    stream.onData = (chunk) => this.#send(chunk);
    stream.onEnd = () => this.#socket.end();
    stream.onDrain = () => this.#socket.resume();
    stream.onClose = (reason) => this.#guestClosed(reason);
    this.#socket = connect({ ...to, allowHalfOpen: true, noDelay: true });
    this.#socket.on('connect', () => this.#opened(early));
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('drain', () => stream.resume());
    this.#socket.on('end', () => stream.end());
    this.#socket.on('error', (error) => this.#failed(error));
    this.#socket.on('close', () => this.#closed());
    this.#timer = setTimeout(
      () => this.#socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })),
      CONNECT_TIMEOUT_MS,
    );
  }

  /** Ends both sides; what the guest has sent is delivered, as of a program that ends. */
  destroy(): void {
    this.#stream.destroy();
  }

  #opened(early: Uint8Array): void {
    clearTimeout(this.#timer);
    this.#connected = true;
    this.#events.connected();
    this.#stream.write(encodeAnswer());
    if (early.length > 0) this.#send(early);
    if (!this.#socket.writableNeedDrain) this.#stream.resume();
  }

  #send(chunk: Uint8Array): void {
    this.#events.sent(chunk.length);
    // The chunk is guest memory, which goes on to change.
    if (!this.#socket.write(Buffer.from(chunk))) this.#stream.pause();
  }

  #receive(chunk: Buffer): void {
    this.#events.received(chunk.length);
    if (!this.#stream.write(chunk)) this.#socket.pause();
  }

  #failed(error: Error): void {
    if (this.#connected) {
      this.#stream.destroy(); // the guest reads ECONNRESET
      return;
    }
    this.#stream.write(encodeAnswer(refusalOf(error)));
    this.#stream.end();
  }

  #guestClosed(reason: VsockCloseReason): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (!this.#connected) socket.destroy();
    else if (reason === 'reset' || lingering >= LINGERING_MAX) socket.resetAndDestroy();
    else this.#linger();
  }

  #linger(): void {
    const socket = this.#socket;
    lingering++;
    socket.once('close', () => lingering--);
    socket.destroySoon();
    this.#timer = setTimeout(() => socket.resetAndDestroy(), LINGER_MS);
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#events.closed();
  }
}
