/** What one invocation has of the stream to the host. Once it is closed, code that runs on can write nothing more. */
import type { AgentHead, Frame } from '@mayfly/protocol';

export interface Wire {
  write(head: object, body?: Uint8Array): void;
  /** The next frame of the host; its body is there until something is written. undefined at the end of the stream. */
  read(): Frame | undefined;
  /** The next frame of the host, without holding the event loop up; undefined at the end of the stream. */
  readLater(): Promise<Frame | undefined>;
}

export class Channel {
  readonly #wire: Wire;
  #open = true;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Blocks while the host takes no more: whoever reads the answer slowly holds up the function that makes it. */
  write(head: AgentHead, body?: Uint8Array): void {
    if (this.#open) this.#wire.write(head, body);
  }

  read(): Frame | undefined {
    return this.#wire.read();
  }

  readLater(): Promise<Frame | undefined> {
    return this.#wire.readLater();
  }

  close(): void {
    this.#open = false;
  }
}
