/** Machines that were never run, for tests of the store: memory with known pages and some state. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { abi } from '@mayfly/protocol';
import type { Captured } from '../../src/checkpoint/store.js';
import {
  DEBUG_REGS_SIZE,
  EVENTS_SIZE,
  GuestMemory,
  REGS_SIZE,
  regsView,
  SREGS_SIZE,
  XCRS_SIZE,
} from '../../src/kvm/index.js';
import { writeBootMemory } from '../../src/machine/boot.js';
import { createDevices, DEVICE_COUNT, type Devices, devicesOf } from '../../src/machine/devices.js';
import { KernelImage } from '../../src/machine/kernel-image.js';
import type { MachineState } from '../../src/machine/machine-state.js';
import { SYSTEM_CALL_MSRS, writeInitialSregs } from '../../src/machine/vcpu-state.js';
import { GuestRam, gpa } from '../../src/memory/index.js';
import { MmioBus } from '../../src/virtio/index.js';

export const PAGE = 4096;
export const SIZE = 4 << 20;
const BOOTED_SIZE = 32 << 20;

export function scratchDir(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-checkpoint-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Pages by number, each filled with one byte. */
export type Pages = ReadonlyMap<number, number>;

export function memoryOf(pages: Pages): GuestMemory {
  const memory = GuestMemory.anonymous(SIZE);
  for (const [page, byte] of pages) new Uint8Array(memory.buffer, page * PAGE, PAGE).fill(byte);
  return memory;
}

/** As a machine has it at its first instruction. */
export function bootedMemory(): GuestMemory {
  const memory = GuestMemory.anonymous(BOOTED_SIZE);
  writeBootMemory(memory.buffer, KernelImage.default(), {
    program: '/bin/true',
    argv: ['true'],
    env: {},
    cwd: '/',
    hostname: 'mayfly',
    imageSizes: [],
    deviceCount: DEVICE_COUNT,
    strace: false,
    verbose: false,
    debug: false,
  });
  return memory;
}

/** What a memory file holds, as memoryOf() takes it; the pages of zeros are left out. */
export function pagesIn(memoryFd: number): Map<number, number> {
  const memory = GuestMemory.privateFile(memoryFd, SIZE);
  const runs = memory.runs();
  const pages = new Map<number, number>();
  for (let i = 0; i < runs.length; i += 2) {
    for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++) {
      pages.set(page, new Uint8Array(memory.buffer, page * PAGE, 1)[0]!);
    }
  }
  memory.close();
  return pages;
}

export function captured(dir: string, memory: GuestMemory, mark = 1): Captured {
  const image = join(dir, 'image.erofs');
  writeFileSync(image, 'not really an image');
  return {
    memory,
    images: [image],
    command: ['/bin/true', 'x'],
    state: stateOf(memory, mark),
  };
}

/** The state of a machine with this memory whose devices nobody used; `mark` is in its RIP. */
export function stateOf(memory: GuestMemory, mark = 1): MachineState {
  const regs = new ArrayBuffer(REGS_SIZE);
  regsView(regs).rip = BigInt(mark);
  const sregs = new ArrayBuffer(SREGS_SIZE);
  writeInitialSregs(sregs);
  return {
    vcpu: {
      regs,
      sregs,
      xsave: undefined,
      xcrs: new ArrayBuffer(XCRS_SIZE),
      events: new ArrayBuffer(EVENTS_SIZE),
      debugRegs: new ArrayBuffer(DEBUG_REGS_SIZE),
      msrs: SYSTEM_CALL_MSRS,
    },
    devices: devicesFor(memory).bus.save(),
    capturedAt: 123456789012345678n,
  };
}

/** The devices of a machine, on its bus, without the machine. */
export function devicesFor(memory: GuestMemory): { bus: MmioBus; devices: Devices } {
  const bus = new MmioBus(gpa(abi.layout.MMIO_GPA), abi.layout.MMIO_STRIDE);
  const devices = createDevices(new GuestRam(memory.buffer), { stdout() {}, stderr() {} });
  for (const device of devicesOf(devices)) bus.add(device);
  return { bus, devices };
}
