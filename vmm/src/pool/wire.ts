/**
 * Messages on a stream socket between two processes of one host: each is its length (four bytes, little endian) and MessagePack
 * of plain data. What one turn of the event loop sends is one write.
 */
import type { Socket } from 'node:net';
import { Packr } from 'msgpackr';

/** An answer of 16 MiB with a head of 1 MiB fits well; what is longer is damage. */
const MESSAGE_BYTES_MAX = 64 << 20;
const PREFIX_BYTES = 4;

const packr = new Packr({ useRecords: false });

export class Wire<In, Out> {
  readonly #socket: Socket;
  readonly #receive: (message: In) => void;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes that the next message needs, as far as is known. */
  #wanted = PREFIX_BYTES;
  /** What this turn of the event loop sends. */
  #sending: Uint8Array[] = [];

  /** `onClose` is called once: the other end is gone, or sent what is no message. */
  constructor(socket: Socket, receive: (message: In) => void, onClose: () => void) {
    this.#socket = socket;
    this.#receive = receive;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', onClose);
  }

  send(message: Out): void {
    if (!this.#socket.writable) return; // whoever waits for an answer is told by onClose
    if (this.#sending.length === 0) process.nextTick(this.#flush);
    const body = packr.pack(message);
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
    prefix.writeUInt32LE(body.byteLength);
    this.#sending.push(prefix, body);
  }

  /** When all that was sent is on its way. */
  end(): void {
    this.#flush();
    this.#socket.end();
  }

  /** Keeps the process alive, or not. */
  hold(held: boolean): void {
    if (held) this.#socket.ref();
    else this.#socket.unref();
  }

  readonly #flush = (): void => {
    const sending = this.#sending;
    this.#sending = [];
    if (sending.length > 0) this.#socket.write(Buffer.concat(sending));
  };

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes < this.#wanted) return;
    const [first] = this.#chunks;
    const all = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks);
    let at = 0;
    try {
      at = this.#readAll(all);
    } catch (error) {
      this.#socket.destroy(error as Error);
      return;
    }
    this.#chunks = at < all.byteLength ? [all.subarray(at)] : [];
    this.#bytes = all.byteLength - at;
  }

  /** Where the first message begins that is not all there. */
  #readAll(all: Buffer): number {
    for (let at = 0; ; ) {
      const left = all.byteLength - at;
      this.#wanted = PREFIX_BYTES;
      if (left < PREFIX_BYTES) return at;
      const length = all.readUInt32LE(at);
      if (length > MESSAGE_BYTES_MAX) throw new Error(`a message of ${length} bytes`);
      this.#wanted += length;
      if (left < this.#wanted) return at;
      const end = at + this.#wanted;
      this.#receive(packr.unpack(all.subarray(at + PREFIX_BYTES, end)) as In);
      at = end;
    }
  }
}
