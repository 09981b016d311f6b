import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';

/**
 * Bytes of unknown honesty, read by offset. Every read is checked against the size, so a parser above it cannot run off
 * the end: a damaged offset becomes an error with the parser's own code.
 */
export interface ByteSource {
  /** What the bytes are, for error messages. */
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes at `offset`, or the source's "damaged" error. */
  read(offset: number, length: number): Buffer;
  /** The "damaged" error of this source, naming it. */
  damaged(what: string): MayflyError;
}

abstract class CheckedSource implements ByteSource {
  readonly name: string;
  abstract readonly size: number;
  readonly #damagedCode: string;

  constructor(name: string, damagedCode: string) {
    this.name = name;
    this.#damagedCode = damagedCode;
  }

  damaged(what: string): MayflyError {
    return new MayflyError(this.#damagedCode, `${this.name} is damaged: ${what}`);
  }

  read(offset: number, length: number): Buffer {
    const inside =
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset + length <= this.size;
    if (!inside)
      throw this.damaged(`${length} bytes at ${offset} are outside its ${this.size} bytes`);
    return this.slice(offset, length);
  }

  protected abstract slice(offset: number, length: number): Buffer;
}

/** A source over bytes in memory; reads share the memory. */
export class MemorySource extends CheckedSource {
  readonly size: number;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array, name: string, damagedCode: string) {
    super(name, damagedCode);
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.size = bytes.byteLength;
  }

  protected slice(offset: number, length: number): Buffer {
    return this.#bytes.subarray(offset, offset + length);
  }
}

export interface FilePart {
  offset: number;
  length: number;
  name?: string | undefined;
}

/** A source over a host file; small synchronous reads, so that a 100 MB program costs a few kilobytes to parse. */
export class FileSource extends CheckedSource {
  readonly size: number;
  readonly #fd: number;
  readonly #start: number;

  /** @param part the part of the file that counts, and its name in messages; default all of it */
  constructor(path: string, damagedCode: string, part?: FilePart) {
    super(part?.name ?? path, damagedCode);
    this.#fd = openSync(path, 'r');
    this.#start = part?.offset ?? 0;
    this.size = part?.length ?? fstatSync(this.#fd).size;
  }

  protected slice(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.#fd, bytes, done, length - done, this.#start + offset + done);
      if (count === 0) throw this.damaged('it became shorter while it was read');
      done += count;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
