/**
 * A stream of a guest and a TCP socket of this host as one connection. Each side is read only as fast as the other takes, ends
 * when the other has sent its last byte, and is reset when the other was.
 */
import type { Socket } from 'node:net';
import type { VsockCloseReason, VsockStream } from '../devices/index.js';
import { resetSocket } from './reset-socket.js';

/** What a guest has sent before its end of the connection closed is still delivered, for so long without any progress, */
const LINGER_MS = 10_000;
/** or for so long at all when the guest is gone: of all guests of the process together only so many, those beyond are cut off. */
const LINGERING_MAX = 64;
let lingering = 0;

/** Told of bytes on their way. */
export interface RelayCounts {
  /** By the guest. */
  sent(bytes: number): void;
  /** For the guest. */
  received(bytes: number): void;
}

export class Relay {
  readonly #stream: VsockStream;
  readonly #socket: Socket;
  readonly #counts: RelayCounts;
  #finished = false;

  /** Both are open, and this object's from now on. The socket has `allowHalfOpen` and is not read yet. */
  constructor(stream: VsockStream, socket: Socket, counts: RelayCounts) {
    this.#stream = stream;
    this.#socket = socket;
    this.#counts = counts;
    stream.onData = (chunk) => this.#send(chunk);
    stream.onEnd = () => socket.end();
    stream.onDrain = () => socket.resume();
    stream.onClose = (reason) => this.#closed(reason);
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('drain', () => stream.resume());
    socket.on('end', () => stream.end());
    socket.on('error', () => stream.destroy()); // the guest reads ECONNRESET
  }

  /** Bytes for the socket that the guest sent before. */
  sendEarly(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#send(bytes);
  }

  /** The guest is gone; what it has sent is delivered, as of a program that ends. */
  finish(): void {
    this.#finished = true;
    if (this.#stream.closed) {
      this.#linger();
      return;
    }
    this.#stream.resume(); // what was held back
    this.#stream.destroy();
  }

  #send(chunk: Uint8Array): void {
    this.#counts.sent(chunk.length);
    // The chunk is guest memory, which goes on to change.
    const room = this.#socket.write(Buffer.from(chunk));
    if (!room && !this.#finished) this.#stream.pause();
  }

  #receive(chunk: Buffer): void {
    this.#counts.received(chunk.length);
    if (!this.#stream.write(chunk)) this.#socket.pause();
  }

  #closed(reason: VsockCloseReason): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (reason === 'reset') resetSocket(socket);
    else if (reason === 'closed' && !this.#finished) this.#endSlowly();
    else this.#linger();
  }

  #endSlowly(): void {
    const socket = this.#socket;
    socket.destroySoon();
    socket.setTimeout(LINGER_MS, () => resetSocket(socket));
  }

  #linger(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (lingering >= LINGERING_MAX) {
      resetSocket(socket);
      return;
    }
    lingering++;
    const timer = setTimeout(() => resetSocket(socket), LINGER_MS);
    socket.once('close', () => {
      lingering--;
      clearTimeout(timer);
    });
    socket.destroySoon();
  }
}
