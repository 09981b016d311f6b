/**
 * Standard input, output and errors of a WebAssembly module: they lead to the invocation, piece by piece, and the module
 * waits in `fd_read` for what has not come. All else of WASI is node:wasi's.
 */
import type {} from './webassembly-types.js';

/** Of WASI's errno (wasi_snapshot_preview1, typenames.witx). */
const SUCCESS = 0;
const FAULT = 21;

/** A struct iovec: address and length, 32 bits each. */
const IOVEC_SIZE = 8;

/** What the module reads from, and writes to. */
export interface Ends {
  /** Waits for the next piece; undefined at the end. */
  read(): Uint8Array | undefined;
  /** The bytes are the caller's again afterwards. */
  write(bytes: Uint8Array): void;
  writeError(bytes: Uint8Array): void;
  /** The module is about to wait: what it wrote should be seen. */
  waits(): void;
}

type Call = (...args: never[]) => unknown;
type Calls = Record<string, Call>;

export class WasiStdio {
  /** Of the instance; set before it runs. */
  memory: WebAssembly.Memory | undefined;
  ends: Ends | undefined;
  #rest: Uint8Array = NOTHING;

  /** The calls of WASI with those in their place that are about the three descriptors. */
  over(calls: Calls): Calls {
    const { fd_read, fd_write, poll_oneoff } = calls;
    return {
      ...calls,
      fd_read: (fd: number, iovecs: number, count: number, size: number) =>
        fd === 0
          ? this.#transfer(iovecs, count, size, (to) => this.#read(to))
          : fd_read?.(...([fd, iovecs, count, size] as never[])),
      fd_write: (fd: number, iovecs: number, count: number, size: number) => {
        if (fd === 1) return this.#transfer(iovecs, count, size, (from) => this.#write(from));
        if (fd === 2) return this.#transfer(iovecs, count, size, (from) => this.#complain(from));
        return fd_write?.(...([fd, iovecs, count, size] as never[]));
      },
      poll_oneoff: (...args: never[]) => {
        this.ends?.waits();
        return poll_oneoff?.(...args);
      },
    };
  }

  /** `move` gives how many bytes went; fewer than there is room for end the call. */
  #transfer(
    iovecs: number,
    count: number,
    size: number,
    move: (part: Uint8Array) => number,
  ): number {
    const { buffer } = this.memory as WebAssembly.Memory;
    const view = new DataView(buffer);
    const inside = (at: number, length: number) => at + length <= buffer.byteLength;
    // Addresses are numbers of 32 bits, which JavaScript gets with a sign.
    const [first, result] = [iovecs >>> 0, size >>> 0];
    if (!inside(result, 4) || !inside(first, (count >>> 0) * IOVEC_SIZE)) return FAULT;
    let moved = 0;
    for (let i = 0; i < count >>> 0; i++) {
      const at = view.getUint32(first + i * IOVEC_SIZE, true);
      const length = view.getUint32(first + i * IOVEC_SIZE + 4, true);
      if (!inside(at, length)) return FAULT;
      const done = length === 0 ? 0 : move(new Uint8Array(buffer, at, length));
      moved += done;
      if (done < length) break;
    }
    view.setUint32(result, moved, true);
    return SUCCESS;
  }

  /** Waits if there is nothing, and not for more. */
  #read(to: Uint8Array): number {
    if (this.#rest.byteLength === 0) this.#rest = this.ends?.read() ?? NOTHING;
    const part = this.#rest.subarray(0, to.byteLength);
    to.set(part);
    this.#rest = this.#rest.subarray(part.byteLength);
    return part.byteLength;
  }

  #write(from: Uint8Array): number {
    this.ends?.write(from);
    return from.byteLength;
  }

  #complain(from: Uint8Array): number {
    this.ends?.writeError(from);
    return from.byteLength;
  }
}

const NOTHING = new Uint8Array(0);
