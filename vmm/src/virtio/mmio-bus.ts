import { MayflyError } from '@mayfly/protocol';
import { type Gpa, GuestFault, gpa } from '../memory/index.js';
import type { VirtioDevice } from './device.js';
import { MmioTransport, type TransportState } from './mmio.js';

/** What a checkpoint keeps of a bus: its devices in order. */
export interface BusState {
  version: 1;
  transports: TransportState[];
}

/** All devices of a machine: device n has the page at MMIO_GPA + n * MMIO_STRIDE. */
export class MmioBus {
  readonly #base: number;
  readonly #stride: number;
  readonly #transports: MmioTransport[] = [];
  #onInput: (() => void) | undefined;

  constructor(base: Gpa, stride: number) {
    this.#base = base;
    this.#stride = stride;
  }

  /** Number of devices. */
  get size(): number {
    return this.#transports.length;
  }

  /** Called when a device gave the guest input outside processQueues(): a parked machine can run again. */
  set onInput(callback: (() => void) | undefined) {
    this.#onInput = callback;
  }

  /** Puts a device on the next page and returns that page's address. */
  add(device: VirtioDevice): Gpa {
    device.onInput = () => this.#onInput?.();
    this.#transports.push(new MmioTransport(device));
    return gpa(this.#base + (this.#transports.length - 1) * this.#stride);
  }

  /** Whether an exit at `address` is for this bus. */
  contains(address: Gpa): boolean {
    return address >= this.#base && address < this.#base + this.size * this.#stride;
  }

  /** GuestFault when there is no device at `address`. */
  read(address: Gpa, length: number): number {
    return this.#at(address).read((address - this.#base) % this.#stride, length);
  }

  write(address: Gpa, value: number, length: number): void {
    this.#at(address).write((address - this.#base) % this.#stride, value, length);
  }

  /** Looks at all queues of all devices. True when the guest was given input since the last call. */
  processQueues(): boolean {
    let gave = false;
    for (const transport of this.#transports) {
      if (transport.device.processQueues()) gave = true;
    }
    return gave;
  }

  save(): BusState {
    return { version: 1, transports: this.#transports.map((transport) => transport.save()) };
  }

  /** Called once per invocation. The bus must hold the same devices in the same order. */
  restore(state: BusState): void {
    if (state.version !== 1 || state.transports.length !== this.size) {
      throw new MayflyError(
        'MAYFLY_DEVICE_STATE_MISMATCH',
        `bus state version ${state.version} with ${state.transports.length} devices, not ${this.size}`,
      );
    }
    for (let i = 0; i < this.size; i++) this.#transports[i]!.restore(state.transports[i]!);
  }

  #at(address: Gpa): MmioTransport {
    const transport = this.#transports[Math.floor((address - this.#base) / this.#stride)];
    if (transport === undefined) {
      throw new GuestFault('MAYFLY_VIRTIO_NO_DEVICE', `no device at 0x${address.toString(16)}`);
    }
    return transport;
  }
}
