/**
 * What a guest runs at CPL 0, and that it stays so.
 *
 * `syscall` and the page fault enter CPL 0 for a few instructions, all in one page of the guest kernel. Nothing keeps a
 * guest from writing to that page, to the descriptor tables or to page tables, but a page that was written is known: the
 * clone is thrown away, and with it whatever its guest did at CPL 0 to registers that no rewind puts back.
 *
 * With nested paging the processor writes to page tables whenever it walks them. There they are put back with the other
 * pages, and so is all that code at CPL 0 can change: docs/decisions/0011-cpl0-is-one-page.md
 */
import { abi, MayflyError } from '@mayfly/protocol';
import { type ByteRange, GuestMemory, SREGS_SIZE, sregsView } from '../kvm/index.js';
import { writeDescriptors } from './boot.js';
import { KernelImage } from './kernel-image.js';
import type { MachineSource } from './machine-state.js';
import { CR4_PGE, SYSTEM_CALL_MSRS, type VcpuState, writeInitialSregs } from './vcpu-state.js';

const { layout } = abi;
const DESCRIPTORS_END = layout.IDT_GPA + 0x1000;
const BLOCK = 0x200000;

/**
 * Byte ranges of RAM, rising, that a clone may not write: what decides which code runs at CPL 0, but for page tables where
 * `nestedPaging`.
 */
export function guardedRanges(nestedPaging: boolean): ByteRange[] {
  const tables: ByteRange = [layout.PT_GPA, layout.PT_END_GPA - layout.PT_GPA];
  return [
    [layout.GDT_GPA, DESCRIPTORS_END - layout.GDT_GPA],
    ...(nestedPaging ? [] : [tables]),
    [layout.KERNEL_GPA, layout.CPL0_SIZE],
  ];
}

/**
 * Throws MAYFLY_TEMPLATE_TAMPERED unless these ranges and the system registers are as the VMM made them, and every page
 * table lies in its range. `ram`: RAM of `memorySize` bytes, or as much of its start as these ranges need.
 */
export function checkCpl0(
  ram: ArrayBuffer,
  memorySize: number,
  kernel: KernelImage,
  vcpu: VcpuState,
): void {
  checkBytes(ram, kernel);
  checkTables(ram, memorySize);
  checkRegisters(vcpu);
  checkBreakpoints(vcpu);
}

/** checkCpl0() of what machines are made from, before there is one. Throws what it throws. */
export function checkSource({ memoryFd, memorySize, state }: MachineSource): void {
  const size = layout.KERNEL_GPA + layout.CPL0_SIZE;
  if (memorySize < size) throw tampered('its memory');
  const start = GuestMemory.readonlyFile(memoryFd, size);
  try {
    checkCpl0(start.buffer, memorySize, KernelImage.default(), state.vcpu);
  } finally {
    start.close();
  }
}

/** Whether the machine stands in the few instructions that run at CPL 0. */
export function isAtCpl0({ sregs }: VcpuState): boolean {
  return (sregsView(sregs).cs.selector & 3) === 0;
}

function tampered(what: string): MayflyError {
  return new MayflyError('MAYFLY_TEMPLATE_TAMPERED', `the program changed ${what}`);
}

function checkBytes(ram: ArrayBuffer, kernel: KernelImage): void {
  const expected = new ArrayBuffer(DESCRIPTORS_END);
  writeDescriptors(new DataView(expected));
  const tables = new Uint8Array(expected, layout.GDT_GPA);
  if (!hasBytes(ram, layout.GDT_GPA, tables)) throw tampered('the descriptor tables');
  if (!hasBytes(ram, layout.KERNEL_GPA, kernel.cpl0Page())) {
    throw tampered("the guest kernel's entry");
  }
}

const hasBytes = (ram: ArrayBuffer, at: number, expected: Uint8Array) =>
  Buffer.from(ram, at, expected.length).equals(expected);

/** The kernel window leads where it led, and no table lies where a write to it would go unseen. */
function checkTables(ram: ArrayBuffer, memorySize: number): void {
  const words = new Uint32Array(ram, 0, layout.PT_END_GPA / 4); // two an entry; a guest has thousands
  const seen = new Set<number>(); // a table may lead to itself
  const walk = (table: number, level: number) => {
    if (seen.has(table + level)) return;
    seen.add(table + level);
    for (let entry = table; entry < table + TABLE_BYTES; entry += 8) {
      const low = words[entry / 4]!;
      if ((low & PRESENT) === 0 || (level < 4 && (low & LARGE) !== 0)) continue;
      const below = addressIn(words, entry);
      if (below < layout.PT_GPA || below >= layout.PT_END_GPA) throw tampered('the page tables');
      if (level > 2) walk(below, level - 1);
    }
  };
  walk(layout.PT_GPA, 4);
  const size = Math.min(layout.WINDOW_SIZE, memorySize);
  for (let at = 0; at < size; at += BLOCK) {
    if (leafOf(words, layout.WINDOW_VA + at) !== at) throw tampered('the kernel window');
  }
}

const TABLE_BYTES = 4096;
const PRESENT = 1;
const LARGE = 0x80;

/** The address in an entry: its bits 12 to 51. */
function addressIn(words: Uint32Array, entry: number): number {
  const low = words[entry / 4]! & ~0xfff;
  return (words[entry / 4 + 1]! & 0xfffff) * 2 ** 32 + (low >>> 0);
}

/** Where the 2 MiB at `va` lead, as a GPA; undefined when it is not one 2 MiB entry. */
function leafOf(words: Uint32Array, va: number): number | undefined {
  let table: number = layout.PT_GPA;
  for (const shift of [39, 30, 21]) {
    const entry = table + 8 * (Math.floor(va / 2 ** shift) % 512);
    const low = words[entry / 4]!;
    if ((low & PRESENT) === 0) return undefined;
    const isLeaf = (low & LARGE) !== 0;
    if (isLeaf) return shift === 21 ? addressIn(words, entry) : undefined;
    table = addressIn(words, entry);
  }
  return undefined;
}

/** fs, gs and CR2 are the program's; CR4.PGE changes at each flush. */
function checkRegisters(vcpu: VcpuState): void {
  const expected = new ArrayBuffer(SREGS_SIZE);
  writeInitialSregs(expected);
  const [now, initial] = [sregsView(vcpu.sregs), sregsView(expected)];
  const msrs = new Map(vcpu.msrs);
  const same =
    now.cr0 === initial.cr0 &&
    now.cr3 === initial.cr3 &&
    (now.cr4 & ~CR4_PGE) === initial.cr4 &&
    now.efer === initial.efer &&
    (['gdt', 'idt', 'tr'] as const).every((name) => now[name].base === initial[name].base) &&
    now.gdt.limit === initial.gdt.limit &&
    now.idt.limit === initial.idt.limit &&
    now.tr.limit === initial.tr.limit &&
    now.cs.selector === initial.cs.selector &&
    now.ldt.selector === 0 &&
    SYSTEM_CALL_MSRS.every(([i, value]) => msrs.get(i) === value);
  if (!same) throw tampered('system registers');
}

/** No address in DR0 to DR3, nothing enabled in DR7 (struct kvm_debugregs). DR6 keeps what a single step set there. */
function checkBreakpoints({ debugRegs }: VcpuState): void {
  const [dr0, dr1, dr2, dr3, , dr7] = new BigUint64Array(debugRegs);
  if (dr0 || dr1 || dr2 || dr3 || dr7 === undefined || (dr7 & 0xffn) !== 0n) {
    throw tampered('debug registers');
  }
}
