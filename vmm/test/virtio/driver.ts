/** A well-behaved guest driver in TypeScript, for tests: it sets a device up and keeps its rings, as a guest would. */
import { type Gpa, GuestRam, gpa } from '../../src/memory/index.js';
import { MmioTransport, type VirtioDevice, virtio } from '../../src/virtio/index.js';

const { register, status, descriptorFlag, feature } = virtio;

export const RAM_SIZE = 1 << 20;
/** Ring and table addresses start here; each queue of a driver takes QUEUE_STRIDE. */
export const QUEUE_BASE = 0x10000;
export const QUEUE_STRIDE = 0x20000;
const RING_AREA = 0x4000;

export function newRam(size = RAM_SIZE): GuestRam {
  return new GuestRam(new ArrayBuffer(size));
}

/** A buffer of a chain to post: bytes to read, or a number of bytes to be written. */
export type Piece = Uint8Array | number;

/** A chain that came back. */
export interface Completion {
  token: number;
  written: number;
  /** The first `written` bytes of the chain's writable pieces. */
  data: Uint8Array;
}

interface Posted {
  token: number;
  slots: number[];
  writable: { address: Gpa; length: number }[];
}

/** One split virtqueue, driver side. Each buffer lives in a slot of its own. */
export class DriverQueue {
  readonly size: number;
  readonly slotSize: number;
  readonly descriptors: Gpa;
  readonly driverArea: Gpa;
  readonly deviceArea: Gpa;
  readonly #ram: GuestRam;
  readonly #eventIdx: boolean;
  readonly #slots: Gpa;
  readonly #indirectTables: Gpa;
  readonly #posted = new Map<number, Posted>();
  #free: number[];
  #availIdx = 0;
  #usedSeen = 0;
  #tokens = 0;
  /** Kicks that the device asked for; none is expected. */
  kicksWanted = 0;

  constructor(ram: GuestRam, base: number, size: number, eventIdx: boolean) {
    this.#ram = ram;
    this.#eventIdx = eventIdx;
    this.size = size;
    this.descriptors = gpa(base);
    this.driverArea = gpa(base + 16 * size);
    this.deviceArea = gpa(Math.ceil((this.driverArea + 6 + 2 * size) / 4) * 4);
    this.#indirectTables = gpa(base + RING_AREA / 2);
    this.#slots = gpa(base + RING_AREA);
    this.slotSize = Math.floor((QUEUE_STRIDE - RING_AREA) / size);
    this.#free = Array.from({ length: size }, (_, i) => i);
    ram.view(gpa(base), RING_AREA).fill(0);
  }

  get freeSlots(): number {
    return this.#free.length;
  }

  /** Makes a chain available; returns its token, or undefined when there is no room. Readable pieces first. */
  post(pieces: readonly Piece[], indirect = false): number | undefined {
    if (pieces.length > this.#free.length) return undefined;
    const slots = this.#free.splice(0, pieces.length);
    const posted: Posted = { token: this.#tokens++, slots, writable: [] };
    const head = slots[0]!;
    const table = indirect ? gpa(this.#indirectTables + head * 16 * 4) : this.descriptors;
    if (indirect) {
      if (pieces.length > 4) throw new RangeError('indirect tables have 4 entries here');
      this.#describe(this.descriptors, head, table, 16 * pieces.length, descriptorFlag.INDIRECT, 0);
    }
    pieces.forEach((piece, i) => {
      const address = gpa(this.#slots + slots[i]! * this.slotSize);
      const length = typeof piece === 'number' ? piece : piece.length;
      if (length > this.slotSize) throw new RangeError(`a slot has ${this.slotSize} bytes`);
      if (typeof piece === 'number') posted.writable.push({ address, length });
      else this.#ram.write(address, piece);
      const last = i === pieces.length - 1;
      const flags =
        (typeof piece === 'number' ? descriptorFlag.WRITE : 0) | (last ? 0 : descriptorFlag.NEXT);
      const next = last ? 0 : indirect ? i + 1 : slots[i + 1]!;
      this.#describe(table, indirect ? i : slots[i]!, address, length, flags, next);
    });
    this.#posted.set(head, posted);
    this.publish(head);
    return posted.token;
  }

  /** Puts a head into the driver area, whatever it is. */
  publish(head: number): void {
    const ram = this.#ram;
    ram.setU16(gpa(this.driverArea + 4 + 2 * (this.#availIdx % this.size)), head);
    const old = this.#availIdx;
    this.#availIdx = (old + 1) & 0xffff;
    ram.setU16(gpa(this.driverArea + 2), this.#availIdx);
    if (this.#wantsKick(old)) this.kicksWanted++;
  }

  /** Whether the device wants to hear that the index went on from `old` (2.7.10). */
  #wantsKick(old: number): boolean {
    if (!this.#eventIdx) return this.#ram.u16(this.deviceArea) !== virtio.USED_F_NO_NOTIFY;
    const event = this.#ram.u16(gpa(this.deviceArea + 4 + 8 * this.size));
    return ((this.#availIdx - event - 1) & 0xffff) < ((this.#availIdx - old) & 0xffff);
  }

  /** Takes back what the device has returned. */
  collect(): Completion[] {
    const ram = this.#ram;
    const completions: Completion[] = [];
    const usedIdx = ram.u16(gpa(this.deviceArea + 2));
    for (; this.#usedSeen !== usedIdx; this.#usedSeen = (this.#usedSeen + 1) & 0xffff) {
      const element = this.deviceArea + 4 + 8 * (this.#usedSeen % this.size);
      const head = ram.u32(gpa(element));
      const written = ram.u32(gpa(element + 4));
      const posted = this.#posted.get(head);
      if (posted === undefined)
        throw new Error(`the device returned ${head}, which it does not have`);
      this.#posted.delete(head);
      this.#free.push(...posted.slots);
      completions.push({ token: posted.token, written, data: this.#gather(posted, written) });
    }
    return completions;
  }

  /** What the driver itself remembers: it is guest state, so a rewind takes it back too. */
  save() {
    const state = structuredClone({
      posted: [...this.#posted],
      free: this.#free,
      availIdx: this.#availIdx,
      usedSeen: this.#usedSeen,
      tokens: this.#tokens,
    });
    return (): void => {
      const copy = structuredClone(state);
      this.#posted.clear();
      for (const [head, posted] of copy.posted) this.#posted.set(head, posted as Posted);
      this.#free = copy.free;
      this.#availIdx = copy.availIdx;
      this.#usedSeen = copy.usedSeen;
      this.#tokens = copy.tokens;
    };
  }

  #gather(posted: Posted, written: number): Uint8Array {
    const data = new Uint8Array(written);
    let at = 0;
    for (const { address, length } of posted.writable) {
      const part = Math.min(length, written - at);
      data.set(this.#ram.view(address, part), at);
      at += part;
    }
    if (at !== written) throw new Error(`the device says ${written} bytes into a buffer of ${at}`);
    return data;
  }

  #describe(
    table: Gpa,
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    const at = table + 16 * index;
    this.#ram.setU64(gpa(at), address);
    this.#ram.setU32(gpa(at + 8), length);
    this.#ram.setU16(gpa(at + 12), flags);
    this.#ram.setU16(gpa(at + 14), next);
  }
}

export interface DriverOptions {
  /** Feature bit numbers to accept; all that are offered otherwise. */
  features?: number[];
  queueSize?: number;
}

/** A device that is set up and running, with its queues. */
export class GuestDriver {
  readonly transport: MmioTransport;
  readonly queues: DriverQueue[] = [];

  constructor(device: VirtioDevice, options: DriverOptions = {}) {
    this.transport = new MmioTransport(device);
    this.set(register.STATUS, 0);
    this.set(register.STATUS, status.ACKNOWLEDGE);
    this.set(register.STATUS, status.ACKNOWLEDGE | status.DRIVER);
    this.#negotiate(options.features);
    const accepted = status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK;
    this.set(register.STATUS, accepted);
    if (this.get(register.STATUS) !== accepted) throw new Error('features refused');
    for (let i = 0; i < device.queues.length; i++)
      this.#startQueue(device.ram, i, options.queueSize ?? 32);
    this.set(register.STATUS, accepted | status.DRIVER_OK);
  }

  get(offset: number): number {
    return this.transport.read(offset, 4);
  }

  set(offset: number, value: number): void {
    this.transport.write(offset, value, 4);
  }

  /** All of the driver's memory of its queues; the returned function goes back to it. */
  save(): () => void {
    const restores = this.queues.map((queue) => queue.save());
    return () => {
      for (const restore of restores) restore();
    };
  }

  #negotiate(features: number[] | undefined): void {
    for (const word of [0, 1]) {
      this.set(register.DEVICE_FEATURES_SEL, word);
      let value = this.get(register.DEVICE_FEATURES);
      if (features !== undefined) {
        const wanted = [...features, feature.VERSION_1].filter((bit) => bit >> 5 === word);
        value = wanted.reduce((bits, bit) => (bits | (1 << (bit & 31))) >>> 0, 0);
      }
      this.set(register.DRIVER_FEATURES_SEL, word);
      this.set(register.DRIVER_FEATURES, value);
    }
  }

  #startQueue(ram: GuestRam, index: number, wanted: number): void {
    this.set(register.QUEUE_SEL, index);
    const size = Math.min(wanted, this.get(register.QUEUE_NUM_MAX));
    const eventIdx = this.transport.device.negotiated(feature.RING_EVENT_IDX);
    const queue = new DriverQueue(ram, QUEUE_BASE + index * QUEUE_STRIDE, size, eventIdx);
    this.set(register.QUEUE_NUM, size);
    this.#setAddress(register.QUEUE_DESC_LOW, queue.descriptors);
    this.#setAddress(register.QUEUE_DRIVER_LOW, queue.driverArea);
    this.#setAddress(register.QUEUE_DEVICE_LOW, queue.deviceArea);
    this.set(register.QUEUE_READY, 1);
    this.queues.push(queue);
  }

  #setAddress(low: number, address: number): void {
    this.set(low, address % 0x1_0000_0000);
    this.set(low + 4, Math.floor(address / 0x1_0000_0000));
  }
}
