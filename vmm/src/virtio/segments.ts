import { type Gpa, GuestFault, type GuestRam, offsetGpa } from '../memory/index.js';

/**
 * The readable or the writable part of a descriptor chain: pieces of guest memory, in order, each checked to lie in RAM.
 * One list lives as long as its queue and is filled again for each chain.
 */
export class SegmentList {
  readonly #ram: GuestRam;
  readonly #addresses: Gpa[] = [];
  readonly #lengths: number[] = [];
  /** Bytes before each piece. */
  readonly #starts: number[] = [];
  #count = 0;
  #bytes = 0;

  constructor(ram: GuestRam) {
    this.#ram = ram;
  }

  /** Number of pieces. */
  get count(): number {
    return this.#count;
  }

  /** Bytes in all pieces. */
  get bytes(): number {
    return this.#bytes;
  }

  clear(): void {
    this.#count = 0;
    this.#bytes = 0;
  }

  /** Adds a piece; GuestFault when it is not in RAM. */
  push(address: Gpa, length: number): void {
    this.#ram.check(address, length);
    this.#addresses[this.#count] = address;
    this.#lengths[this.#count] = length;
    this.#starts[this.#count] = this.#bytes;
    this.#count++;
    this.#bytes += length;
  }

  /** Copies bytes [skip, skip + target.length) to `target`; GuestFault when there are fewer. */
  read(skip: number, target: Uint8Array): void {
    this.#need(skip + target.length);
    let done = 0;
    let rest = skip;
    for (let i = 0; done < target.length; i++) {
      const have = this.#lengths[i]!;
      const length = Math.min(have - rest, target.length - done);
      if (length > 0) {
        this.#ram.read(offsetGpa(this.#addresses[i]!, rest), target, done, length);
        done += length;
      }
      rest = Math.max(0, rest - have);
    }
  }

  /** Copies source[start, end) to the bytes from `skip` on; GuestFault when they do not fit. */
  write(skip: number, source: Uint8Array, start = 0, end = source.length): void {
    this.#need(skip + end - start);
    let from = start;
    let rest = skip;
    for (let i = 0; from < end; i++) {
      const have = this.#lengths[i]!;
      const length = Math.min(have - rest, end - from);
      if (length > 0) {
        this.#ram.write(offsetGpa(this.#addresses[i]!, rest), source, from, from + length);
        from += length;
      }
      rest = Math.max(0, rest - have);
    }
  }

  /**
   * The piece number `index` cut to bytes [skip, skip + length) of the whole list: a view of guest memory,
   * undefined where nothing of it falls into that range. Loop index over 0 up to `count`.
   */
  slice(index: number, skip: number, length: number): Uint8Array | undefined {
    const before = this.#starts[index]!;
    const start = Math.max(before, skip);
    const end = Math.min(before + this.#lengths[index]!, skip + length);
    if (start >= end) return undefined;
    return this.#ram.view(offsetGpa(this.#addresses[index]!, start - before), end - start);
  }

  #need(bytes: number): void {
    if (bytes > this.#bytes) {
      throw new GuestFault(
        'MAYFLY_VIRTIO_SHORT_BUFFER',
        `the buffer has ${this.#bytes} bytes, ${bytes} are needed`,
      );
    }
  }
}
