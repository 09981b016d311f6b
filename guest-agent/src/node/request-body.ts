/** The body of a request: what came with its head, and the chunks that follow, read as the function asks for them. */
import type { Frame, HostHead } from '@mayfly/protocol';
import type { Channel } from './channel.js';

export class RequestBody {
  readonly #channel: Channel;
  /** What came and was not handed on. */
  #next: Uint8Array | undefined;
  #more: boolean;

  constructor({ more }: HostHead, first: Frame['body'], channel: Channel) {
    this.#channel = channel;
    this.#next = first.byteLength > 0 ? first : undefined;
    this.#more = more === true;
  }

  /** All of it, when it is at hand already; undefined while chunks are to come. */
  get atHand(): Uint8Array | undefined {
    return this.#more ? undefined : (this.#next ?? NOTHING);
  }

  async whole(): Promise<Uint8Array> {
    if (this.atHand) return this.atHand;
    const pieces: Uint8Array[] = [];
    for (let piece = await this.#take(); piece; piece = await this.#take()) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Reads a chunk when the function wants one, and not before. */
  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const piece = await this.#take();
          if (piece) controller.enqueue(piece);
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Whether the next piece is, or the end, so that nobody waits for it. */
  get isAtHand(): boolean {
    return this.#next !== undefined || !this.#more;
  }

  /** The next piece, waited for without anything else going on; undefined at the end. */
  takeNow(): Uint8Array | undefined {
    while (!this.#next && this.#more) {
      this.#came(this.#channel.read());
      this.#next &&= Buffer.from(this.#next);
    }
    const piece = this.#next;
    this.#next = undefined;
    return piece;
  }

  async #take(): Promise<Uint8Array | undefined> {
    while (!this.#next && this.#more) this.#came(await this.#channel.readLater());
    const piece = this.#next;
    this.#next = undefined;
    return piece;
  }

  #came(frame: Frame | undefined): void {
    if (!frame) throw new Error('the body of the request broke off');
    this.#more = frame.head.end !== true;
    if (frame.body.byteLength > 0) this.#next = frame.body;
  }
}

const NOTHING = new Uint8Array(0);
