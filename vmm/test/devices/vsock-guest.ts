/** The guest's side of virtio-vsock for tests: packets, and sockets that keep to their credit. */
import type { VsockDevice } from '../../src/devices/index.js';
import { type DriverOptions, GuestDriver } from '../virtio/driver.js';

export const op = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;

export const GUEST_CID = 3;

export interface Packet {
  source: bigint;
  target: bigint;
  hostPort: number;
  guestPort: number;
  type: number;
  op: number;
  flags: number;
  bufAlloc: number;
  fwdCnt: number;
  payload: Buffer;
}

export class VsockGuest {
  readonly device: VsockDevice;
  readonly driver: GuestDriver;
  /** Posted receive buffers are this large, header included. */
  bufferSize: number;

  constructor(device: VsockDevice, options: DriverOptions & { bufferSize?: number } = {}) {
    this.device = device;
    this.bufferSize = options.bufferSize ?? 1024;
    this.driver = new GuestDriver(device, { queueSize: 32, ...options });
  }

  /** Posts up to `count` receive buffers, some in two pieces that split the header. */
  post(count: number): void {
    for (let i = 0; i < count; i++) {
      const split = i % 3;
      const pieces =
        split === 0
          ? [this.bufferSize]
          : split === 1
            ? [44, this.bufferSize - 44]
            : [20, this.bufferSize - 20];
      if (this.driver.queues[0]!.post(pieces, i % 2 === 1) === undefined) return;
    }
  }

  /** Queues one packet; false when the ring is full. */
  send(packet: Partial<Packet> & { op: number }): boolean {
    const header = Buffer.alloc(44);
    const payload = packet.payload ?? Buffer.alloc(0);
    header.writeBigUInt64LE(packet.source ?? BigInt(GUEST_CID), 0);
    header.writeBigUInt64LE(packet.target ?? 2n, 8);
    header.writeUInt32LE(packet.guestPort ?? 1000, 16);
    header.writeUInt32LE(packet.hostPort ?? 80, 20);
    header.writeUInt32LE(payload.length, 24);
    header.writeUInt16LE(packet.type ?? 1, 28);
    header.writeUInt16LE(packet.op, 30);
    header.writeUInt32LE(packet.flags ?? 0, 32);
    header.writeUInt32LE(packet.bufAlloc ?? 65536, 36);
    header.writeUInt32LE(packet.fwdCnt ?? 0, 40);
    const pieces = payload.length > 0 ? [header, payload] : [header];
    const tx = this.driver.queues[1]!;
    tx.collect();
    return tx.post(pieces) !== undefined;
  }

  /** Packets that the host has sent since the last call. */
  receive(): Packet[] {
    return this.driver.queues[0]!.collect().map(({ data }) => {
      const bytes = Buffer.from(data);
      const length = bytes.readUInt32LE(24);
      if (bytes.length !== 44 + length)
        throw new Error(`used length ${bytes.length}, packet ${length}`);
      return {
        source: bytes.readBigUInt64LE(0),
        target: bytes.readBigUInt64LE(8),
        hostPort: bytes.readUInt32LE(16),
        guestPort: bytes.readUInt32LE(20),
        type: bytes.readUInt16LE(28),
        op: bytes.readUInt16LE(30),
        flags: bytes.readUInt32LE(32),
        bufAlloc: bytes.readUInt32LE(36),
        fwdCnt: bytes.readUInt32LE(40),
        payload: bytes.subarray(44),
      };
    });
  }
}

/** One stream in the guest: it checks the host's use of credit, and keeps to its own. */
export class GuestSocket {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly bufAlloc: number;
  readonly received: Buffer[] = [];
  open = false;
  /** Flags of the host's SHUTDOWN packets. */
  hostShutdown = 0;
  reset = false;
  readonly #guest: VsockGuest;
  #buffered = 0;
  #fwdCnt = 0;
  #toldFwdCnt = 0;
  #hostSent = 0;
  #sent = 0;
  #hostBufAlloc = 0;
  #hostFwdCnt = 0;

  constructor(guest: VsockGuest, hostPort: number, guestPort: number, bufAlloc: number) {
    this.#guest = guest;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.bufAlloc = bufAlloc;
  }

  /** Bytes that the guest may still send. */
  get credit(): number {
    return this.#hostBufAlloc - (this.#sent - this.#hostFwdCnt);
  }

  get waiting(): number {
    return this.#buffered;
  }

  packet(operation: number, more: Partial<Packet> = {}): boolean {
    const sent = this.#guest.send({
      hostPort: this.hostPort,
      guestPort: this.guestPort,
      op: operation,
      bufAlloc: this.bufAlloc,
      fwdCnt: this.#fwdCnt >>> 0,
      ...more,
    });
    if (sent) this.#toldFwdCnt = this.#fwdCnt;
    return sent;
  }

  /** Sends as much of `bytes` as credit allows; returns how much. */
  write(bytes: Buffer): number {
    const length = Math.min(bytes.length, this.credit);
    if (length <= 0 || !this.packet(op.RW, { payload: bytes.subarray(0, length) })) return 0;
    this.#sent += length;
    return length;
  }

  /** The program reads: the host gets credit back. */
  read(length: number): void {
    const taken = Math.min(length, this.#buffered);
    this.#buffered -= taken;
    this.#fwdCnt += taken;
    if (this.#fwdCnt !== this.#toldFwdCnt) this.packet(op.CREDIT_UPDATE);
  }

  handle(packet: Packet): void {
    this.#hostBufAlloc = packet.bufAlloc;
    this.#hostFwdCnt = packet.fwdCnt;
    if (packet.op === op.RESPONSE) this.open = true;
    if (packet.op === op.SHUTDOWN) this.hostShutdown |= packet.flags;
    if (packet.op === op.RST) this.reset = true;
    if (packet.op === op.CREDIT_REQUEST) this.packet(op.CREDIT_UPDATE);
    if (packet.op !== op.RW) return;
    this.#hostSent += packet.payload.length;
    if (this.#hostSent - this.#toldFwdCnt > this.bufAlloc)
      throw new Error('the host exceeded its credit');
    if (packet.payload.length === 0) throw new Error('a data packet without data');
    this.#buffered += packet.payload.length;
    this.received.push(Buffer.from(packet.payload));
  }

  save(): () => void {
    const saved = [
      this.received.length,
      this.#buffered,
      this.#fwdCnt,
      this.#toldFwdCnt,
      this.#hostSent,
      this.#sent,
      this.#hostBufAlloc,
      this.#hostFwdCnt,
      this.hostShutdown,
    ] as const;
    const { open, reset } = this;
    return () => {
      this.received.length = saved[0];
      [, this.#buffered, this.#fwdCnt, this.#toldFwdCnt, this.#hostSent, this.#sent] = saved;
      [, , , , , , this.#hostBufAlloc, this.#hostFwdCnt, this.hostShutdown] = saved;
      this.open = open;
      this.reset = reset;
    };
  }
}
