/** A guest's stream to its name server: messages, each behind its length (RFC 1035, 4.2.2), answered as they are ready. */
import { abi } from '@mayfly/protocol';
import type { VsockStream } from '../devices/index.js';
import type { NameServer } from './name-server.js';
import { encodeAnswer } from './request.js';

const { NET_DATAGRAM_MAX } = abi.network;
/** Questions of one stream under way; more wait in the guest. */
const QUESTIONS_MAX = 16;

export class NameStream {
  readonly #stream: VsockStream;
  readonly #server: NameServer;
  readonly #datagrams: boolean;
  #bytes: Buffer;
  #underWay = 0;
  #paused = false;

  constructor(
    stream: VsockStream,
    server: NameServer,
    options: { datagrams: boolean; early: Uint8Array; closed(): void },
  ) {
    this.#stream = stream;
    this.#server = server;
    this.#datagrams = options.datagrams;
    this.#bytes = Buffer.from(options.early);
    stream.onData = (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#serve();
    };
    stream.onEnd = () => stream.end();
    stream.onClose = options.closed;
    stream.write(encodeAnswer());
    this.#serve();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  #serve(): void {
    while (this.#bytes.length >= 2 && this.#underWay < QUESTIONS_MAX) {
      const length = this.#bytes.readUInt16BE(0);
      if (length > NET_DATAGRAM_MAX) {
        this.#stream.destroy();
        return;
      }
      if (this.#bytes.length < 2 + length) break;
      const message = this.#bytes.subarray(2, 2 + length);
      this.#bytes = this.#bytes.subarray(2 + length);
      this.#underWay++;
      void this.#answer(message);
    }
    this.#pauseWhen(this.#underWay >= QUESTIONS_MAX);
  }

  /** resume() delivers at once, to this very object: only after a pause. */
  #pauseWhen(busy: boolean): void {
    if (busy === this.#paused) return;
    this.#paused = busy;
    if (busy) this.#stream.pause();
    else this.#stream.resume();
  }

  async #answer(message: Uint8Array): Promise<void> {
    const answer = await this.#server.answer(message, this.#datagrams);
    this.#underWay--;
    if (this.#stream.closed) return;
    if (answer !== undefined) this.#write(answer);
    this.#serve();
  }

  #write(answer: Uint8Array): void {
    const framed = Buffer.alloc(2 + answer.length);
    framed.writeUInt16BE(answer.length);
    framed.set(answer, 2);
    this.#stream.write(framed);
  }
}
