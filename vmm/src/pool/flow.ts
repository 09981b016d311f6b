/** Pieces of a body on their way to another thread or process, no more at a time than WINDOW. */
import { WINDOW } from '../worker/messages.js';

/** The end that sends. */
export class Outflow {
  /** Sends a piece, or without one the end; returns how many bytes that takes of the window. */
  readonly #post: (piece?: Uint8Array) => number;
  #underWay = 0;
  #closed = false;
  #wake: () => void = () => {};

  constructor(post: (piece?: Uint8Array) => number) {
    this.#post = post;
  }

  /** Until the end, or close(). Throws what the iterator throws. */
  async send(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = pieces[Symbol.asyncIterator]();
    while (!this.#closed) {
      const { done, value } = await iterator.next();
      if (this.#closed) break;
      this.#underWay += this.#post(done ? undefined : value);
      if (done) return;
      await this.#room();
    }
    iterator.return?.()?.catch(() => {}); // Nobody waits: it may hang in next().
  }

  /** The other end has taken so much. */
  taken(bytes: number): void {
    this.#underWay -= bytes;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async #room(): Promise<void> {
    while (this.#underWay >= WINDOW && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** The end that receives: what came, piece by piece. */
export class Inflow implements AsyncIterable<Uint8Array> {
  readonly #onTaken: (bytes: number) => void;
  /** The reader goes before the end. */
  readonly #onLeave: () => void;
  readonly #pieces: Uint8Array[] = [];
  #ended = false;
  #failure: { error: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(onTaken: (bytes: number) => void, onLeave: () => void) {
    this.#onTaken = onTaken;
    this.#onLeave = onLeave;
  }

  push(...pieces: Uint8Array[]): void {
    this.#pieces.push(...pieces);
    this.#wake();
  }

  /** What came before all that was pushed. */
  unshift(piece: Uint8Array): void {
    this.#pieces.unshift(piece);
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Nothing more comes; what came is read first. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => this.#next(),
      return: async () => {
        if (!this.#ended && this.#failure === undefined) this.#onLeave();
        return { done: true, value: undefined };
      },
    };
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#onTaken(piece.byteLength);
        return { done: false, value: piece };
      }
      if (this.#ended) return { done: true, value: undefined };
      if (this.#failure !== undefined) throw this.#failure.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
