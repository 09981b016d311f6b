/** The smallest guest that is like Mayfly's: 64-bit, CPL 3, memory mapped one to one by 2 MiB entries. */
import { existsSync } from 'node:fs';
import { GuestMemory, Kvm, regsView, sregsView, type Vcpu, type Vm } from '../../src/kvm/index.js';

export const skip = existsSync('/dev/kvm') ? false : '/dev/kvm is missing';

const PML4 = 0x1000n;
const PDPT = 0x2000n;
const PD = 0x3000n;
const TSS = 0x5000n;
/** Where these are, as page numbers. */
export const TABLE_PAGES = [PML4, PDPT, PD].map((gpa) => Number(gpa / 4096n));
export const CODE = 0x10000;
export const STACK_TOP = 0x20000n;
/** Where guests in these tests write. */
export const DATA = 0x400000;
export const MEMORY_SIZE = 8 << 20;
/** The first guest address that is not memory. */
export const NOWHERE = 0x30000000;

/** present, writable, user, accessed, dirty */
const LEAF = 0x67n;
const TABLE = 0x27n;
const HUGE = 0x80n;

/** Machine code of these tests; every program reports by OUT to port 0xe9. */
export const programs = {
  /** rax = rbx + 1; OUT; again */
  increment: [0x48, 0x8d, 0x43, 0x01, 0xe6, 0xe9, 0x48, 0x89, 0xc3, 0xeb, 0xf6],
  /** jmp self */
  spin: [0xeb, 0xfe],
  /** IN al; OUT; jmp self */
  input: [0xe4, 0xe8, 0xe6, 0xe9, 0xeb, 0xfe],
  /** mov byte [address], value; OUT */
  store: (address: number, value: number) => [
    ...[0xc6, 0x04, 0x25, ...u32(address), value],
    ...[0xe6, 0xe9, 0xeb, 0xfc],
  ],
  /** mov rax, [address]; OUT */
  load: (address: number) => [0x48, 0x8b, 0x04, 0x25, ...u32(address), 0xe6, 0xe9, 0xeb, 0xfc],
  /** movups [address], xmm0: an MMIO write of 16 bytes, thus two exits; OUT */
  storeWide: (address: number) => [0x0f, 0x11, 0x04, 0x25, ...u32(address), 0xe6, 0xe9],
  /** writes al to the first byte of `count` pages, `stride` bytes apart, from DATA on; OUT */
  dirty: (count: number, stride: number) => [
    ...[0xbf, ...u32(DATA), 0xb9, ...u32(count)],
    ...[0x88, 0x07, 0x48, 0x81, 0xc7, ...u32(stride), 0xff, 0xc9, 0x75, 0xf3, 0xe6, 0xe9],
  ],
  /** DATA = the time by the clock page at `page`; OUT; again */
  clock: (page: number) => [
    ...[0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0], // rdtsc; rax |= rdx << 32
    ...[0x48, 0x2b, 0x04, 0x25, ...u32(page)], // rax -= tsc_base
    ...[0x48, 0xf7, 0x24, 0x25, ...u32(page + 24)], // rdx:rax = rax * mult
    ...[0x48, 0x8b, 0x0c, 0x25, ...u32(page + 32)], // rcx = shift
    ...[0x48, 0x0f, 0xad, 0xd0], // shrd rax, rdx, cl
    ...[0x48, 0x03, 0x04, 0x25, ...u32(page + 8)], // rax += mono_base
    ...[0x48, 0x89, 0x04, 0x25, ...u32(DATA)],
    ...[0xe6, 0xe9, 0xeb, 0xc7],
  ],
};

function u32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >>> 24) & 0xff];
}

/** Page tables for the first GiB, and the program at CODE. */
export function fillMemory(memory: GuestMemory, program: readonly number[]): void {
  const words = new BigUint64Array(memory.buffer, 0, 0x1000);
  words[Number(PML4) / 8] = PDPT | TABLE;
  words[Number(PDPT) / 8] = PD | TABLE;
  for (let i = 0; i < 512; i++) words[Number(PD) / 8 + i] = (BigInt(i) << 21n) | LEAF | HUGE;
  new Uint8Array(memory.buffer).set(program, CODE);
}

/** struct kvm_sregs for 64-bit code at CPL 3, from what the vCPU has now. */
export function userSregs(vcpu: Vcpu): ArrayBuffer {
  const bytes = vcpu.getSregs();
  const sregs = sregsView(bytes);
  sregs.cr0 = 0x80050033n;
  sregs.cr3 = PML4;
  sregs.cr4 = 0x620n;
  sregs.efer = 0xd01n;
  const common = { base: 0n, limit: 0xffffffff, present: 1, dpl: 3, s: 1, g: 1 };
  Object.assign(sregs.cs, { ...common, selector: 0x33, type: 11, l: 1, db: 0 });
  for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const) {
    Object.assign(sregs[name], { ...common, selector: 0x2b, type: 3, l: 0, db: 1 });
  }
  Object.assign(sregs.tr, { base: TSS, limit: 0x67, selector: 0x40, present: 1, type: 11, s: 0 });
  return bytes;
}

/** struct kvm_regs that start the program. */
export function startRegs(): ArrayBuffer {
  const bytes = new ArrayBuffer(144);
  Object.assign(regsView(bytes), { rip: BigInt(CODE), rsp: STACK_TOP, rflags: 0x3202n });
  return bytes;
}

export interface Guest {
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly memory: GuestMemory;
  readonly bytes: Uint8Array;
  close(): void;
}

/** A machine that is about to run what lies at CODE of the memory. */
export function startGuest(memory: GuestMemory): Guest {
  const kvm = Kvm.open();
  const vm = kvm.createVm();
  kvm.close();
  vm.setMemory(0, 0, memory);
  const vcpu = vm.createVcpu(0);
  vcpu.setSregs(userSregs(vcpu));
  vcpu.setRegs(startRegs());
  return {
    vm,
    vcpu,
    memory,
    bytes: new Uint8Array(memory.buffer),
    close() {
      vm.close();
      memory.close();
    },
  };
}

/** A machine with memory of its own that is about to run the program. */
export function createGuest(program: readonly number[]): Guest {
  const memory = GuestMemory.anonymous(MEMORY_SIZE);
  fillMemory(memory, program);
  return startGuest(memory);
}
