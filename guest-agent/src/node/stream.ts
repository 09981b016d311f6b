/**
 * The agent's end of the stream to the host: blocking on purpose. One write answers the host, one read waits for it, and
 * between the two the guest has nothing to do: that is the one exit of an invocation. The template is captured inside
 * such a read. Only chunks of a request are waited for without holding up the function that asked for them.
 */
import { closeSync, openSync, read, readSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  CHUNK_BYTES,
  decodeWholeFrame,
  encodeFrame,
  encodeFrameInto,
  type Frame,
  FrameDecoder,
} from '@mayfly/protocol';

/** The special file that connects a vsock stream to the host (CID 2), port 1024, when it is opened. */
export const STREAM_PATH_DEFAULT = '/dev/vsock/2/1024';

/** Beside a chunk, its head. */
const HEADS_BYTES = 256;
const readAsync = promisify(read);

export class BlockingStream {
  readonly #fd: number;
  readonly #decoder = new FrameDecoder();
  /** For small frames in both directions, one after the other: no memory is asked for in an invocation. */
  readonly #chunk = Buffer.alloc(CHUNK_BYTES);

  #later: Buffer | undefined;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @param place a path, or `fd:N` for a file descriptor that is open already */
  static open(place: string): BlockingStream {
    const inherited = /^fd:(\d+)$/.exec(place);
    return new BlockingStream(inherited ? Number(inherited[1]) : openSync(place, 'r+'));
  }

  /** Waits for a frame; undefined when the host closed the stream. */
  read(): Frame | undefined {
    let frame = this.#decoder.next();
    while (!frame) {
      const { idle } = this.#decoder;
      const bytes = readSync(this.#fd, this.#chunk, 0, CHUNK_BYTES, null); // Clones begin in here.
      if (bytes === 0) return undefined;
      const chunk = this.#chunk.subarray(0, bytes);
      frame = idle ? decodeWholeFrame(chunk) : undefined;
      if (!frame) {
        this.#decoder.push(chunk);
        frame = this.#decoder.next();
      }
    }
    return frame;
  }

  async readLater(): Promise<Frame | undefined> {
    let frame = this.#decoder.next();
    while (!frame) {
      // Not the memory of write(), which may come in between.
      this.#later ??= Buffer.allocUnsafeSlow(CHUNK_BYTES + HEADS_BYTES);
      const { bytesRead } = await readAsync(this.#fd, this.#later, 0, this.#later.length, null);
      if (bytesRead === 0) return undefined;
      this.#decoder.push(this.#later.subarray(0, bytesRead));
      frame = this.#decoder.next();
    }
    return frame;
  }

  /** @throws MayflyError MAYFLY_FRAME_TOO_LARGE, before a byte is written */
  write(head: object, body?: Uint8Array): void {
    const length = encodeFrameInto(this.#chunk, head, body);
    if (length > 0) this.#writeAll(this.#chunk, length);
    else {
      const bytes = encodeFrame(head, body);
      this.#writeAll(bytes, bytes.byteLength);
    }
  }

  #writeAll(bytes: Uint8Array, length: number): void {
    let written = 0;
    while (written < length) {
      written += writeSync(this.#fd, bytes, written, length - written, null);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
