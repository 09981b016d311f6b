import { MayflyError } from '@mayfly/protocol';
import { GuestFault, type GuestRam } from '../memory/index.js';
import { type Chain, VirtioDevice } from '../virtio/index.js';
import {
  Connection,
  type ConnectionOwner,
  type ConnectionState,
  pendingBit,
} from './vsock-connection.js';
import { HEADER_SIZE, HOST_CID, op, PacketHeader, TYPE_STREAM } from './vsock-packet.js';
import { type PendingReset, VsockSender } from './vsock-sender.js';
import type { VsockStream } from './vsock-stream.js';

/** virtio-vsock: device type 19 (virtio 1.2, section 5.10). */
const DEVICE_ID = 19;
const F_STREAM = 0;
const QUEUE_SIZE = 256;
const EVENT_QUEUE_SIZE = 16;
const queue = { RX: 0, TX: 1, EVENT: 2 } as const;

/**
 * Streams that a guest may open, and as many again that the host may, so that neither takes the other's places. Each may hold
 * `bufAlloc` bytes of a guest that sends to a paused stream.
 */
const CONNECTIONS_MAX = 256;
/** Room that the guest is told of, per stream. */
const BUF_ALLOC = 256 * 1024;
/** Resets that wait for buffers; a guest that causes more must post some before it is listened to again. */
const RESETS_MAX = 64;
/** Host ports of connect(): above those that programs choose. */
const EPHEMERAL_PORT = 0x4000_0000;

/** What bounds the device's state; closing a stream adds a reset without waiting for room. */
export const vsockLimits = {
  connections: CONNECTIONS_MAX,
  bufAlloc: BUF_ALLOC,
  resets: RESETS_MAX + CONNECTIONS_MAX,
} as const;

export interface VsockOptions {
  /** The guest's context id, 3 up to 2^32 - 2. */
  guestCid: number;
  /** Bytes that the guest may send to one stream before the host has taken them. */
  bufAlloc?: number;
  connectionsMax?: number;
}

/** What a checkpoint keeps of the device. */
export interface VsockState {
  connections: ConnectionState[];
  resets: PendingReset[];
  nextPort: number;
}

/**
 * A state in which the guest is about to be told that all other streams were reset: those that nobody on the host's side
 * goes on with would leave it waiting for ever.
 */
export function withStreams(
  state: VsockState,
  isKept: (hostPort: number, guestPort: number) => boolean,
): VsockState {
  const kept = state.connections.filter((c) => isKept(c.hostPort, c.guestPort));
  const gone = state.connections.filter((c) => !kept.includes(c));
  // A stream that the guest has not heard of needs no end.
  const known = gone.filter(({ pending }) => (pending & pendingBit.REQUEST) === 0);
  const resets = known.map(({ hostPort, guestPort }) => resetOf(hostPort, guestPort));
  return { ...state, connections: kept, resets: [...state.resets, ...resets] };
}

function resetOf(hostPort: number, guestPort: number): PendingReset {
  return { cidLow: HOST_CID, cidHigh: 0, hostPort, guestPort, type: TYPE_STREAM };
}

/**
 * Streams between guest and host (context id 2).
 *
 * Data for the guest goes from write() straight into its posted buffers; what does not fit waits in the stream, and
 * streams take turns, a packet each. Data from the guest goes from its buffers straight to onData.
 */
export class VsockDevice extends VirtioDevice<VsockState> implements ConnectionOwner {
  readonly guestCid: number;
  readonly #bufAlloc: number;
  readonly #connectionsMax: number;
  readonly #listeners = new Map<number, (stream: VsockStream) => void>();
  readonly #received = new PacketHeader();
  readonly #sender = new VsockSender(this);
  #connections: Connection[] = [];
  /** Streams of the last saved or restored state: restore() brings these very objects back. */
  #kept: Connection[] = [];
  #nextPort = EPHEMERAL_PORT;
  #restores = 0;

  constructor(ram: GuestRam, options: VsockOptions) {
    const config = new Uint8Array(8);
    new DataView(config.buffer).setUint32(0, options.guestCid, true);
    super(ram, {
      name: 'vsock',
      id: DEVICE_ID,
      queueSizes: [QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE],
      features: [F_STREAM],
      config,
    });
    this.guestCid = options.guestCid;
    this.#bufAlloc = options.bufAlloc ?? BUF_ALLOC;
    this.#connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
  }

  /** Streams that are open or being opened. */
  get streams(): readonly VsockStream[] {
    return this.#connections;
  }

  /** The stream between two ports: how the host takes up streams of a checkpoint from another process. */
  stream(hostPort: number, guestPort: number): VsockStream | undefined {
    return find(this.#connections, hostPort, guestPort);
  }

  /** Accepts streams that the guest opens to `port`. The callbacks are to be set during onConnection. */
  listen(port: number, onConnection: (stream: VsockStream) => void): void {
    if (this.#listeners.has(port)) {
      throw new MayflyError('MAYFLY_VSOCK_PORT_TAKEN', `host port ${port} has a listener`);
    }
    this.#listeners.set(port, onConnection);
  }

  /** Opens a stream to a port of the guest; onOpen or onClose('refused') follows. Writing may start at once. */
  connect(guestPort: number): VsockStream {
    if (this.#countOpened(true) >= this.#connectionsMax) {
      throw new MayflyError('MAYFLY_VSOCK_TOO_MANY', `${this.#connectionsMax} streams are open`);
    }
    while (find(this.#connections, this.#nextPort, guestPort) !== undefined) this.#advancePort();
    const connection = this.#add(this.#nextPort, guestPort, 'connecting');
    this.#advancePort();
    connection.pending = pendingBit.REQUEST;
    this.schedule(connection);
    return connection;
  }

  /** Leaves guest memory as it is until release(): what comes for the guest waits in the streams. */
  hold(): void {
    this.#sender.held = true;
  }

  /** Sends what has waited. */
  release(): void {
    if (!this.#sender.held) return;
    this.#sender.held = false;
    this.#flush();
  }

  /** For streams only. */
  sendNow(connection: Connection, bytes: Uint8Array): number {
    if (!this.#sender.free) return 0;
    let sent = 0;
    try {
      sent = this.#sender.sendNow(connection, bytes);
    } catch (error) {
      this.holdFault(error);
    }
    if (sent > 0) this.signalInput();
    return sent;
  }

  /** For streams only. */
  schedule(connection: Connection): void {
    this.#sender.enqueue(connection);
    this.#flush();
  }

  /** For streams only. */
  drop(connection: Connection, reset: boolean): void {
    const at = this.#connections.indexOf(connection);
    if (at >= 0) this.#connections.splice(at, 1);
    this.#sender.dequeue(connection);
    if (!reset) return;
    this.#sender.resets.push(resetOf(connection.hostPort, connection.guestPort));
    this.#flush();
  }

  protected processQueue(index: number): void {
    if (index === queue.RX) this.#sender.flush();
    else if (index === queue.TX) this.#receive();
    // The event queue only ever carries a transport reset, which rewinding makes unnecessary.
  }

  protected override activated(): void {
    this.#flush();
  }

  protected override resetSpecific(): void {
    for (const connection of [...this.#connections]) connection.deviceReset();
    this.#sender.resets = [];
  }

  protected saveSpecific(): VsockState {
    this.#kept = [...this.#connections];
    return {
      connections: this.#connections.map((connection) => connection.save()),
      resets: this.#sender.resets.map((reset) => ({ ...reset })),
      nextPort: this.#nextPort,
    };
  }

  protected restoreSpecific(state: VsockState): void {
    const before = this.#connections;
    const mark = ++this.#restores;
    this.#connections = [];
    this.#sender.resets = state.resets.map((reset) => ({ ...reset }));
    this.#sender.clear();
    this.#nextPort = state.nextPort;
    for (const saved of state.connections) {
      const { hostPort, guestPort } = saved;
      const connection =
        find(this.#kept, hostPort, guestPort) ??
        find(before, hostPort, guestPort) ??
        new Connection(this, hostPort, guestPort, saved.phase, saved.bufAlloc);
      connection.restore(saved);
      connection.mark = mark;
      this.#connections.push(connection);
      this.#sender.enqueue(connection);
    }
    this.#kept = [...this.#connections];
    for (const gone of before) if (gone.mark !== mark) gone.rewind();
  }

  /** Serves the guest's packets. Stops where it would have to remember too many resets. */
  #receive(): void {
    const tx = this.queues[queue.TX]!;
    for (let waiting = tx.take(); waiting > 0; waiting--) {
      if (this.#sender.resets.length >= RESETS_MAX) this.#sender.flush();
      if (this.#sender.resets.length >= RESETS_MAX) return;
      const chain = tx.pop()!;
      this.#receivePacket(chain);
      tx.addUsed(chain.head, 0);
    }
  }

  /** First all of the packet is checked, then it is acted on. */
  #receivePacket({ readable, writable }: Chain): void {
    if (writable.count > 0) {
      throw new GuestFault('MAYFLY_VIRTIO_BAD_REQUEST', 'vsock: a packet must be readable only');
    }
    const header = this.#received;
    header.read(readable);
    if (header.sourceCidLow !== this.#sender.guestCid || header.sourceCidHigh !== 0) {
      throw new GuestFault('MAYFLY_VSOCK_BAD_CID', `packet from context ${header.sourceCidLow}`);
    }
    if (header.length > readable.bytes - HEADER_SIZE) {
      throw new GuestFault('MAYFLY_VSOCK_BAD_LENGTH', `packet of ${header.length} bytes is cut`);
    }
    const known =
      header.type === TYPE_STREAM && header.targetCidLow === HOST_CID && header.targetCidHigh === 0;
    const connection = known
      ? find(this.#connections, header.targetPort, header.sourcePort)
      : undefined;
    if (connection !== undefined) this.#serve(connection, header, readable);
    else if (known && header.op === op.REQUEST) this.#accept(header);
    else this.#refuse(header);
  }

  #serve(connection: Connection, header: PacketHeader, packet: Chain['readable']): void {
    const { op: operation, length, flags } = header;
    connection.updateCredit(header.bufAlloc, header.fwdCnt);
    switch (operation) {
      case op.RW:
        connection.receive(packet, length);
        break;
      case op.RESPONSE:
        connection.accepted();
        break;
      case op.SHUTDOWN:
        connection.peerShutdown(flags);
        break;
      case op.RST:
        connection.peerReset();
        break;
      case op.CREDIT_UPDATE:
        break;
      case op.CREDIT_REQUEST:
        connection.pending |= pendingBit.CREDIT_UPDATE;
        this.schedule(connection);
        break;
      default: // REQUEST for a stream that exists, or nothing that is known
        connection.abort();
    }
  }

  #accept(header: PacketHeader): void {
    const { sourcePort: guestPort, targetPort: hostPort } = header;
    const listener = this.#listeners.get(hostPort);
    if (listener === undefined || this.#countOpened(false) >= this.#connectionsMax) {
      this.#refuse(header);
      return;
    }
    // A reset that still waits is for an older stream between these ports, which the guest has forgotten.
    const sender = this.#sender;
    if (sender.resets.length > 0) {
      sender.resets = sender.resets.filter(
        (reset) => reset.hostPort !== hostPort || reset.guestPort !== guestPort,
      );
    }
    const connection = this.#add(hostPort, guestPort, 'open');
    connection.updateCredit(header.bufAlloc, header.fwdCnt);
    connection.pending = pendingBit.RESPONSE;
    this.schedule(connection);
    listener(connection);
  }

  /** Answers a packet that belongs to nothing (5.10.6.4); a reset is never answered. */
  #refuse(header: PacketHeader): void {
    if (header.op === op.RST) return;
    this.#sender.resets.push({
      cidLow: header.targetCidLow,
      cidHigh: header.targetCidHigh,
      hostPort: header.targetPort,
      guestPort: header.sourcePort,
      type: header.type,
    });
    this.#flush();
  }

  /** Sends what waits, on behalf of the host or in answer to a packet. */
  #flush(): void {
    try {
      this.#sender.flush();
    } catch (error) {
      this.holdFault(error);
    }
    this.signalInput();
  }

  #add(hostPort: number, guestPort: number, phase: 'connecting' | 'open'): Connection {
    const connection = new Connection(this, hostPort, guestPort, phase, this.#bufAlloc);
    this.#connections.push(connection);
    return connection;
  }

  #countOpened(byHost: boolean): number {
    let count = 0;
    for (const { hostPort } of this.#connections) {
      if (hostPort >= EPHEMERAL_PORT === byHost) count++;
    }
    return count;
  }

  #advancePort(): void {
    this.#nextPort = this.#nextPort === 0xffff_fffe ? EPHEMERAL_PORT : this.#nextPort + 1;
  }
}

function find(among: readonly Connection[], hostPort: number, guestPort: number) {
  for (const connection of among) {
    if (connection.guestPort === guestPort && connection.hostPort === hostPort) return connection;
  }
  return undefined;
}
