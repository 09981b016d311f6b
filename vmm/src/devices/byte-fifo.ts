import type { SegmentList } from '../virtio/index.js';

/** Bytes in order: host data that waits for guest buffers. Chunks are copied in, so callers may reuse theirs. */
export class ByteFifo {
  #chunks: Uint8Array[] = [];
  #first = 0;
  /** Bytes of the first chunk that are gone. */
  #offset = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(source: Uint8Array, start = 0): void {
    if (start >= source.length) return;
    this.#chunks.push(source.slice(start));
    this.#length += source.length - start;
  }

  /** Moves the first `length` bytes to `target` from byte `skip` on. */
  moveTo(target: SegmentList, skip: number, length: number): void {
    for (let done = 0; done < length; ) {
      const chunk = this.#chunks[this.#first]!;
      const end = Math.min(chunk.length, this.#offset + length - done);
      target.write(skip + done, chunk, this.#offset, end);
      done += end - this.#offset;
      this.#drop(chunk, end);
    }
  }

  /** Takes the rest of the first chunk out; undefined when empty. */
  shift(): Uint8Array | undefined {
    if (this.#length === 0) return undefined;
    const chunk = this.#chunks[this.#first]!;
    const rest = chunk.subarray(this.#offset);
    this.#drop(chunk, chunk.length);
    return rest;
  }

  clear(): void {
    if (this.#chunks.length > 0) this.#chunks = [];
    this.#first = this.#offset = this.#length = 0;
  }

  /** All bytes as one copy. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (let i = this.#first; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i]!;
      const rest = i === this.#first ? chunk.subarray(this.#offset) : chunk;
      bytes.set(rest, at);
      at += rest.length;
    }
    return bytes;
  }

  /** Forgets what is there and holds `bytes` instead. */
  assign(bytes: Uint8Array): void {
    this.clear();
    if (bytes.length > 0) this.push(bytes);
  }

  #drop(chunk: Uint8Array, end: number): void {
    this.#length -= end - this.#offset;
    if (end < chunk.length) {
      this.#offset = end;
      return;
    }
    this.#first++;
    this.#offset = 0;
    // Shifting each time would cost a move of the rest; keeping all would never free it.
    if (this.#first >= 32 || this.#length === 0) {
      this.#chunks.splice(0, this.#first);
      this.#first = 0;
    }
  }
}
