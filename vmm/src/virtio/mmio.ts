import { GuestFault, gpa } from '../memory/index.js';
import { MAGIC, MMIO_VERSION, register, status, VENDOR_ID } from './constants.js';
import type { DeviceState, VirtioDevice } from './device.js';
import type { Virtqueue } from './queue.js';

/** What a checkpoint keeps of a transport, its device included. */
export interface TransportState {
  version: 1;
  deviceFeaturesSel: number;
  driverFeaturesSel: number;
  queueSel: number;
  device: DeviceState;
}

interface Register {
  readonly offset: number;
  readonly name: string;
  readonly read?: (transport: MmioTransport) => number;
  readonly write?: (transport: MmioTransport, value: number) => void;
}

/** Length and base of a shared memory region that does not exist (4.2.2.1). */
const noRegion = (): number => 0xffff_ffff;

/** The control registers, row by row as in the specification's table (virtio 1.2, section 4.2.2). */
const registers: readonly Register[] = [
  { offset: register.MAGIC_VALUE, name: 'MagicValue', read: () => MAGIC },
  { offset: register.VERSION, name: 'Version', read: () => MMIO_VERSION },
  { offset: register.DEVICE_ID, name: 'DeviceID', read: (t) => t.device.id },
  { offset: register.VENDOR_ID, name: 'VendorID', read: () => VENDOR_ID },
  {
    offset: register.DEVICE_FEATURES,
    name: 'DeviceFeatures',
    read: (t) => t.device.offeredFeatures(t.deviceFeaturesSel),
  },
  {
    offset: register.DEVICE_FEATURES_SEL,
    name: 'DeviceFeaturesSel',
    write: (t, value) => {
      t.deviceFeaturesSel = value;
    },
  },
  {
    offset: register.DRIVER_FEATURES,
    name: 'DriverFeatures',
    write: (t, value) => t.device.setDriverFeatures(t.driverFeaturesSel, value),
  },
  {
    offset: register.DRIVER_FEATURES_SEL,
    name: 'DriverFeaturesSel',
    write: (t, value) => {
      t.driverFeaturesSel = value;
    },
  },
  {
    offset: register.QUEUE_SEL,
    name: 'QueueSel',
    write: (t, value) => {
      t.queueSel = value;
    },
  },
  {
    offset: register.QUEUE_NUM_MAX,
    name: 'QueueNumMax',
    read: (t) => t.selected?.sizeMax ?? 0,
  },
  {
    offset: register.QUEUE_NUM,
    name: 'QueueNum',
    write: (t, value) => {
      t.stoppedQueue().size = value;
    },
  },
  {
    offset: register.QUEUE_READY,
    name: 'QueueReady',
    read: (t) => (t.selected?.ready ? 1 : 0),
    write: (t, value) => {
      if (value === 0) t.selected?.deactivate();
      else t.activateQueue();
    },
  },
  {
    offset: register.QUEUE_NOTIFY,
    name: 'QueueNotify',
    write: (t, value) => t.device.notify(value),
  },
  {
    offset: register.INTERRUPT_STATUS,
    name: 'InterruptStatus',
    read: (t) => t.device.interruptStatus,
  },
  {
    offset: register.INTERRUPT_ACK,
    name: 'InterruptACK',
    write: (t, value) => t.device.acknowledgeInterrupt(value),
  },
  {
    offset: register.STATUS,
    name: 'Status',
    read: (t) => t.device.status,
    write: (t, value) => t.setStatus(value),
  },
  ...addressRegisters('QueueDesc', register.QUEUE_DESC_LOW, 'descriptors'),
  ...addressRegisters('QueueDriver', register.QUEUE_DRIVER_LOW, 'driver'),
  ...addressRegisters('QueueDevice', register.QUEUE_DEVICE_LOW, 'device'),
  { offset: register.SHM_SEL, name: 'SHMSel', write: () => {} },
  { offset: register.SHM_LEN_LOW, name: 'SHMLenLow', read: noRegion },
  { offset: register.SHM_LEN_HIGH, name: 'SHMLenHigh', read: noRegion },
  { offset: register.SHM_BASE_LOW, name: 'SHMBaseLow', read: noRegion },
  { offset: register.SHM_BASE_HIGH, name: 'SHMBaseHigh', read: noRegion },
  {
    offset: register.CONFIG_GENERATION,
    name: 'ConfigGeneration',
    read: (t) => t.device.configGeneration,
  },
];

const byOffset = new Map(registers.map((row) => [row.offset, row]));

/** The 64-bit address of one part of the selected queue, as two 32-bit registers. */
function addressRegisters(
  name: string,
  offset: number,
  part: 'descriptors' | 'driver' | 'device',
): Register[] {
  return [
    {
      offset,
      name: `${name}Low`,
      write: (t, value) => {
        const queue = t.stoppedQueue();
        queue[part] = gpa(queue[part] - (queue[part] % 0x1_0000_0000) + value);
      },
    },
    {
      offset: offset + 4,
      name: `${name}High`,
      write: (t, value) => {
        const queue = t.stoppedQueue();
        queue[part] = gpa((queue[part] % 0x1_0000_0000) + value * 0x1_0000_0000);
      },
    },
  ];
}

/** One device's page of registers: MMIO transport version 2. All values are unsigned 32-bit numbers. */
export class MmioTransport {
  readonly device: VirtioDevice;
  deviceFeaturesSel = 0;
  driverFeaturesSel = 0;
  queueSel = 0;

  constructor(device: VirtioDevice) {
    this.device = device;
  }

  /** The queue that QueueSel names, if there is one. */
  get selected(): Virtqueue | undefined {
    return this.device.queues[this.queueSel];
  }

  /** The selected queue, to be changed: GuestFault when there is none or it is in use. */
  stoppedQueue(): Virtqueue {
    const queue = this.selected;
    if (queue === undefined) {
      throw new GuestFault(
        'MAYFLY_VIRTIO_BAD_INDEX',
        `${this.device.name}: no queue ${this.queueSel}`,
      );
    }
    if (queue.ready) {
      throw new GuestFault(
        'MAYFLY_VIRTIO_QUEUE_BUSY',
        `${this.device.name}: queue ${this.queueSel} is ready and cannot be changed`,
      );
    }
    return queue;
  }

  /** Starts the selected queue: after FEATURES_OK, since features decide how its rings are read (3.1.1). */
  activateQueue(): void {
    if ((this.device.status & status.FEATURES_OK) === 0) {
      throw new GuestFault(
        'MAYFLY_VIRTIO_BAD_STATUS',
        `${this.device.name}: queue before FEATURES_OK`,
      );
    }
    this.stoppedQueue().activate();
  }

  setStatus(value: number): void {
    if (value === 0) this.deviceFeaturesSel = this.driverFeaturesSel = this.queueSel = 0;
    this.device.setStatus(value);
  }

  /** Register or configuration read of `length` bytes; `offset` within the page. */
  read(offset: number, length: number): number {
    if (offset >= register.CONFIG) return this.#readConfig(offset - register.CONFIG, length);
    const row = this.#row(offset, length);
    if (row.read === undefined) this.#fault(offset, length, `${row.name} cannot be read`);
    return row.read(this) >>> 0;
  }

  write(offset: number, value: number, length: number): void {
    if (offset >= register.CONFIG) this.#fault(offset, length, 'the configuration is read-only');
    const row = this.#row(offset, length);
    if (row.write === undefined) this.#fault(offset, length, `${row.name} cannot be written`);
    row.write(this, value >>> 0);
  }

  save(): TransportState {
    return {
      version: 1,
      deviceFeaturesSel: this.deviceFeaturesSel,
      driverFeaturesSel: this.driverFeaturesSel,
      queueSel: this.queueSel,
      device: this.device.save(),
    };
  }

  restore(state: TransportState): void {
    this.deviceFeaturesSel = state.deviceFeaturesSel;
    this.driverFeaturesSel = state.driverFeaturesSel;
    this.queueSel = state.queueSel;
    this.device.restore(state.device);
  }

  /** Little-endian; bytes after the end of the configuration read as 0. */
  #readConfig(offset: number, length: number): number {
    if (length !== 1 && length !== 2 && length !== 4) {
      this.#fault(offset + register.CONFIG, length, 'configuration is read 1, 2 or 4 bytes wide');
    }
    let value = 0;
    for (let i = length - 1; i >= 0; i--)
      value = value * 256 + (this.device.config[offset + i] ?? 0);
    return value;
  }

  /** Control registers are accessed 32 bits wide and aligned (4.2.2.2). */
  #row(offset: number, length: number): Register {
    const row = byOffset.get(offset);
    if (row === undefined || length !== 4) this.#fault(offset, length, 'no such register');
    return row;
  }

  #fault(offset: number, length: number, what: string): never {
    throw new GuestFault(
      'MAYFLY_VIRTIO_BAD_REGISTER',
      `${this.device.name}: ${length} bytes at 0x${offset.toString(16)}: ${what}`,
    );
  }
}
