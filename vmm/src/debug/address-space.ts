/**
 * A guest's virtual memory, by its own page tables (Intel SDM vol. 3, 4.5). The guest wrote the tables, so each step is
 * checked: an address that leads nowhere is simply not there.
 */
import { abi } from '@mayfly/protocol';
import { GuestFault } from '../memory/index.js';
import type { ImageFile } from './modules.js';

const { layout } = abi;
/** Of a walk over a whole mapping: more than 16 GiB in pages of 4 KiB take. */
const STEPS_MAX = 8 << 20;
const PRESENT = 1n;
const WRITABLE = 2n;
const LARGE = 0x80n;
const ADDRESS = 0x000f_ffff_ffff_f000n;

interface Place {
  bytes: Uint8Array;
  /** Of the address in `bytes`. */
  offset: number;
  /** Bytes from the address to the end of its page, large or small. */
  length: number;
  writable: boolean;
}

export class AddressSpace {
  readonly #ram: Uint8Array;
  readonly #view: DataView;
  readonly #images: readonly ImageFile[];

  constructor(ram: ArrayBuffer, images: readonly ImageFile[] = []) {
    this.#ram = new Uint8Array(ram);
    this.#view = new DataView(ram);
    this.#images = images;
  }

  /** A copy of `length` bytes at a virtual address; undefined unless all of them are there. */
  read(address: bigint, length: number): Buffer | undefined {
    const out = Buffer.alloc(length);
    const whole = this.#each(address, length, (place, part, done) => {
      out.set(place.bytes.subarray(place.offset, place.offset + part), done);
      return true;
    });
    return whole ? out : undefined;
  }

  /** Writes to RAM. False, with nothing written, unless all of it is mapped writable; with `force`, in any way. */
  write(address: bigint, bytes: Uint8Array, force = false): boolean {
    const writable = this.#each(address, bytes.length, ({ bytes, writable }) =>
      force ? bytes === this.#ram : writable,
    );
    if (!writable) return false;
    return this.#each(address, bytes.length, (place, part, done) => {
      place.bytes.set(bytes.subarray(done, done + part), place.offset);
      return true;
    });
  }

  /** The bytes from an address to the end of its page, not a copy; undefined when nothing is mapped there. */
  pageAt(address: bigint): Uint8Array | undefined {
    const place = this.#find(address);
    if (typeof place === 'number') return undefined;
    return place.bytes.subarray(place.offset, place.offset + place.length);
  }

  /**
   * The parts of [start, end) that are there, in order; `bytes` is no copy. Ends early, with MAYFLY_GUEST_BAD_TABLES, when a
   * guest's tables make more of it than an honest guest has.
   */
  *present(start: bigint, end: bigint): Generator<{ address: bigint; bytes: Uint8Array }> {
    let steps = 0;
    for (let at = start; at < end; ) {
      if (++steps > STEPS_MAX) {
        throw new GuestFault('MAYFLY_GUEST_BAD_TABLES', 'the guest’s page tables have no end');
      }
      const place = this.#find(at);
      if (typeof place === 'number') {
        const step = 1n << BigInt(place);
        at = (at / step + 1n) * step;
      } else {
        const length = Math.min(place.length, Number(end - at));
        yield { address: at, bytes: place.bytes.subarray(place.offset, place.offset + length) };
        at += BigInt(length);
      }
    }
  }

  u64(address: bigint): bigint | undefined {
    return this.read(address, 8)?.readBigUInt64LE();
  }

  #each(
    address: bigint,
    length: number,
    use: (place: Place, part: number, done: number) => boolean,
  ): boolean {
    for (let done = 0; done < length; ) {
      const place = this.#find(address + BigInt(done));
      if (typeof place === 'number') return false;
      const part = Math.min(place.length, length - done);
      if (!use(place, part, done)) return false;
      done += part;
    }
    return true;
  }

  /** Where an address leads; log2 of the size of the hole that it is in when it leads nowhere. */
  #find(address: bigint): Place | number {
    if (address < 0n || address >= 1n << 47n) return 47;
    let table: number = layout.PT_GPA;
    for (let shift = 39; ; shift -= 9) {
      const slot = table + 8 * Number((address >> BigInt(shift)) & 511n);
      if (slot + 8 > this.#view.byteLength) return shift;
      const entry = this.#view.getBigUint64(slot, true);
      if ((entry & PRESENT) === 0n) return shift;
      const leaf = shift === 12 || (shift <= 30 && (entry & LARGE) !== 0n);
      if (leaf) return this.#place(entry, address, shift);
      table = Number(entry & ADDRESS);
    }
  }

  #place(entry: bigint, address: bigint, shift: number): Place | number {
    const size = 2 ** shift;
    const within = Number(address % BigInt(size));
    const page = Number(entry & ADDRESS & ~(BigInt(size) - 1n));
    const at = page + within;
    const length = size - within;
    if (at + length <= this.#ram.length) {
      return { bytes: this.#ram, offset: at, length, writable: (entry & WRITABLE) !== 0n };
    }
    const image = this.#images.find((i) => at >= i.gpa && at < i.gpa + i.bytes.length);
    if (image === undefined) return shift;
    const offset = at - image.gpa;
    const rest = Math.min(length, image.bytes.length - offset);
    return { bytes: image.bytes, offset, length: rest, writable: false };
  }
}
