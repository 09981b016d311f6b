/**
 * A template in memory: everything that a clone starts from.
 *
 * The machine's RAM becomes an unlinked file, written in 2 MiB units so that the page cache holds it in large folios.
 * File descriptors belong to the whole process: every worker thread maps the same file.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { GuestMemory } from '../kvm/index.js';
import type { Devices } from '../machine/devices.js';
import { createVm, openImages } from '../machine/factory.js';
import { KernelImage } from '../machine/kernel-image.js';
import { Machine } from '../machine/machine.js';
import { restoreVcpu, saveVcpu, type VcpuState } from '../machine/vcpu-state.js';
import type { GuestRam } from '../memory/index.js';
import type { BusState } from '../virtio/index.js';

/** Plain data: it crosses threads by structured clone. */
export interface Template {
  id: number;
  name: string;
  memoryFd: number;
  memorySize: number;
  images: readonly string[];
  vcpu: VcpuState;
  devices: BusState;
  /** CLOCK_MONOTONIC when it was captured, ns: clones go on from there. */
  capturedAt: bigint;
}

/** Takes a machine's state at an idle exit. The machine must not run again. */
export function captureTemplate(
  id: number,
  name: string,
  machine: Machine,
  images: readonly string[],
  directory: string,
): Template {
  machine.vcpu.completeIo();
  const memoryFd = openSync(directory, constants.O_RDWR | O_TMPFILE, 0o600);
  try {
    machine.memory.writeTo(memoryFd, machine.memory.size);
  } catch (error) {
    closeSync(memoryFd);
    throw error;
  }
  return {
    id,
    name,
    memoryFd,
    memorySize: machine.memory.size,
    images,
    vcpu: saveVcpu(machine.vcpu, true),
    devices: machine.bus.save(),
    capturedAt: process.hrtime.bigint(),
  };
}

/** open(2): an unnamed file, gone with its last descriptor or mapping, also after kill -9. */
const O_TMPFILE = 0o20200000;

/** A machine whose memory is a private mapping of the template's. */
export function machineFromTemplate(
  template: Template,
  createRam: (memory: GuestMemory) => { ram: GuestRam; devices: Devices },
): Machine {
  const kernel = KernelImage.default();
  const images = openImages(template.images);
  const memory = GuestMemory.privateFile(template.memoryFd, template.memorySize);
  const { vm, vcpu } = createVm(memory, images, kernel);
  restoreVcpu(vcpu, template.vcpu);
  const { ram, devices } = createRam(memory);
  const machine = new Machine({ vm, vcpu, memory, images, kernel, devices, ram });
  machine.bus.restore(template.devices);
  return machine;
}
