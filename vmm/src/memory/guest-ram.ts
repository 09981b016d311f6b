import { MayflyError } from '@mayfly/protocol';
import { GuestFault } from './guest-fault.js';

declare const gpaBrand: unique symbol;

/** A guest-physical address in bytes. Nothing has been checked yet: only GuestRam turns it into memory. */
export type Gpa = number & { readonly [gpaBrand]: true };

/** Names a number as a guest-physical address. */
export function gpa(address: number): Gpa {
  return address as Gpa;
}

/** The address `bytes` after `base`. */
export function offsetGpa(base: Gpa, bytes: number): Gpa {
  return (base + bytes) as Gpa;
}

const TWO_32 = 0x1_0000_0000;
/** High halves from here on would not fit a number exactly (2^53). */
const HIGH_LIMIT = 0x20_0000;

/**
 * The guest's RAM as the host sees it: one slot, guest-physical 0 up to `size`. Every access is checked here.
 *
 * Devices run on the thread that enters the guest, so the guest stands still while they read: a value that was
 * checked stays what it was until the guest is entered again.
 */
export class GuestRam {
  #bytes: Uint8Array;
  #data: DataView;
  #size: number;

  constructor(buffer: ArrayBuffer) {
    this.#bytes = new Uint8Array(buffer);
    this.#data = new DataView(buffer);
    this.#size = buffer.byteLength;
  }

  /** Bytes of RAM. */
  get size(): number {
    return this.#size;
  }

  /**
   * Points at another buffer of the same size (another clone of the same template).
   * Views handed out before keep showing the old buffer.
   */
  attach(buffer: ArrayBuffer): void {
    if (buffer.byteLength !== this.#size) {
      throw new MayflyError(
        'MAYFLY_RAM_SIZE_CHANGED',
        `guest RAM has ${this.#size} bytes, the new buffer ${buffer.byteLength}`,
      );
    }
    this.#bytes = new Uint8Array(buffer);
    this.#data = new DataView(buffer);
  }

  /** No access works any more: the machine is closed, and its memory may be another's by now. */
  close(): void {
    this.#size = 0;
    this.attach(new ArrayBuffer(0));
  }

  /** Throws GuestFault unless [at, at + length) lies in RAM. */
  check(at: Gpa, length: number): void {
    if (!(at >= 0 && length >= 0 && at + length <= this.#size)) badAddress(at, length, this.#size);
  }

  /** RAM itself, not a copy: it changes when the guest runs and when it is rewound. */
  view(at: Gpa, length: number): Uint8Array {
    this.check(at, length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Copies source[start, end) to guest address `at`. */
  write(at: Gpa, source: Uint8Array, start = 0, end = source.length): void {
    this.check(at, end - start);
    const whole = start === 0 && end === source.length;
    this.#bytes.set(whole ? source : source.subarray(start, end), at);
  }

  /** Copies `length` bytes at guest address `at` to target[start...]. */
  read(at: Gpa, target: Uint8Array, start = 0, length = target.length - start): void {
    this.check(at, length);
    target.set(this.#bytes.subarray(at, at + length), start);
  }

  u8(at: Gpa): number {
    this.check(at, 1);
    return this.#data.getUint8(at);
  }

  u16(at: Gpa): number {
    this.check(at, 2);
    return this.#data.getUint16(at, true);
  }

  u32(at: Gpa): number {
    this.check(at, 4);
    return this.#data.getUint32(at, true);
  }

  /** A little-endian u64 as a number; GuestFault MAYFLY_GUEST_BAD_VALUE from 2^53 on. */
  u64(at: Gpa): number {
    this.check(at, 8);
    const high = this.#data.getUint32(at + 4, true);
    if (high >= HIGH_LIMIT) {
      throw new GuestFault('MAYFLY_GUEST_BAD_VALUE', `u64 at ${hex(at)} is 2^53 or more`);
    }
    return high * TWO_32 + this.#data.getUint32(at, true);
  }

  setU8(at: Gpa, value: number): void {
    this.check(at, 1);
    this.#data.setUint8(at, value);
  }

  setU16(at: Gpa, value: number): void {
    this.check(at, 2);
    this.#data.setUint16(at, value, true);
  }

  setU32(at: Gpa, value: number): void {
    this.check(at, 4);
    this.#data.setUint32(at, value, true);
  }

  /** `value`: an integer of the host's, 0 up to 2^53. */
  setU64(at: Gpa, value: number): void {
    this.check(at, 8);
    this.#data.setUint32(at, value % TWO_32, true);
    this.#data.setUint32(at + 4, Math.floor(value / TWO_32), true);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function badAddress(at: number, length: number, size: number): never {
  throw new GuestFault(
    'MAYFLY_GUEST_BAD_ADDRESS',
    `${length} bytes at ${hex(at)} are not in RAM, which ends at ${hex(size)}`,
  );
}
