/** A connection that a guest asked for: its stream, and a TCP socket of this host once that is connected. */
import { connect, type Socket } from 'node:net';
import type { VsockStream } from '../devices/index.js';
import { Relay, type RelayCounts } from './relay.js';
import { encodeAnswer, refusalOf } from './request.js';

const CONNECT_TIMEOUT_MS = 60_000;

export interface ConnectionEvents extends RelayCounts {
  connected(): void;
  closed(): void;
}

export class OutboundConnection {
  readonly #stream: VsockStream;
  readonly #events: ConnectionEvents;
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #failed = (error: Error) => this.#refuse(error);
  #relay: Relay | undefined;

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
    const socket = connect({ ...to, allowHalfOpen: true, noDelay: true });
    this.#socket = socket;
    stream.onClose = () => socket.destroy();
    socket.once('connect', () => this.#opened(early));
    socket.on('error', this.#failed);
    socket.once('close', () => this.#closed());
    this.#timer = setTimeout(
      () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })),
      CONNECT_TIMEOUT_MS,
    );
  }

  /** Ends both sides; what the guest has sent is delivered. */
  destroy(): void {
    if (this.#relay !== undefined) this.#relay.finish();
    else this.#stream.destroy();
  }

  #opened(early: Uint8Array): void {
    clearTimeout(this.#timer);
    this.#events.connected();
    this.#stream.write(encodeAnswer());
    this.#socket.off('error', this.#failed);
    this.#relay = new Relay(this.#stream, this.#socket, this.#events);
    this.#relay.sendEarly(early);
    if (!this.#socket.writableNeedDrain) this.#stream.resume();
  }

  #refuse(error: Error): void {
    this.#stream.write(encodeAnswer(refusalOf(error)));
    this.#stream.end();
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#events.closed();
  }
}
