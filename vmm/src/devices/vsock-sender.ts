import { GuestFault } from '../memory/index.js';
import type { Chain, VirtioDevice } from '../virtio/index.js';
import type { Connection } from './vsock-connection.js';
import { HEADER_SIZE, HOST_CID, op, PacketHeader, TYPE_STREAM } from './vsock-packet.js';

/** The receive queue: it is the guest that receives. */
const RX = 0;
/** Largest payload of one packet to the guest. */
const PAYLOAD_MAX = 64 * 1024;

/** A reset that waits for a buffer: the addresses as the guest used them. */
export interface PendingReset {
  cidLow: number;
  cidHigh: number;
  hostPort: number;
  guestPort: number;
  type: number;
}

/**
 * Everything on its way to the guest: resets first, then the streams in turn, a packet each, as long as the guest has
 * buffers posted. Throws GuestFault when those are no good.
 */
export class VsockSender {
  /** Resets that wait, oldest first. */
  resets: PendingReset[] = [];
  /** Nothing is sent: guest memory is being read, and must be of one moment. */
  held = false;
  readonly #device: VirtioDevice;
  readonly #header = new PacketHeader();
  /** Connections with something to send. */
  #turns: Connection[] = [];
  #flushing = false;

  constructor(device: VirtioDevice) {
    this.#device = device;
  }

  /** The guest's context id: from the configuration, which a restored checkpoint brings along. */
  get guestCid(): number {
    const { config } = this.#device;
    return (config[0]! | (config[1]! << 8) | (config[2]! << 16) | (config[3]! << 24)) >>> 0;
  }

  /** Whether a stream may send at once without overtaking what waits. */
  get free(): boolean {
    return (
      this.#device.running &&
      !this.held &&
      !this.#flushing &&
      this.resets.length === 0 &&
      this.#turns.length === 0
    );
  }

  /** Puts bytes of a stream straight into the guest's buffers; returns how many went. Only while `free`. */
  sendNow(connection: Connection, bytes: Uint8Array): number {
    let sent = 0;
    while (sent < bytes.length && connection.credit > 0) {
      const chain = this.#nextBuffer();
      if (chain === undefined) break;
      const length = payloadLength(chain, bytes.length - sent, connection.credit);
      chain.writable.write(HEADER_SIZE, bytes, sent, sent + length);
      this.#sendPacket(chain, connection, op.RW, length);
      sent += length;
    }
    return sent;
  }

  /** Gives a connection a turn if it has something to send. */
  enqueue(connection: Connection): void {
    if (connection.scheduled || connection.nextOp() === 0) return;
    connection.scheduled = true;
    this.#turns.push(connection);
  }

  /** Takes a connection's turn away. */
  dequeue(connection: Connection): void {
    if (connection.scheduled) this.#turns = this.#turns.filter((other) => other !== connection);
    connection.scheduled = false;
  }

  /** Forgets all turns; restored connections are enqueued anew. */
  clear(): void {
    this.#turns = [];
  }

  /** Sends what waits. Called again from within (by a stream's callback) it does nothing: the outer call goes on. */
  flush(): void {
    if (!this.#device.running || this.held || this.#flushing) return;
    this.#flushing = true;
    try {
      while (this.resets.length > 0) {
        if (!this.#sendReset(this.resets[0]!)) return;
        this.resets.shift();
      }
      while (this.#turns.length > 0 && this.#device.running) {
        if (!this.#sendTurn(this.#turns[0]!)) return;
      }
    } finally {
      this.#flushing = false;
    }
  }

  #nextBuffer(): Chain | undefined {
    return this.#device.queues[RX]!.popFresh();
  }

  #sendReset(reset: PendingReset): boolean {
    const chain = this.#nextBuffer();
    if (chain === undefined) return false;
    const header = this.#header;
    this.#address(reset.cidLow, reset.cidHigh, reset.type);
    header.sourcePort = reset.hostPort;
    header.targetPort = reset.guestPort;
    header.op = op.RST;
    header.length = header.flags = header.bufAlloc = header.fwdCnt = 0;
    this.#return(chain);
    return true;
  }

  /** One packet of the connection whose turn it is; it queues up again while it has more. */
  #sendTurn(connection: Connection): boolean {
    const operation = connection.nextOp();
    if (operation !== 0) {
      const chain = this.#nextBuffer();
      if (chain === undefined) return false;
      let length = 0;
      if (operation === op.RW) {
        length = payloadLength(chain, connection.bufferedBytes, connection.credit);
        connection.moveOutput(chain.writable, length);
      }
      this.#sendPacket(chain, connection, operation, length);
    }
    this.#turns.shift();
    connection.scheduled = false;
    this.enqueue(connection);
    if (operation === op.RW) connection.outputMoved();
    return true;
  }

  #sendPacket(chain: Chain, connection: Connection, operation: number, length: number): void {
    this.#address(HOST_CID, 0, TYPE_STREAM);
    connection.stamp(this.#header, operation, length);
    this.#return(chain);
  }

  #address(cidLow: number, cidHigh: number, type: number): void {
    const header = this.#header;
    header.sourceCidLow = cidLow;
    header.sourceCidHigh = cidHigh;
    header.targetCidLow = this.guestCid;
    header.targetCidHigh = 0;
    header.type = type;
  }

  #return(chain: Chain): void {
    checkReceiveBuffer(chain, HEADER_SIZE);
    this.#header.write(chain.writable);
    this.#device.queues[RX]!.addUsed(chain.head, HEADER_SIZE + this.#header.length);
  }
}

function checkReceiveBuffer({ readable, writable }: Chain, bytes: number): void {
  if (readable.count > 0 || writable.bytes < bytes) {
    throw new GuestFault(
      'MAYFLY_VIRTIO_SHORT_BUFFER',
      `vsock: a receive buffer must be writable only and have ${bytes} bytes`,
    );
  }
}

/** How much of `waiting` goes into this buffer. */
function payloadLength(chain: Chain, waiting: number, credit: number): number {
  checkReceiveBuffer(chain, HEADER_SIZE + 1);
  return Math.min(waiting, credit, chain.writable.bytes - HEADER_SIZE, PAYLOAD_MAX);
}
