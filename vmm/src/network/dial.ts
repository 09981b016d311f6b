/**
 * The way to a server in the guest: the guest kernel offers a stream to a port to whoever listens on the TCP port of that number,
 * so an unmodified server is spoken to. A dial asks until somebody does.
 */
import { MayflyError } from '@mayfly/protocol';
import type { VsockDevice, VsockStream } from '../devices/index.js';

/**
 * A guest that refused does not tell when somebody listens, so it is asked again: after a tenth of the time that has passed, within
 * these bounds. One that has never listened to anything leaves the first question open, and answers when it does.
 */
const AGAIN_MS = { min: 5, max: 200 };

export class Dial {
  readonly #vsock: Pick<VsockDevice, 'connect'>;
  readonly #port: number;
  readonly #opened: (stream: VsockStream) => void;
  readonly #since = performance.now();
  #stream: VsockStream | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `opened` is told once; the stream is the caller's from then on, whose callbacks are to be set at once. */
  constructor(
    vsock: Pick<VsockDevice, 'connect'>,
    port: number,
    opened: (stream: VsockStream) => void,
  ) {
    this.#vsock = vsock;
    this.#port = port;
    this.#opened = opened;
    this.#ask();
  }

  /** Nobody listened when it asked last. */
  get refused(): boolean {
    return this.#timer !== undefined;
  }

  /** Not later, after a refusal. */
  askNow(): void {
    clearTimeout(this.#timer);
    this.#ask();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.destroy();
  }

  #ask(): void {
    this.#timer = undefined;
    const stream = openStream(this.#vsock, this.#port);
    if (stream === undefined) {
      this.#askLater();
      return;
    }
    this.#stream = stream;
    stream.onOpen = () => {
      this.#stream = undefined;
      stream.onClose = () => {};
      this.#opened(stream);
    };
    stream.onClose = () => {
      if (this.#stream !== undefined) this.#askLater();
    };
  }

  #askLater(): void {
    this.#stream = undefined;
    const ms = (performance.now() - this.#since) / 10;
    const delay = Math.min(Math.max(ms, AGAIN_MS.min), AGAIN_MS.max);
    this.#timer = setTimeout(() => this.#ask(), delay).unref();
  }
}

/** undefined: the guest has as many streams as it may. */
export function openStream(
  vsock: Pick<VsockDevice, 'connect'>,
  port: number,
): VsockStream | undefined {
  try {
    return vsock.connect(port);
  } catch (error) {
    if (error instanceof MayflyError && error.code === 'MAYFLY_VSOCK_TOO_MANY') return undefined;
    throw error;
  }
}
