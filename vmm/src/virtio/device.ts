import { MayflyError } from '@mayfly/protocol';
import { GuestFault, type GuestRam } from '../memory/index.js';
import { feature, interrupt, status } from './constants.js';
import { type QueueContext, type QueueState, Virtqueue } from './queue.js';

/** What a checkpoint keeps of a device: plain and cloneable. `specific` belongs to the device type. */
export interface DeviceState<S = unknown> {
  version: 1;
  device: string;
  status: number;
  /** Negotiated feature bits 0..31 and 32..63. */
  features: [low: number, high: number];
  interruptStatus: number;
  configGeneration: number;
  config: Uint8Array;
  queues: QueueState[];
  specific: S;
}

/** What sets one device type apart, fixed at construction. */
export interface DeviceDescription {
  /** Stable name, part of checkpoints. */
  name: string;
  /** Device type of virtio 1.2, section 5. */
  id: number;
  /** Largest size of each queue; a power of two. */
  queueSizes: readonly number[];
  /** Feature bits (numbers) of the device type, below 28. */
  features?: readonly number[];
  /** The device configuration space. */
  config?: Uint8Array;
}

const ALL_STATUS =
  status.ACKNOWLEDGE | status.DRIVER | status.DRIVER_OK | status.FEATURES_OK | status.FAILED;

/** Each status bit of the way up and what must stand before it (3.1.1). */
const STATUS_NEEDS: readonly (readonly [bit: number, before: number])[] = [
  [status.DRIVER, status.ACKNOWLEDGE],
  [status.FEATURES_OK, status.ACKNOWLEDGE | status.DRIVER],
  [status.DRIVER_OK, status.ACKNOWLEDGE | status.DRIVER | status.FEATURES_OK],
];

/**
 * A virtio device without its transport: status, features, queues, configuration (virtio 1.2, section 2).
 *
 * ```
 *   reset ─► ACKNOWLEDGE ─► DRIVER ─► FEATURES_OK ─► DRIVER_OK: queues are served
 *     ▲ a write of 0, from anywhere                      │ save() / restore(), any number of times
 *     └──────────────────────────────────────────────────┘
 * ```
 */
export abstract class VirtioDevice<S = unknown> {
  readonly name: string;
  readonly id: number;
  readonly ram: GuestRam;
  readonly queues: readonly Virtqueue[];
  readonly config: Uint8Array;
  /**
   * Called when there is something for the machine to do while it is parked: the guest was given input outside
   * processQueues(), or was found to have broken its rings, which the next processQueues() throws.
   */
  onInput: (() => void) | undefined;

  readonly #offered: [low: number, high: number];
  readonly #features: [low: number, high: number] = [0, 0];
  readonly #context: QueueContext;
  #status = 0;
  #interruptStatus = 0;
  #configGeneration = 0;
  #processing = false;
  #fault: GuestFault | undefined;

  constructor(ram: GuestRam, description: DeviceDescription) {
    this.name = description.name;
    this.id = description.id;
    this.ram = ram;
    this.config = description.config ?? new Uint8Array(0);
    this.#offered = offer(description.features ?? []);
    const context = { ram, indirect: false, eventIdx: false, gaveUsed: false, gaveInput: false };
    this.#context = context;
    this.queues = description.queueSizes.map((size, i) => new Virtqueue(context, i, size));
  }

  get status(): number {
    return this.#status;
  }

  /** Whether the driver has finished its set-up: only then are queues touched. */
  get running(): boolean {
    const up = (this.#status & (status.DRIVER_OK | status.FAILED)) === status.DRIVER_OK;
    return up && this.#fault === undefined;
  }

  get interruptStatus(): number {
    this.#collectUsed();
    return this.#interruptStatus;
  }

  get configGeneration(): number {
    return this.#configGeneration;
  }

  offeredFeatures(word: number): number {
    return this.#offered[word] ?? 0;
  }

  negotiated(bit: number): boolean {
    return (this.#features[bit >> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** The driver's choice, 32 bits at a time; settled when it sets FEATURES_OK. */
  setDriverFeatures(word: number, value: number): void {
    if ((this.#status & status.FEATURES_OK) !== 0) {
      throw new GuestFault('MAYFLY_VIRTIO_BAD_STATUS', `${this.name}: features after FEATURES_OK`);
    }
    if (word < 2) this.#features[word] = value;
    else if (value !== 0) this.#features[1] = 0x8000_0000; // offered by nobody: FEATURES_OK will fail
  }

  /** The driver writes its status: 0 resets, else bits may only be added, in order (2.1). */
  setStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    this.#checkStatus(value);
    let next = value;
    const added = value & ~this.#status;
    if ((added & status.FEATURES_OK) !== 0 && !this.#settleFeatures()) next &= ~status.FEATURES_OK;
    this.#status = next;
    if ((added & status.DRIVER_OK) !== 0) this.activated();
  }

  acknowledgeInterrupt(bits: number): void {
    this.#collectUsed();
    this.#interruptStatus &= ~bits;
  }

  reset(): void {
    this.#status = 0;
    this.#fault = undefined;
    this.#features[0] = this.#features[1] = 0;
    this.#context.indirect = this.#context.eventIdx = false;
    this.#context.gaveUsed = this.#context.gaveInput = false;
    this.#interruptStatus = 0;
    for (const queue of this.queues) queue.reset();
    this.resetSpecific();
  }

  /**
   * Looks at all queues. True when the guest was given input since the last call: a buffer with something in it.
   * (Transmitted buffers that merely come back do not count. A driver that waits for one asks with PORT_POLL.)
   */
  processQueues(): boolean {
    this.#throwHeldFault();
    if (!this.running) return false;
    this.#serve(0, this.queues.length);
    return this.#takeInput();
  }

  /** The driver kicked: serves that queue. */
  notify(index: number): void {
    if (index >= this.queues.length) {
      throw new GuestFault('MAYFLY_VIRTIO_BAD_INDEX', `${this.name}: no queue ${index}`);
    }
    if (!this.running) {
      throw new GuestFault('MAYFLY_VIRTIO_BAD_STATUS', `${this.name}: kick before DRIVER_OK`);
    }
    this.#serve(index, index + 1);
  }

  save(): DeviceState<S> {
    return {
      version: 1,
      device: this.name,
      status: this.#status,
      features: [this.#features[0], this.#features[1]],
      interruptStatus: this.interruptStatus,
      configGeneration: this.#configGeneration,
      config: this.config.slice(),
      queues: this.queues.map((queue) => queue.save()),
      specific: this.saveSpecific(),
    };
  }

  /**
   * Goes back to a saved state; guest memory must be of the same moment. Called once per invocation, never from a
   * callback of the device (MAYFLY_DEVICE_BUSY): its queues are being read then.
   */
  restore(state: DeviceState<S>): void {
    if (this.#processing) {
      throw new MayflyError(
        'MAYFLY_DEVICE_BUSY',
        `${this.name}: restored while it serves its queues`,
      );
    }
    this.#checkState(state);
    this.#status = state.status;
    this.#fault = undefined;
    this.#features[0] = state.features[0];
    this.#features[1] = state.features[1];
    this.#applyRingFeatures();
    this.#context.gaveUsed = this.#context.gaveInput = false;
    this.#interruptStatus = state.interruptStatus;
    this.#configGeneration = state.configGeneration;
    this.config.set(state.config);
    for (let i = 0; i < this.queues.length; i++) this.queues[i]!.restore(state.queues[i]!);
    this.restoreSpecific(state.specific);
  }

  /** Serves one queue of a running device. */
  protected abstract processQueue(index: number): void;
  protected abstract saveSpecific(): S;
  protected abstract restoreSpecific(state: S): void;
  /** The driver reset the device: forget what it was told. */
  protected resetSpecific(): void {}
  /** The driver is ready: what had to wait for it may start. */
  protected activated(): void {}

  /**
   * Keeps a fault of the guest that came up in a call of the host's, which must not be hit by it: the machine learns of
   * it from processQueues(). Other errors go on.
   */
  protected holdFault(error: unknown): void {
    if (!(error instanceof GuestFault)) throw error;
    this.#fault ??= error;
    if (!this.#processing) this.onInput?.();
  }

  /** To be called after giving input outside processQueues() and notify(). */
  protected signalInput(): void {
    if (this.#context.gaveInput && !this.#processing) this.onInput?.();
  }

  /** Writes the configuration space; the driver sees a new generation (2.5.3). */
  protected changeConfig(change: (config: Uint8Array) => void): void {
    change(this.config);
    this.#configGeneration = (this.#configGeneration + 1) >>> 0;
    if (this.running) this.#interruptStatus |= interrupt.CONFIG_CHANGE;
  }

  #checkState(state: DeviceState<S>): void {
    const fits =
      state.version === 1 &&
      state.device === this.name &&
      state.queues.length === this.queues.length &&
      state.config.length === this.config.length;
    if (fits) return;
    throw new MayflyError(
      'MAYFLY_DEVICE_STATE_MISMATCH',
      `state version ${state.version} of ${state.device}, ${state.queues.length} queues: expected ` +
        `version 1 of ${this.name}, ${this.queues.length} queues`,
    );
  }

  #serve(first: number, end: number): void {
    for (const queue of this.queues) queue.refill();
    this.#processing = true;
    try {
      for (let i = first; i < end; i++) this.processQueue(i);
    } finally {
      this.#processing = false;
    }
    this.#throwHeldFault();
  }

  #throwHeldFault(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  #takeInput(): boolean {
    const gave = this.#context.gaveInput;
    this.#context.gaveInput = false;
    return gave;
  }

  #collectUsed(): void {
    if (this.#context.gaveUsed) this.#interruptStatus |= interrupt.USED_BUFFER;
    this.#context.gaveUsed = false;
  }

  #checkStatus(value: number): void {
    const lost = this.#status & ~value;
    if (lost !== 0 || (value & ~ALL_STATUS) !== 0) this.#badStatus(value);
    for (const [bit, before] of STATUS_NEEDS) {
      const rises = (value & ~this.#status & bit) !== 0;
      if (rises && ((value & before) !== before || this.#refused(bit))) this.#badStatus(value);
    }
  }

  /** DRIVER_OK in the same write as FEATURES_OK: the driver cannot have read the answer. */
  #refused(bit: number): boolean {
    return bit === status.DRIVER_OK && (this.#status & status.FEATURES_OK) === 0;
  }

  #badStatus(value: number): never {
    throw new GuestFault(
      'MAYFLY_VIRTIO_BAD_STATUS',
      `${this.name}: status 0x${this.#status.toString(16)} to 0x${value.toString(16)}`,
    );
  }

  /** Whether the device accepts the driver's features: nothing that was not offered, and VERSION_1 (6.1). */
  #settleFeatures(): boolean {
    const [low, high] = this.#features;
    if ((low & ~this.#offered[0]) !== 0 || (high & ~this.#offered[1]) !== 0) return false;
    if (!this.negotiated(feature.VERSION_1)) return false;
    this.#applyRingFeatures();
    return true;
  }

  #applyRingFeatures(): void {
    this.#context.indirect = this.negotiated(feature.RING_INDIRECT_DESC);
    this.#context.eventIdx = this.negotiated(feature.RING_EVENT_IDX);
  }
}

function offer(bits: readonly number[]): [number, number] {
  const words: [number, number] = [0, 0];
  const common = [feature.RING_INDIRECT_DESC, feature.RING_EVENT_IDX, feature.VERSION_1];
  for (const bit of [...bits, ...common]) {
    if (bit < 32) words[0] = (words[0] | (1 << bit)) >>> 0;
    else words[1] = (words[1] | (1 << (bit - 32))) >>> 0;
  }
  return words;
}
