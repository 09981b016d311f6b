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

type Accessor = PropertyDescriptor & ThisType<DataView>;

/** An accessor for a number of some bits, `at` bytes into a struct. */
const accessors = {
  8: (at: number): Accessor => ({
    get() {
      return this.getUint8(at);
    },
    set(value: number) {
      this.setUint8(at, value);
    },
  }),
  16: (at: number): Accessor => ({
    get() {
      return this.getUint16(at, true);
    },
    set(value: number) {
      this.setUint16(at, value, true);
    },
  }),
  32: (at: number): Accessor => ({
    get() {
      return this.getUint32(at, true);
    },
    set(value: number) {
      this.setUint32(at, value, true);
    },
  }),
  64: (at: number): Accessor => ({
    get() {
      return this.getBigUint64(at, true);
    },
    set(value: bigint) {
      this.setBigUint64(at, value, true);
    },
  }),
};

/** DataView, by a type that classes can extend. */
const Struct: new (buffer: ArrayBufferLike, at: number, size?: number) => DataView = DataView;
type Struct = typeof Struct;
type Offsets = Readonly<Record<string, number>>;

/** Fields are properties of the class, by which for-in finds them: each vCPU has views, and hundreds of closures should not be made for each. */
function define(struct: Struct, offsets: Offsets, accessorAt: (at: number) => Accessor): void {
  for (const [name, at] of Object.entries(offsets)) {
    Object.defineProperty(struct.prototype, name, { ...accessorAt(at), enumerable: true });
  }
}

class SegmentStruct extends Struct {}
define(SegmentStruct, { base: 0 }, accessors[64]);
define(SegmentStruct, { limit: 8 }, accessors[32]);
define(SegmentStruct, { selector: 12 }, accessors[16]);
define(SegmentStruct, segmentBytes, accessors[8]);

class TableStruct extends Struct {}
define(TableStruct, { base: 0 }, accessors[64]);
define(TableStruct, { limit: 8 }, accessors[16]);

class Regs extends Struct {}
define(Regs, regOffsets, accessors[64]);

class Sregs extends Struct {}
define(Sregs, sregOffsets, accessors[64]);
define(Sregs, segmentOffsets, within(SegmentStruct));
define(Sregs, tableOffsets, within(TableStruct));

function within(struct: Struct): (at: number) => Accessor {
  return (at) => ({
    get() {
      return new struct(this.buffer, this.byteOffset + at);
    },
  });
}

/** The general registers, rip and rflags at `offset` of `buffer`, which has REGS_SIZE bytes there. */
export function regsView(buffer: ArrayBuffer, offset = 0): RegsView {
  return new Regs(buffer, offset, REGS_SIZE) as DataView & RegsView;
}

/** Segments, descriptor tables and control registers at `offset` of `buffer`, which has SREGS_SIZE bytes there. */
export function sregsView(buffer: ArrayBuffer, offset = 0): SregsView {
  return new Sregs(buffer, offset, SREGS_SIZE) as DataView & SregsView;
}
