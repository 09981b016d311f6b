import { MayflyError } from '@mayfly/protocol';
import { GuestFault, type GuestRam } from '../memory/index.js';
import { type Chain, VirtioDevice, type Virtqueue } from '../virtio/index.js';
import { ByteFifo } from './byte-fifo.js';

/** virtio-console: device type 3 (virtio 1.2, section 5.3). */
const DEVICE_ID = 3;
const F_MULTIPORT = 1;
const PORTS = 2;
const QUEUE_SIZE = 64;
/** Queue order of section 5.3.2. */
const queue = { RX0: 0, TX0: 1, CONTROL_RX: 2, CONTROL_TX: 3, RX1: 4, TX1: 5 } as const;

/** struct virtio_console_control { le32 id; le16 event; le16 value; }. */
const CONTROL_SIZE = 8;
const control = {
  DEVICE_READY: 0,
  PORT_ADD: 1,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  PORT_OPEN: 6,
} as const;

/** Control messages to the driver that wait for a buffer, one bit each, in the order in which they are sent. */
const pendingMessages = [
  { bit: 1, event: control.PORT_ADD },
  { bit: 2, event: control.CONSOLE_PORT },
  { bit: 4, event: control.PORT_OPEN },
] as const;
const PENDING_ADD = 1;
const PENDING_CONSOLE = 2;
const PENDING_OPEN = 4;

/** What bounds a console's state. */
export const consoleLimits = { ports: PORTS } as const;

/** Input that may wait in the host before pushInput() asks for a pause. */
const INPUT_BYTES_MAX = 64 * 1024;
/** Longest output in one chain: descriptors may overlap, so RAM alone would not bound what one costs the host. */
const OUTPUT_BYTES_MAX = 1024 * 1024;

export interface ConsoleOptions {
  /** Bytes that the guest wrote to port 0; the chunk is the receiver's to keep. */
  stdout(chunk: Uint8Array): void;
  /** Bytes that the guest wrote to port 1. */
  stderr(chunk: Uint8Array): void;
  /** Buffered input fell to nothing after pushInput() had returned false. */
  needInput?(): void;
}

/** What a checkpoint keeps of the console. */
export interface ConsoleState {
  input: Uint8Array;
  inputEnded: boolean;
  closeSent: boolean;
  /** Bits of `pendingMessages`, per port. */
  pending: number[];
}

/**
 * The guest's standard streams: port 0 is stdin and stdout, port 1 is stderr.
 *
 * ```
 *   driver                       device
 *   DEVICE_READY      ────►
 *                     ◄────      PORT_ADD 0, PORT_ADD 1
 *   PORT_READY n      ────►
 *                     ◄────      CONSOLE_PORT 0, PORT_OPEN n
 *                     ◄────      PORT_OPEN 0 value 0       after endInput(), behind the last byte
 * ```
 * A driver that never speaks on the control queues is served all the same.
 */
export class ConsoleDevice extends VirtioDevice<ConsoleState> {
  readonly #options: ConsoleOptions;
  readonly #input = new ByteFifo();
  readonly #message = new Uint8Array(CONTROL_SIZE);
  readonly #pending: number[] = new Array<number>(PORTS).fill(0);
  #inputEnded = false;
  #closeSent = false;
  #inputWanted = false;
  #outputHeld = false;

  constructor(ram: GuestRam, options: ConsoleOptions) {
    const config = new Uint8Array(12); // cols, rows: unknown; max_nr_ports; emerg_wr
    config[4] = PORTS;
    super(ram, {
      name: 'console',
      id: DEVICE_ID,
      queueSizes: new Array<number>(2 * PORTS + 2).fill(QUEUE_SIZE),
      features: [F_MULTIPORT],
      config,
    });
    this.#options = options;
  }

  /** Gives the guest input (copied if it must wait). False: enough waits, go on after needInput(). */
  pushInput(chunk: Uint8Array): boolean {
    if (this.#inputEnded) {
      throw new MayflyError('MAYFLY_CONSOLE_INPUT_ENDED', 'input after endInput()');
    }
    this.#input.push(chunk);
    this.#offerInput();
    const room = this.#input.length < INPUT_BYTES_MAX;
    this.#inputWanted = !room;
    return room;
  }

  /** endInput() was called, perhaps before a checkpoint. */
  get inputEnded(): boolean {
    return this.#inputEnded;
  }

  /** The guest has looked at its standard input: its driver sets that side up no earlier. */
  get inputOpened(): boolean {
    return this.running && this.queues[queue.RX0]!.ready;
  }

  /** End of input: port 0 closes once the guest has the last byte. */
  endInput(): void {
    this.#inputEnded = true;
    this.#offerInput();
  }

  /** Leaves standard output in the guest, which soon has no room for more, until releaseOutput(). */
  holdOutput(): void {
    this.#outputHeld = true;
  }

  /** Standard output is taken again, from the next look at the queues on. */
  releaseOutput(): void {
    this.#outputHeld = false;
  }

  protected processQueue(index: number): void {
    switch (index) {
      case queue.RX0:
        this.#sendInput();
        break;
      case queue.TX0:
        if (!this.#outputHeld) this.#receiveOutput(queue.TX0, this.#options.stdout);
        break;
      case queue.CONTROL_RX:
        this.#sendControl();
        break;
      case queue.CONTROL_TX:
        this.#receiveControl();
        break;
      case queue.TX1:
        this.#receiveOutput(queue.TX1, this.#options.stderr);
        break;
    }
  }

  protected saveSpecific(): ConsoleState {
    return {
      input: this.#input.toBytes(),
      inputEnded: this.#inputEnded,
      closeSent: this.#closeSent,
      pending: [...this.#pending],
    };
  }

  protected restoreSpecific(state: ConsoleState): void {
    this.#input.assign(state.input);
    this.#inputEnded = state.inputEnded;
    this.#closeSent = state.closeSent;
    this.#inputWanted = this.#outputHeld = false;
    for (let port = 0; port < PORTS; port++) this.#pending[port] = state.pending[port] ?? 0;
  }

  protected override resetSpecific(): void {
    this.#pending.fill(0);
    this.#closeSent = false;
  }

  protected override activated(): void {
    this.#sendInput();
  }

  #offerInput(): void {
    try {
      this.#sendInput();
    } catch (error) {
      this.holdFault(error);
    }
    this.signalInput();
  }

  /** Input into posted buffers; behind the last byte the news that there is no more. */
  #sendInput(): void {
    if (!this.running) return;
    const rx = this.queues[queue.RX0]!;
    while (this.#input.length > 0) {
      const chain = rx.popFresh();
      if (chain === undefined) return;
      const { writable } = writableOnly(chain);
      const length = Math.min(writable.bytes, this.#input.length);
      this.#input.moveTo(writable, 0, length);
      rx.addUsed(chain.head, length);
    }
    if (this.#inputEnded && !this.#closeSent) {
      this.#closeSent = true;
      this.#pending[0]! |= PENDING_OPEN;
      this.#sendControl();
    }
    this.#askForInput();
  }

  #askForInput(): void {
    if (!this.#inputWanted) return;
    this.#inputWanted = false;
    this.#options.needInput?.();
  }

  #receiveOutput(index: number, receiver: (chunk: Uint8Array) => void): void {
    const tx = this.queues[index]!;
    for (let waiting = tx.take(); waiting > 0; waiting--) {
      const chain = tx.pop()!;
      const { readable } = readableOnly(chain);
      if (readable.bytes > OUTPUT_BYTES_MAX) {
        throw new GuestFault('MAYFLY_CONSOLE_TOO_LONG', `${readable.bytes} bytes in one chain`);
      }
      const chunk = new Uint8Array(readable.bytes);
      readable.read(0, chunk);
      receiver(chunk);
      tx.addUsed(chain.head, 0);
    }
  }

  #receiveControl(): void {
    if (!this.negotiated(F_MULTIPORT)) return;
    const tx = this.queues[queue.CONTROL_TX]!;
    for (let waiting = tx.take(); waiting > 0; waiting--) {
      const chain = tx.pop()!;
      readableOnly(chain).readable.read(0, this.#message);
      this.#handleControl(this.#message);
      tx.addUsed(chain.head, 0);
    }
    this.#sendControl();
  }

  #handleControl(message: Uint8Array): void {
    const view = new DataView(message.buffer);
    const port = view.getUint32(0, true);
    const event = view.getUint16(4, true);
    const value = view.getUint16(6, true);
    if (event === control.DEVICE_READY) {
      if (value === 1) for (let i = 0; i < PORTS; i++) this.#pending[i]! |= PENDING_ADD;
      return;
    }
    if (port >= PORTS) throw new GuestFault('MAYFLY_CONSOLE_BAD_PORT', `no port ${port}`);
    if (event === control.PORT_READY && value === 1) {
      this.#pending[port]! |= PENDING_OPEN | (port === 0 ? PENDING_CONSOLE : 0);
    }
    // The driver's own PORT_OPEN tells whether a program reads: buffers are posted or not, which says the same.
  }

  #sendControl(): void {
    if (!this.negotiated(F_MULTIPORT)) return;
    for (let port = 0; port < PORTS; port++) {
      for (const { bit, event } of pendingMessages) {
        if ((this.#pending[port]! & bit) === 0) continue;
        if (!this.#sendMessage(port, event)) return;
        this.#pending[port]! &= ~bit;
      }
    }
  }

  #sendMessage(port: number, event: number): boolean {
    const rx: Virtqueue = this.queues[queue.CONTROL_RX]!;
    const chain = rx.popFresh();
    if (chain === undefined) return false;
    const closed = event === control.PORT_OPEN && port === 0 && this.#closeSent;
    const view = new DataView(this.#message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, closed ? 0 : 1, true);
    writableOnly(chain).writable.write(0, this.#message);
    rx.addUsed(chain.head, CONTROL_SIZE);
    return true;
  }
}

function writableOnly(chain: Chain): Chain {
  if (chain.readable.count > 0 || chain.writable.count === 0) {
    throw new GuestFault(
      'MAYFLY_VIRTIO_BAD_REQUEST',
      'console: a receive buffer must be writable only',
    );
  }
  return chain;
}

function readableOnly(chain: Chain): Chain {
  if (chain.writable.count > 0) {
    throw new GuestFault(
      'MAYFLY_VIRTIO_BAD_REQUEST',
      'console: a transmit buffer must be readable only',
    );
  }
  return chain;
}
