import { type Gpa, GuestFault, type GuestRam, gpa, offsetGpa } from '../memory/index.js';
import { DESCRIPTOR_SIZE, descriptorFlag, USED_F_NO_NOTIFY } from './constants.js';
import { SegmentList } from './segments.js';

/** One request of the driver, valid until the next pop() of its queue. */
export interface Chain {
  /** Index of the first descriptor: what addUsed() returns to the driver. */
  head: number;
  /** What the driver says to the device. */
  readonly readable: SegmentList;
  /** Where the device may answer. */
  readonly writable: SegmentList;
}

/** What a checkpoint keeps of a queue. Addresses are guest-physical. */
export interface QueueState {
  size: number;
  ready: boolean;
  descriptors: number;
  driver: number;
  device: number;
  lastAvail: number;
  usedIdx: number;
}

/** What the queues of one device have in common. Its owner sets the features when they are negotiated. */
export interface QueueContext {
  readonly ram: GuestRam;
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  indirect: boolean;
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  eventIdx: boolean;
  /** Set when a buffer is returned to the driver. */
  gaveUsed: boolean;
  /** Set when a buffer is returned with something in it. */
  gaveInput: boolean;
}

/**
 * A split virtqueue, device side (virtio 1.2, section 2.7). It knows rings and chains, and no device.
 *
 * ```
 *  driver area  flags idx ring[size] used_event      written by the driver: "take these chains"
 *  device area  flags idx ring[size] avail_event     written here: "these are done"
 *  descriptors  addr len flags next  x size
 * ```
 *
 * Notifications are off in both directions: nothing interrupts the guest, which polls, and the driver is told never
 * to kick, since the VMM looks at every queue whenever the guest has nothing left to do.
 *
 * Everything malformed throws GuestFault MAYFLY_VIRTIO_*. Each time that the guest stops it can have made at most `size`
 * chains available; refill() says that it ran. More never come out, even of rings that the device's own writes change
 * because a guest has laid its buffers over them.
 */
export class Virtqueue {
  readonly index: number;
  readonly sizeMax: number;
  /** Set by the driver before it makes the queue ready. */
  size: number;
  descriptors: Gpa = gpa(0);
  driver: Gpa = gpa(0);
  device: Gpa = gpa(0);

  readonly #ram: GuestRam;
  readonly #context: QueueContext;
  readonly #chain: Chain;
  #ready = false;
  #lastAvail = 0;
  #usedIdx = 0;
  #pending = 0;
  #budget = 0;

  constructor(context: QueueContext, index: number, sizeMax: number) {
    const ram = context.ram;
    this.#ram = ram;
    this.#context = context;
    this.index = index;
    this.sizeMax = sizeMax;
    this.size = sizeMax;
    this.#chain = { head: 0, readable: new SegmentList(ram), writable: new SegmentList(ram) };
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Checks the rings once and starts the queue from index 0. */
  activate(): void {
    this.#checkRings();
    this.#ready = true;
    this.#lastAvail = 0;
    this.#usedIdx = 0;
    this.#pending = 0;
    this.refill();
    this.#ram.setU16(this.device, this.#context.eventIdx ? 0 : USED_F_NO_NOTIFY);
    this.#suppressKicks();
  }

  deactivate(): void {
    this.#ready = false;
    this.#pending = 0;
  }

  /** The guest ran: it may have made `size` chains available. */
  refill(): void {
    this.#budget = this.size;
  }

  reset(): void {
    this.deactivate();
    this.size = this.sizeMax;
    this.descriptors = this.driver = this.device = gpa(0);
    this.#lastAvail = 0;
    this.#usedIdx = 0;
  }

  /** Reads the driver's index: how many chains wait, at most `size`; 0 while the queue is not ready. */
  take(): number {
    if (!this.#ready) return 0;
    const idx = this.#ram.u16(offsetGpa(this.driver, 2));
    const pending = (idx - this.#lastAvail) & 0xffff;
    if (pending > this.size) {
      this.#fault('AVAIL_OVERRUN', `index runs ${pending} ahead of a queue of ${this.size}`);
    }
    this.#pending = Math.min(pending, this.#budget);
    return this.#pending;
  }

  /** The next chain of those that take() saw. Give it back with addUsed(). */
  pop(): Chain | undefined {
    if (this.#pending === 0) return undefined;
    const slot = this.#lastAvail & (this.size - 1);
    const head = this.#ram.u16(offsetGpa(this.driver, 4 + 2 * slot));
    this.#pending--;
    this.#budget--;
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    this.#parse(head);
    return this.#chain;
  }

  /** Like pop(), looking at the driver's index again when nothing is left of the last take(). */
  popFresh(): Chain | undefined {
    if (this.#pending === 0 && this.take() === 0) return undefined;
    return this.pop();
  }

  /** Returns a chain to the driver; `written` bytes of its writable part were filled. */
  addUsed(head: number, written: number): void {
    const element = offsetGpa(this.device, 4 + 8 * (this.#usedIdx & (this.size - 1)));
    this.#ram.setU32(element, head);
    this.#ram.setU32(offsetGpa(element, 4), written);
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#ram.setU16(offsetGpa(this.device, 2), this.#usedIdx);
    this.#suppressKicks();
    this.#context.gaveUsed = true;
    if (written > 0) this.#context.gaveInput = true;
  }

  save(): QueueState {
    return {
      size: this.size,
      ready: this.#ready,
      descriptors: this.descriptors,
      driver: this.driver,
      device: this.device,
      lastAvail: this.#lastAvail,
      usedIdx: this.#usedIdx,
    };
  }

  /** Takes a saved state over; the rings in guest memory are of the same moment. Features must be set before. */
  restore(state: QueueState): void {
    this.size = state.size;
    this.descriptors = gpa(state.descriptors);
    this.driver = gpa(state.driver);
    this.device = gpa(state.device);
    this.#ready = state.ready;
    if (state.ready) this.#checkRings();
    this.#lastAvail = state.lastAvail;
    this.#usedIdx = state.usedIdx;
    this.#pending = 0;
    this.refill();
  }

  #checkRings(): void {
    const size = this.size;
    if (size < 1 || size > this.sizeMax || (size & (size - 1)) !== 0) {
      this.#fault('BAD_QUEUE_SIZE', `size ${size} is not a power of two up to ${this.sizeMax}`);
    }
    this.#checkRing('descriptor table', this.descriptors, 16, DESCRIPTOR_SIZE * size);
    this.#checkRing('driver area', this.driver, 2, 6 + 2 * size);
    this.#checkRing('device area', this.device, 4, 6 + 8 * size);
  }

  #checkRing(what: string, at: Gpa, alignment: number, bytes: number): void {
    if (at % alignment !== 0) {
      this.#fault(
        'BAD_RING_ADDRESS',
        `${what} at 0x${at.toString(16)} is not ${alignment}-aligned`,
      );
    }
    this.#ram.check(at, bytes);
  }

  /** "Kick me when you pass the entry that I have just taken", which never happens again (2.7.10). */
  #suppressKicks(): void {
    if (!this.#context.eventIdx) return;
    this.#ram.setU16(offsetGpa(this.device, 4 + 8 * this.size), (this.#lastAvail - 1) & 0xffff);
  }

  /** Fills #chain from the descriptors that start at `head`. */
  #parse(head: number): void {
    const chain = this.#chain;
    chain.head = head;
    chain.readable.clear();
    chain.writable.clear();
    let table = this.descriptors;
    let entries = this.size;
    let next = head;
    let nested = false;
    // Counts buffers in the ring's table and in the indirect one: a chain, loops included, ends here at the latest.
    for (let length = 1; ; length++) {
      if (next >= entries) this.#fault('BAD_INDEX', `descriptor ${next} of a table of ${entries}`);
      if (length > this.size)
        this.#fault('CHAIN_TOO_LONG', `a loop, or more than ${this.size} long`);
      const at = offsetGpa(table, next * DESCRIPTOR_SIZE);
      const flags = this.#ram.u16(offsetGpa(at, 12));
      if ((flags & descriptorFlag.INDIRECT) !== 0) {
        entries = this.#enterIndirect(at, flags, nested);
        nested = true;
        table = gpa(this.#ram.u64(at));
        next = 0;
        length--; // the descriptor that names the table is no buffer
        continue;
      }
      this.#addSegment(at, flags);
      if ((flags & descriptorFlag.NEXT) === 0) return;
      next = this.#ram.u16(offsetGpa(at, 14));
    }
  }

  /** Checks a descriptor that names an indirect table (2.7.5.3) and returns the table's entries. */
  #enterIndirect(at: Gpa, flags: number, nested: boolean): number {
    if (!this.#context.indirect) {
      this.#fault('INDIRECT_NOT_NEGOTIATED', 'indirect descriptor without the feature');
    }
    if (nested) this.#fault('INDIRECT_NESTED', 'indirect table inside an indirect table');
    if ((flags & descriptorFlag.NEXT) !== 0) {
      this.#fault('INDIRECT_NEXT', 'indirect descriptor with a next one');
    }
    const bytes = this.#ram.u32(offsetGpa(at, 8));
    if (bytes === 0 || bytes % DESCRIPTOR_SIZE !== 0) {
      this.#fault('INDIRECT_LENGTH', `indirect table of ${bytes} bytes`);
    }
    this.#ram.check(gpa(this.#ram.u64(at)), bytes);
    return bytes / DESCRIPTOR_SIZE;
  }

  #addSegment(at: Gpa, flags: number): void {
    const address = gpa(this.#ram.u64(at));
    const bytes = this.#ram.u32(offsetGpa(at, 8));
    if (bytes === 0) this.#fault('ZERO_LENGTH', 'buffer of no bytes');
    if ((flags & descriptorFlag.WRITE) !== 0) {
      this.#chain.writable.push(address, bytes);
      return;
    }
    if (this.#chain.writable.count > 0) {
      this.#fault('READABLE_AFTER_WRITABLE', 'readable buffer after a writable one');
    }
    this.#chain.readable.push(address, bytes);
  }

  #fault(code: string, message: string): never {
    throw new GuestFault(`MAYFLY_VIRTIO_${code}`, `queue ${this.index}: ${message}`);
  }
}
