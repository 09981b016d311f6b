/**
 * Named fields of struct kvm_regs and struct kvm_sregs (asm/kvm.h, x86-64) on any buffer: what an ioctl returned, the
 * sync area of a run page, or a checkpoint's bytes. Views hold no copy: reading and writing goes to the buffer.
 */

export const REGS_SIZE = 144;
export const SREGS_SIZE = 312;
/** Bytes of struct kvm_xcrs. */
export const XCRS_SIZE = 392;
/** Bytes of struct kvm_vcpu_events and struct kvm_debugregs. */
export const EVENTS_SIZE = 64;
export const DEBUG_REGS_SIZE = 128;
/** Bytes of struct kvm_xsave: what processors without AMX need; more where KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) says so. */
export const XSAVE_SIZE_MIN = 4096;
export const XSAVE_SIZE_MAX = 65536;

const regNames = [
  'rax',
  'rbx',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'rsp',
  'rbp',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'rflags',
] as const;
export type RegName = (typeof regNames)[number];

/** Byte offsets in struct kvm_regs; each field is 8 bytes. */
export const regOffsets = Object.freeze(
  Object.fromEntries(regNames.map((name, index) => [name, index * 8])),
) as Readonly<Record<RegName, number>>;

/** Byte offsets in struct kvm_sregs of the 8-byte fields. */
export const sregOffsets = Object.freeze({
  cr0: 224,
  cr2: 232,
  cr3: 240,
  cr4: 248,
  cr8: 256,
  efer: 264,
  apic_base: 272,
} as const);
export type SregName = keyof typeof sregOffsets;

/** Byte offsets in struct kvm_sregs of its segments (struct kvm_segment, 24 bytes). */
export const segmentOffsets = Object.freeze({
  cs: 0,
  ds: 24,
  es: 48,
  fs: 72,
  gs: 96,
  ss: 120,
  tr: 144,
  ldt: 168,
} as const);
export type SegmentName = keyof typeof segmentOffsets;

/** Byte offsets in struct kvm_sregs of its descriptor tables (struct kvm_dtable, 16 bytes). */
export const tableOffsets = Object.freeze({ gdt: 192, idt: 208 } as const);
export type TableName = keyof typeof tableOffsets;

/** Byte offsets in struct kvm_segment of the 1-byte fields. */
const segmentBytes = {
  type: 14,
  present: 15,
  dpl: 16,
  db: 17,
  s: 18,
  l: 19,
  g: 20,
  avl: 21,
  unusable: 22,
} as const;

/** struct kvm_segment: `base` in full, `limit` in bytes, the rest as in a descriptor. */
export interface Segment {
  base: bigint;
  limit: number;
  selector: number;
  type: number;
  present: number;
  dpl: number;
  db: number;
  s: number;
  l: number;
  g: number;
  avl: number;
  unusable: number;
}

/** struct kvm_dtable: where a descriptor table lies, and its last byte. */
export interface DescriptorTable {
  base: bigint;
  limit: number;
}

export type RegsView = Record<RegName, bigint>;
export type SregsView = Record<SregName, bigint> &
  Readonly<Record<SegmentName, Segment>> &
  Readonly<Record<TableName, DescriptorTable>>;

type Width = 8 | 16 | 32 | 64;

/** Makes an accessor property for `width` bits at byte `at`. */
function define(target: object, name: string, view: DataView, at: number, width: Width): void {
  const accessor = {
    8: [() => view.getUint8(at), (v: number) => view.setUint8(at, v)],
    16: [() => view.getUint16(at, true), (v: number) => view.setUint16(at, v, true)],
    32: [() => view.getUint32(at, true), (v: number) => view.setUint32(at, v, true)],
    64: [() => view.getBigUint64(at, true), (v: bigint) => view.setBigUint64(at, v, true)],
  }[width] as [() => unknown, (v: unknown) => void];
  Object.defineProperty(target, name, { get: accessor[0], set: accessor[1], enumerable: true });
}

/** The general registers, rip and rflags at `offset` of `buffer`, which has REGS_SIZE bytes there. */
export function regsView(buffer: ArrayBuffer, offset = 0): RegsView {
  const view = new DataView(buffer, offset, REGS_SIZE);
  const target = {};
  for (const name of regNames) define(target, name, view, regOffsets[name], 64);
  return target as RegsView;
}

function segmentView(view: DataView, at: number): Segment {
  const target = {};
  define(target, 'base', view, at, 64);
  define(target, 'limit', view, at + 8, 32);
  define(target, 'selector', view, at + 12, 16);
  for (const [name, offset] of Object.entries(segmentBytes)) {
    define(target, name, view, at + offset, 8);
  }
  return target as Segment;
}

function tableView(view: DataView, at: number): DescriptorTable {
  const target = {};
  define(target, 'base', view, at, 64);
  define(target, 'limit', view, at + 8, 16);
  return target as DescriptorTable;
}

/** Segments, descriptor tables and control registers at `offset` of `buffer`, which has SREGS_SIZE bytes there. */
export function sregsView(buffer: ArrayBuffer, offset = 0): SregsView {
  const view = new DataView(buffer, offset, SREGS_SIZE);
  const target: Record<string, unknown> = {};
  for (const [name, at] of Object.entries(sregOffsets)) define(target, name, view, at, 64);
  for (const [name, at] of Object.entries(segmentOffsets)) target[name] = segmentView(view, at);
  for (const [name, at] of Object.entries(tableOffsets)) target[name] = tableView(view, at);
  return target as SregsView;
}
