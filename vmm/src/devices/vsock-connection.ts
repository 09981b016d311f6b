import { MayflyError } from '@mayfly/protocol';
import type { SegmentList } from '../virtio/index.js';
import { ByteFifo } from './byte-fifo.js';
import { HEADER_SIZE, op, type PacketHeader, shutdown } from './vsock-packet.js';
import type { VsockCloseReason, VsockStream } from './vsock-stream.js';

/** Bytes that may wait for the guest before write() asks for a pause. */
const WRITE_HIGH_WATER = 256 * 1024;

/** What a checkpoint keeps of a stream. Counters are 32 bits wide and wrap, as on the wire (5.10.6.3). */
export interface ConnectionState {
  hostPort: number;
  guestPort: number;
  phase: Phase;
  pending: number;
  sent: number;
  peerBufAlloc: number;
  peerFwdCnt: number;
  bufAlloc: number;
  fwdCnt: number;
  toldFwdCnt: number;
  hostEnded: boolean;
  shutdownSent: number;
  peerShutdown: number;
  endSeen: boolean;
  paused: boolean;
  creditAsked: boolean;
  output: Uint8Array;
  input: Uint8Array;
}

type Phase = 'connecting' | 'open' | 'closed';

/** Packets without data that wait to be sent, one bit each: a guest cannot make them pile up. */
export const pendingBit = { REQUEST: 1, RESPONSE: 2, CREDIT_UPDATE: 4 } as const;

/** What a connection needs of its device. */
export interface ConnectionOwner {
  /** Puts bytes straight into the guest's buffers; returns how many went. */
  sendNow(connection: Connection, bytes: Uint8Array): number;
  /** The connection has something to send: do it as soon as there are buffers. */
  schedule(connection: Connection): void;
  /** The connection is over; with `reset`, the guest is told. */
  drop(connection: Connection, reset: boolean): void;
}

const ignore = (): void => {};

/** One stream, both directions: the host's VsockStream and the protocol behind it (virtio 1.2, section 5.10.6). */
export class Connection implements VsockStream {
  readonly hostPort: number;
  readonly guestPort: number;
  onOpen: () => void = ignore;
  onData: (chunk: Uint8Array) => void = ignore;
  onEnd: () => void = ignore;
  onDrain: () => void = ignore;
  onClose: (reason: VsockCloseReason) => void = ignore;

  /** Bits of `pendingBit`. */
  pending = 0;
  /** In the device's list of connections that have something to send. */
  scheduled = false;
  /** The device's mark while it restores. */
  mark = 0;

  readonly #owner: ConnectionOwner;
  readonly #output = new ByteFifo();
  readonly #input = new ByteFifo();
  #phase: Phase;
  #sent = 0;
  #peerBufAlloc = 0;
  #peerFwdCnt = 0;
  #bufAlloc: number;
  #fwdCnt = 0;
  #toldFwdCnt = 0;
  #hostEnded = false;
  #shutdownSent = 0;
  #peerShutdown = 0;
  #endSeen = false;
  #paused = false;
  #creditAsked = false;
  #drainWanted = false;

  constructor(
    owner: ConnectionOwner,
    hostPort: number,
    guestPort: number,
    phase: Phase,
    bufAlloc: number,
  ) {
    this.#owner = owner;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.#phase = phase;
    this.#bufAlloc = bufAlloc;
  }

  get closed(): boolean {
    return this.#phase === 'closed';
  }

  get bufferedBytes(): number {
    return this.#output.length;
  }

  /** Bytes that the guest has room for, by its last word. */
  get credit(): number {
    const inFlight = (this.#sent - this.#peerFwdCnt) >>> 0;
    return Math.max(0, this.#peerBufAlloc - inFlight);
  }

  write(bytes: Uint8Array): boolean {
    if (this.#hostEnded) throw new MayflyError('MAYFLY_VSOCK_ENDED', 'write after end()');
    if (this.#deaf) return true;
    const idle = this.#phase === 'open' && this.#output.length === 0 && this.pending === 0;
    const sent = idle ? this.#owner.sendNow(this, bytes) : 0;
    if (sent < bytes.length) {
      this.#output.push(bytes, sent);
      this.#owner.schedule(this);
    }
    const room = this.#output.length < WRITE_HIGH_WATER;
    if (!room) this.#drainWanted = true;
    return room;
  }

  end(): void {
    if (this.#hostEnded) return;
    this.#hostEnded = true;
    if (this.#phase !== 'closed') this.#owner.schedule(this);
  }

  destroy(): void {
    this.#close('destroyed', true);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    while (!this.#paused) {
      const chunk = this.#input.shift();
      if (chunk === undefined) break;
      this.#deliver(chunk);
    }
    this.#settleInput();
  }

  /** Data from the guest: `length` bytes behind the header. Breaks the stream when it exceeds the guest's credit. */
  receive(packet: SegmentList, length: number): void {
    const forbidden = this.#phase !== 'open' || (this.#peerShutdown & shutdown.SEND) !== 0;
    if (forbidden || this.#input.length + length > this.#bufAlloc) {
      this.#close('reset', true);
      return;
    }
    for (let i = 0; i < packet.count; i++) {
      const chunk = packet.slice(i, HEADER_SIZE, length);
      if (chunk === undefined) continue;
      if (this.#paused || this.#input.length > 0) this.#input.push(chunk);
      else this.#deliver(chunk);
      if (this.closed) return;
    }
    this.#offerCredit();
  }

  /** The guest's view of the credit, part of each packet. */
  updateCredit(bufAlloc: number, fwdCnt: number): void {
    if (bufAlloc === this.#peerBufAlloc && fwdCnt === this.#peerFwdCnt) return;
    this.#peerBufAlloc = bufAlloc;
    this.#peerFwdCnt = fwdCnt;
    this.#creditAsked = false;
    if (this.#output.length > 0) this.#owner.schedule(this);
  }

  /** The guest accepted a connect(). */
  accepted(): void {
    if (this.#phase !== 'connecting') {
      this.#close('reset', true);
      return;
    }
    this.#phase = 'open';
    this.#owner.schedule(this);
    this.onOpen();
  }

  /** SHUTDOWN from the guest: hints that only ever add up. */
  peerShutdown(flags: number): void {
    this.#peerShutdown |= flags & shutdown.BOTH;
    if ((this.#peerShutdown & shutdown.RECEIVE) !== 0) this.#output.clear();
    this.#settleInput();
    if (!this.closed) this.#owner.schedule(this);
  }

  /** RST from the guest. */
  peerReset(): void {
    if (this.#phase === 'connecting') this.#close('refused', false);
    else this.#close(this.#shutdownSent === shutdown.BOTH ? 'closed' : 'reset', false);
  }

  /** The driver starts anew: what the guest has not heard of waits for it, all else is gone. */
  deviceReset(): void {
    if (this.#phase === 'connecting') {
      this.pending |= pendingBit.REQUEST;
      this.#owner.schedule(this);
    } else this.#close('reset', false);
  }

  /** The guest broke the protocol. */
  abort(): void {
    this.#close('reset', true);
  }

  /** The machine went back to a moment before this stream. */
  rewind(): void {
    this.#close('rewound', false);
  }

  /** The next packet to send, as its op; 0 when there is none. Data only while there is credit. */
  nextOp(): number {
    if (this.#phase === 'closed') return 0;
    if ((this.pending & pendingBit.REQUEST) !== 0) return op.REQUEST;
    if ((this.pending & pendingBit.RESPONSE) !== 0) return op.RESPONSE;
    if (this.#phase === 'connecting') return 0;
    if (this.#output.length > 0) {
      if (this.credit > 0) return op.RW;
      if (!this.#creditAsked) return op.CREDIT_REQUEST;
    } else if ((this.#shutdownFlags() & ~this.#shutdownSent) !== 0) return op.SHUTDOWN;
    return (this.pending & pendingBit.CREDIT_UPDATE) !== 0 ? op.CREDIT_UPDATE : 0;
  }

  /** Fills in what a packet of this connection says, and notes that it is sent. */
  stamp(header: PacketHeader, operation: number, length: number): void {
    header.sourcePort = this.hostPort;
    header.targetPort = this.guestPort;
    header.op = operation;
    header.length = length;
    header.flags = 0;
    header.bufAlloc = this.#bufAlloc;
    header.fwdCnt = this.#fwdCnt;
    this.#toldFwdCnt = this.#fwdCnt;
    this.pending &= ~pendingBit.CREDIT_UPDATE;
    this.#sent = (this.#sent + length) >>> 0;
    if (operation === op.REQUEST) this.pending &= ~pendingBit.REQUEST;
    else if (operation === op.RESPONSE) this.pending &= ~pendingBit.RESPONSE;
    else if (operation === op.CREDIT_REQUEST) this.#creditAsked = true;
    else if (operation === op.SHUTDOWN) {
      header.flags = this.#shutdownFlags();
      this.#shutdownSent = header.flags;
    }
  }

  /** Moves waiting bytes behind the header of a packet. */
  moveOutput(to: SegmentList, length: number): void {
    this.#output.moveTo(to, HEADER_SIZE, length);
  }

  /** To be called after moveOutput(), when the packet has been returned. */
  outputMoved(): void {
    if (this.#output.length > 0 || !this.#drainWanted) return;
    this.#drainWanted = false;
    this.onDrain();
  }

  save(): ConnectionState {
    return {
      hostPort: this.hostPort,
      guestPort: this.guestPort,
      phase: this.#phase,
      pending: this.pending,
      sent: this.#sent,
      peerBufAlloc: this.#peerBufAlloc,
      peerFwdCnt: this.#peerFwdCnt,
      bufAlloc: this.#bufAlloc,
      fwdCnt: this.#fwdCnt,
      toldFwdCnt: this.#toldFwdCnt,
      hostEnded: this.#hostEnded,
      shutdownSent: this.#shutdownSent,
      peerShutdown: this.#peerShutdown,
      endSeen: this.#endSeen,
      paused: this.#paused,
      creditAsked: this.#creditAsked,
      output: this.#output.toBytes(),
      input: this.#input.toBytes(),
    };
  }

  restore(state: ConnectionState): void {
    this.#phase = state.phase;
    this.pending = state.pending;
    this.scheduled = false;
    this.#sent = state.sent;
    this.#peerBufAlloc = state.peerBufAlloc;
    this.#peerFwdCnt = state.peerFwdCnt;
    this.#bufAlloc = state.bufAlloc;
    this.#fwdCnt = state.fwdCnt;
    this.#toldFwdCnt = state.toldFwdCnt;
    this.#hostEnded = state.hostEnded;
    this.#shutdownSent = state.shutdownSent;
    this.#peerShutdown = state.peerShutdown;
    this.#endSeen = state.endSeen;
    this.#paused = state.paused;
    this.#creditAsked = state.creditAsked;
    this.#drainWanted = false;
    this.#output.assign(state.output);
    this.#input.assign(state.input);
  }

  /** Nothing that is written can reach the guest. */
  get #deaf(): boolean {
    return this.#phase === 'closed' || (this.#peerShutdown & shutdown.RECEIVE) !== 0;
  }

  /** Counts bytes as consumed first, so that an answer written by onData already carries the credit. */
  #deliver(chunk: Uint8Array): void {
    this.#fwdCnt = (this.#fwdCnt + chunk.length) >>> 0;
    this.onData(chunk);
  }

  /** Tells the guest about its credit once half of it is used up. */
  #offerCredit(): void {
    if (this.closed) return;
    const untold = (this.#fwdCnt - this.#toldFwdCnt) >>> 0;
    if (untold === 0 || untold < this.#bufAlloc >>> 1) return;
    this.pending |= pendingBit.CREDIT_UPDATE;
    this.#owner.schedule(this);
  }

  /** After input was delivered: end-of-file and the close come behind the last byte. */
  #settleInput(): void {
    if (this.closed || this.#input.length > 0) return;
    if ((this.#peerShutdown & shutdown.SEND) !== 0 && !this.#endSeen) {
      this.#endSeen = true;
      this.#owner.schedule(this);
      this.onEnd();
    }
    if (this.#peerShutdown === shutdown.BOTH) this.#close('closed', true);
    else this.#offerCredit();
  }

  /**
   * What the host has finished; once both directions are done, it says so for both. Not before the last byte was taken: the
   * guest answers with a reset, and what is held back then would be lost.
   */
  #shutdownFlags(): number {
    if (!this.#hostEnded) return 0;
    return this.#endSeen ? shutdown.BOTH : shutdown.SEND;
  }

  #close(reason: VsockCloseReason, reset: boolean): void {
    if (this.closed) return;
    this.#phase = 'closed';
    this.pending = 0;
    this.#output.clear();
    this.#input.clear();
    this.#owner.drop(this, reset);
    this.onClose(reason);
  }
}
