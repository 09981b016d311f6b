/** Everything of a machine but its memory, and machines that go on from it. */
import type { ConsoleOptions } from '../devices/index.js';
import { GuestMemory } from '../kvm/index.js';
import { GuestRam } from '../memory/index.js';
import type { BusState } from '../virtio/index.js';
import { createDevices } from './devices.js';
import { createVm, openImages } from './factory.js';
import { KernelImage } from './kernel-image.js';
import { Machine } from './machine.js';
import { restoreVcpu, saveVcpu, type VcpuState } from './vcpu-state.js';

/** Plain data: it crosses threads by structured clone. */
export interface MachineState {
  vcpu: VcpuState;
  devices: BusState;
  /** The guest's CLOCK_MONOTONIC at that moment, ns: clones go on from there. */
  capturedAt: bigint;
}

/**
 * Takes a machine's state at an exit; the machine may run on afterwards. `parked`: the exit was one at which the guest
 * keeps its vector state in memory, IDLE or CHECKPOINT.
 */
export function captureState(machine: Machine, parked: boolean): MachineState {
  machine.vcpu.completeIo();
  return {
    vcpu: saveVcpu(machine.vcpu, parked),
    devices: machine.bus.save(),
    capturedAt: process.hrtime.bigint() + machine.shared.monoOffset,
  };
}

/** What a machine is made from: a memory file, the images that it needs, and the rest of the state. */
export interface MachineSource {
  memoryFd: number;
  memorySize: number;
  /** Paths, bottom first. */
  images: readonly string[];
  state: MachineState;
}

/** A machine whose memory is a private mapping of the source's. It needs a new generation before it runs. */
export function machineFromState(source: MachineSource, console: ConsoleOptions): Machine {
  const kernel = KernelImage.default();
  const images = openImages(source.images);
  const memory = GuestMemory.privateFile(source.memoryFd, source.memorySize);
  const { vm, vcpu } = createVm(memory, images, kernel);
  restoreVcpu(vcpu, source.state.vcpu);
  const ram = new GuestRam(memory.buffer);
  const devices = createDevices(ram, console);
  const imagePaths = source.images;
  const machine = new Machine({ vm, vcpu, memory, images, imagePaths, kernel, devices, ram });
  machine.bus.restore(source.state.devices);
  return machine;
}
