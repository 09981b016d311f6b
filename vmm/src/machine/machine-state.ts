/** Everything of a machine but its memory, and machines that go on from it. */
import { type ConsoleOptions, type VsockState, withStreams } from '../devices/index.js';
import { GuestMemory } from '../kvm/index.js';
import { GuestRam } from '../memory/index.js';
import type { BusState } from '../virtio/index.js';
import { createDevices } from './devices.js';
import { attachMemory, createShell, openImages } from './factory.js';
import { KernelImage } from './kernel-image.js';
import { Machine } from './machine.js';
import type { Supplies } from './supplies.js';
import { restoreVcpu, saveVcpu, type VcpuState } from './vcpu-state.js';

/** Plain data: it crosses threads by structured clone. */
export interface MachineState {
  vcpu: VcpuState;
  devices: BusState;
  /** The guest's CLOCK_MONOTONIC at that moment, ns: clones go on from there. */
  capturedAt: bigint;
}

/**
 * Takes a machine's state at an exit. The machine stands still, so that its memory can be read at leisure, until it is entered
 * again. `parked`: the exit was one at which the guest keeps its vector state in memory, IDLE or CHECKPOINT.
 */
export function captureState(machine: Machine, parked: boolean): MachineState {
  machine.standStill();
  machine.vcpu.completeIo();
  return {
    vcpu: saveVcpu(machine.vcpu, parked),
    devices: machine.bus.save(),
    capturedAt: process.hrtime.bigint() + machine.shared.monoOffset,
  };
}

/** The state without the streams that its machines would not go on with: their guests find them reset. */
export function keepStreams(
  state: MachineState,
  isKept: (hostPort: number, guestPort: number) => boolean,
): MachineState {
  const transports = state.devices.transports.map((transport) => {
    const { device } = transport;
    if (device.device !== 'vsock') return transport;
    const specific = withStreams(device.specific as VsockState, isKept);
    return { ...transport, device: { ...device, specific } };
  });
  return { ...state, devices: { ...state.devices, transports } };
}

/** What a machine is made from: a memory file, the images that it needs, and the rest of the state. */
export interface MachineSource {
  memoryFd: number;
  memorySize: number;
  /** Paths, bottom first. */
  images: readonly string[];
  state: MachineState;
  /** Pages that its machines write first, if that was recorded: pairs [first page, count]. */
  workingSet?: Uint32Array | undefined;
}

/** What machineFromState() need not make itself. */
export interface Provisions {
  supplies?: Supplies;
  /** The source's images; they stay the caller's, and open for as long as the machine. */
  images?: readonly GuestMemory[];
  /** The guest kernel in the source's memory is another build's. */
  foreignKernel?: boolean;
}

/**
 * A machine whose memory is a private mapping of the source's. It needs a new generation before it runs.
 * Throws MAYFLY_KVM_*, MAYFLY_IMAGE_UNREADABLE.
 */
export function machineFromState(
  source: MachineSource,
  console: ConsoleOptions,
  { supplies, images: lent, foreignKernel = false }: Provisions = {},
): Machine {
  const { memoryFd, memorySize, state } = source;
  const images = lent ?? openImages(source.images);
  const memory =
    supplies?.takeMemory(memoryFd, memorySize) ?? GuestMemory.privateFile(memoryFd, memorySize);
  const shell = supplies?.takeShell() ?? createShell();
  attachMemory(shell, memory, images);
  restoreVcpu(shell.vcpu, state.vcpu);
  const ram = new GuestRam(memory.buffer);
  const machine = new Machine({
    ...shell,
    memory,
    images,
    imagePaths: source.images,
    kernel: foreignKernel ? undefined : KernelImage.default(),
    devices: createDevices(ram, console),
    ram,
    release: (gone) => {
      if (supplies === undefined) gone.close();
      else supplies.keepMemory(gone);
      if (lent === undefined) for (const image of images) image.close();
    },
  });
  machine.bus.restore(state.devices);
  return machine;
}
