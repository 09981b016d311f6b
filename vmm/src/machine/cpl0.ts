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
import { type ByteRange, SREGS_SIZE, sregsView } from '../kvm/index.js';
import { writeDescriptors } from './boot.js';
import type { KernelImage } from './kernel-image.js';
import { CR4_PGE, systemCallMsrs, type VcpuState, writeInitialSregs } from './vcpu-state.js';

const { layout } = abi;
const DESCRIPTORS_END = layout.IDT_GPA + 0x1000;
const BLOCK = 0x200000;

/**
 * Byte ranges of RAM, rising, that a clone may not write: what decides which code runs at CPL 0, but for page tables where
 * `nestedPaging`.
 */
export function guardedRanges(kernel: KernelImage, nestedPaging: boolean): ByteRange[] {
  const start = kernel.symbol('cpl0_start');
  const tables: ByteRange = [layout.PT_GPA, layout.PT_END_GPA - layout.PT_GPA];
  return [
    [layout.GDT_GPA, DESCRIPTORS_END - layout.GDT_GPA],
    ...(nestedPaging ? [] : [tables]),
    [start - layout.WINDOW_VA, kernel.symbol('cpl0_end') - start],
  ];
}

/**
 * Throws MAYFLY_TEMPLATE_TAMPERED unless these ranges and the system registers are as the VMM made them, and every page
 * table lies in its range.
 */
export function checkCpl0(ram: ArrayBuffer, kernel: KernelImage, vcpu: VcpuState): void {
  checkBytes(ram, kernel);
  checkTables(ram);
  checkRegisters(kernel, vcpu);
  checkBreakpoints(vcpu);
}

function tampered(what: string): MayflyError {
  return new MayflyError('MAYFLY_TEMPLATE_TAMPERED', `the program changed ${what} while it loaded`);
}

function checkBytes(ram: ArrayBuffer, kernel: KernelImage): void {
  const expected = new ArrayBuffer(DESCRIPTORS_END);
  writeDescriptors(new DataView(expected), kernel);
  if (!sameBytes(ram, expected, layout.GDT_GPA, DESCRIPTORS_END - layout.GDT_GPA, 0)) {
    throw tampered('the descriptor tables');
  }
  const start = kernel.symbol('cpl0_start') - layout.WINDOW_VA;
  const segment = kernel.segments.find(({ gpa }) => gpa === layout.KERNEL_GPA);
  const size = kernel.symbol('cpl0_end') - layout.WINDOW_VA - start;
  if (segment === undefined || !sameBytes(ram, segment.bytes, start, size, layout.KERNEL_GPA)) {
    throw tampered("the guest kernel's entry");
  }
}

/** Whether `size` bytes at `at` of `ram` are those of `expected`, whose first byte belongs at `base`. */
function sameBytes(
  ram: ArrayBuffer,
  expected: ArrayBuffer | Uint8Array,
  at: number,
  size: number,
  base: number,
): boolean {
  const bytes = expected instanceof Uint8Array ? expected : new Uint8Array(expected);
  return Buffer.from(ram, at, size).equals(bytes.subarray(at - base, at - base + size));
}

/** The kernel window leads where it led, and no table lies where a write to it would go unseen. */
function checkTables(ram: ArrayBuffer): void {
  const view = new DataView(ram);
  const seen = new Set<string>(); // a table may lead to itself
  const walk = (table: number, level: number) => {
    if (seen.has(`${table} ${level}`)) return;
    seen.add(`${table} ${level}`);
    for (let slot = 0; slot < 512; slot++) {
      const entry = view.getBigUint64(table + 8 * slot, true);
      const isLeaf = level === 1 || (level < 4 && (entry & LARGE) !== 0n);
      if ((entry & PRESENT) === 0n || isLeaf) continue;
      const below = Number(entry & ADDRESS);
      if (below < layout.PT_GPA || below >= layout.PT_END_GPA) throw tampered('the page tables');
      walk(below, level - 1);
    }
  };
  walk(layout.PT_GPA, 4);
  const size = Math.min(layout.WINDOW_SIZE, ram.byteLength);
  for (let at = 0; at < size; at += BLOCK) {
    if (leafOf(view, layout.WINDOW_VA + at) !== at) throw tampered('the kernel window');
  }
}
const PRESENT = 1n;
const LARGE = 0x80n;
const ADDRESS = 0xffffffffff000n;

/** Where the 2 MiB at `va` lead, as a GPA; undefined when it is not one 2 MiB entry. */
function leafOf(view: DataView, va: number): number | undefined {
  let table: number = layout.PT_GPA;
  for (const shift of [39, 30, 21]) {
    const entry = view.getBigUint64(table + 8 * (Math.floor(va / 2 ** shift) % 512), true);
    if ((entry & PRESENT) === 0n) return undefined;
    const isLeaf = (entry & LARGE) !== 0n;
    if (isLeaf) return shift === 21 ? Number(entry & ADDRESS) : undefined;
    table = Number(entry & ADDRESS);
  }
  return undefined;
}

/** fs, gs and CR2 are the program's; CR4.PGE changes at each flush. */
function checkRegisters(kernel: KernelImage, vcpu: VcpuState): void {
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
    systemCallMsrs(kernel.symbol('syscall_trap')).every(([i, value]) => msrs.get(i) === value);
  if (!same) throw tampered('system registers');
}

/** No address in DR0 to DR3, nothing enabled in DR7 (struct kvm_debugregs). DR6 keeps what a single step set there. */
function checkBreakpoints({ debugRegs }: VcpuState): void {
  const [dr0, dr1, dr2, dr3, , dr7] = new BigUint64Array(debugRegs);
  if (dr0 || dr1 || dr2 || dr3 || dr7 === undefined || (dr7 & 0xffn) !== 0n) {
    throw tampered('debug registers');
  }
}
