/** Makes machines: from nothing (boot) or from a template's state. */

import { closeSync, openSync, statSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import type { ConsoleOptions } from '../devices/index.js';
import { GuestMemory, Kvm, REGS_SIZE, regsView, type Vcpu, type Vm } from '../kvm/index.js';
import { GuestRam } from '../memory/index.js';
import { type BootUser, imageAddresses, writeBootMemory } from './boot.js';
import { createDevices, DEVICE_COUNT } from './devices.js';
import { guestCpuid } from './guest-cpuid.js';
import { NESTED_PAGING, startError } from './host-cpu.js';
import { firstIdentity } from './identity.js';
import { KernelImage } from './kernel-image.js';
import { Machine } from './machine.js';
import {
  enableVectorState,
  INITIAL_RFLAGS,
  SYSTEM_CALL_MSRS,
  writeInitialSregs,
} from './vcpu-state.js';

const BLOCK = 0x200000;
const MIN_MEMORY = 32 * 1024 * 1024;
/** One ArrayBuffer holds it all, and V8's largest has 4 GiB. */
const MAX_MEMORY = 4 * 1024 ** 3;

/** Length of a guest's turn before the guest kernel may switch threads, in microseconds. */
const SLICE_US = 5000;

export interface MachineSpec {
  program: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Absent: root. */
  user?: BootUser;
  /** Paths of EROFS images, bottom first. */
  images: readonly string[];
  memoryBytes: number;
  console: ConsoleOptions;
  strace?: boolean;
  verbose?: boolean;
  /** The program stops at its entry point and at signals: see Machine.mayStop. */
  debug?: boolean;
}

let kvm: Kvm | undefined;

/** This thread's /dev/kvm. */
function system(): Kvm {
  if (kvm !== undefined) return kvm;
  kvm = Kvm.open();
  if (NESTED_PAGING) kvm.cpuid = guestCpuid(kvm.cpuid);
  return kvm;
}

function checkedMemorySize(bytes: number): number {
  if (!Number.isSafeInteger(bytes) || bytes < MIN_MEMORY || bytes > MAX_MEMORY) {
    const mib = (n: number) => `${n / 1024 ** 2} MiB`;
    throw new MayflyError(
      'MAYFLY_BAD_MEMORY_SIZE',
      `memory must be from ${mib(MIN_MEMORY)} to ${mib(MAX_MEMORY)}, not ${mib(bytes)}`,
    );
  }
  return Math.ceil(bytes / BLOCK) * BLOCK;
}

function openImage(path: string): GuestMemory {
  const fd = openReadable(path);
  try {
    return GuestMemory.readonlyFile(fd, statSync(path).size, { huge: true });
  } finally {
    closeSync(fd);
  }
}

function openReadable(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    const message = `the image ${path} cannot be opened: ${(cause as Error).message}`;
    throw new MayflyError('MAYFLY_IMAGE_UNREADABLE', message, { cause });
  }
}

/** Maps each image read-only through the host's page cache. */
export function openImages(paths: readonly string[]): GuestMemory[] {
  return paths.map(openImage);
}

/** A VM with its vCPU: all that a machine needs but memory and registers. The same for every machine. */
export interface Shell {
  vm: Vm;
  vcpu: Vcpu;
}

/** Throws MAYFLY_KVM_*. */
export function createShell(): Shell {
  const vm = system().createVm();
  if (NESTED_PAGING) vm.denyMsrs(); // a rewind puts back what else a guest can change: resetVcpu
  const vcpu = vm.createVcpu(0);
  vcpu.setMsrs(SYSTEM_CALL_MSRS);
  enableVectorState(vcpu);
  vcpu.setSlice(SLICE_US);
  return { vm, vcpu };
}

/** Gives a shell its memory, for good. */
export function attachMemory(
  { vm }: Shell,
  memory: GuestMemory,
  images: readonly GuestMemory[],
): void {
  vm.setMemory(0, 0, memory);
  const addresses = imageAddresses(images.map((i) => i.size));
  for (const [i, image] of images.entries()) {
    vm.setMemory(1 + i, addresses[i] ?? 0, image, { readonly: true });
  }
}

/**
 * A machine about to execute the guest kernel's first instruction.
 * Throws MAYFLY_HOST_CPU, MAYFLY_BAD_MEMORY_SIZE, MAYFLY_KVM_*.
 */
export function bootMachine(spec: MachineSpec): Machine {
  const memorySize = checkedMemorySize(spec.memoryBytes); // before anything is opened
  const kernel = KernelImage.default();
  const images = openImages(spec.images);
  const memory = GuestMemory.anonymous(memorySize, { huge: true });
  writeBootMemory(memory.buffer, kernel, {
    program: spec.program,
    argv: spec.argv,
    env: spec.env,
    cwd: spec.cwd,
    hostname: 'mayfly',
    user: spec.user,
    imageSizes: images.map((i) => i.size),
    deviceCount: DEVICE_COUNT,
    strace: spec.strace ?? false,
    verbose: spec.verbose ?? false,
    debug: spec.debug ?? false,
  });
  const { vm, vcpu } = startVcpu(memory, images, kernel);
  const ram = new GuestRam(memory.buffer);
  const devices = createDevices(ram, spec.console);
  const imagePaths = spec.images;
  const machine = new Machine({ vm, vcpu, memory, images, imagePaths, kernel, devices, ram });
  firstIdentity(machine.shared);
  return machine;
}

function startVcpu(
  memory: GuestMemory,
  images: readonly GuestMemory[],
  kernel: KernelImage,
): Shell {
  try {
    const shell = createShell();
    const { vcpu } = shell;
    attachMemory(shell, memory, images);
    const sregs = vcpu.getSregs();
    writeInitialSregs(sregs);
    vcpu.setSregs(sregs);
    vcpu.setRegs(initialRegs(kernel.entry));
    return shell;
  } catch (error) {
    throw startError(error);
  }
}

function initialRegs(entry: number): ArrayBuffer {
  const buffer = new ArrayBuffer(REGS_SIZE);
  const regs = regsView(buffer);
  regs.rip = BigInt(entry);
  regs.rflags = INITIAL_RFLAGS;
  return buffer;
}
