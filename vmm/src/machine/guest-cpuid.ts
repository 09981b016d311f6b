/**
 * What CPUID tells a guest where KVM runs on VT-x or SVM: all that KVM supports but what would give code at CPL 0 registers
 * that no rewind puts back. KVM refuses the control-register and XCR0 bits of features that are not told.
 * docs/decisions/0011-cpl0-is-one-page.md
 */

/** struct kvm_cpuid_entry2: function, index, flags, eax, ebx, ecx, edx, 3 words of padding. */
const ENTRY_SIZE = 40;
const FUNCTION = 0;
const INDEX = 4;
const REGISTERS = { eax: 12, ebx: 16, ecx: 20, edx: 24 } as const;
type Register = keyof typeof REGISTERS;

const bits = (...numbers: number[]) => numbers.reduce((mask, bit) => mask | (1 << bit), 0) >>> 0;

/** x87, SSE, AVX, AVX-512, PKRU: what the guest kernel loads before it goes on. Not MPX, not AMX. */
const VECTOR_COMPONENTS = bits(0, 1, 2, 5, 6, 7, 9);

/** Function, index, register, bits. */
const HIDDEN: readonly [number, number, Register, number][] = [
  [1, 0, 'ecx', bits(5, 6)], // VMX, SMX
  [7, 0, 'ebx', bits(2, 14)], // SGX, MPX
  [7, 0, 'ecx', bits(7, 23, 30, 31)], // shadow stacks, Key Locker, SGX launch, supervisor protection keys
  [7, 0, 'edx', bits(5, 20, 22, 24, 25)], // user interrupts, indirect branch tracking, AMX
  [7, 1, 'eax', bits(17, 18, 21)], // FRED, LKGS, AMX
  [7, 1, 'edx', bits(8, 18)], // AMX, supervisor shadow stacks
  [0xd, 0, 'eax', ~VECTOR_COMPONENTS >>> 0],
  [0xd, 0, 'edx', 0xffffffff],
  [0xd, 1, 'eax', bits(4)], // XFD
  [0xd, 1, 'ecx', 0xffffffff], // supervisor components
  [0xd, 1, 'edx', 0xffffffff],
  [0x80000001, 0, 'ecx', bits(2, 12)], // SVM, SKINIT
];

/** SGX, AMX, SVM */
const HIDDEN_FUNCTIONS = new Set([0x12, 0x1d, 0x1e, 0x8000000a]);

/** `supported`: KVM_GET_SUPPORTED_CPUID, an array of struct kvm_cpuid_entry2. */
export function guestCpuid(supported: ArrayBuffer): ArrayBuffer {
  const entries = supported.slice(0);
  const all = views(entries);
  for (const entry of all) hide(entry);
  const [summary] = all.filter((entry) => is(entry, 0xd, 0));
  summary?.setUint32(REGISTERS.ecx, sizeOfComponents(all), true);
  return entries;
}

function views(entries: ArrayBuffer): DataView[] {
  const count = Math.floor(entries.byteLength / ENTRY_SIZE);
  return Array.from({ length: count }, (_, i) => new DataView(entries, i * ENTRY_SIZE, ENTRY_SIZE));
}

function is(entry: DataView, leaf: number, index: number): boolean {
  return entry.getUint32(FUNCTION, true) === leaf && entry.getUint32(INDEX, true) === index;
}

function hide(entry: DataView): void {
  if (HIDDEN_FUNCTIONS.has(entry.getUint32(FUNCTION, true)) || isHiddenComponent(entry)) {
    for (const at of Object.values(REGISTERS)) entry.setUint32(at, 0, true);
  }
  for (const [leaf, index, register, mask] of HIDDEN) {
    if (!is(entry, leaf, index)) continue;
    const at = REGISTERS[register];
    entry.setUint32(at, entry.getUint32(at, true) & ~mask, true);
  }
}

/** Function 0xd tells of component i at index i, from 2 on. */
function isHiddenComponent(entry: DataView): boolean {
  const index = entry.getUint32(INDEX, true);
  if (entry.getUint32(FUNCTION, true) !== 0xd || index < 2) return false;
  return index > 31 || (VECTOR_COMPONENTS & (1 << index)) === 0;
}

/** Bytes of an XSAVE area in standard format with all components (SDM vol. 1, 13.2): size in eax, offset in ebx. */
function sizeOfComponents(entries: readonly DataView[]): number {
  const ends = entries
    .filter((entry) => entry.getUint32(FUNCTION, true) === 0xd && entry.getUint32(INDEX, true) > 1)
    .map((entry) => entry.getUint32(REGISTERS.eax, true) + entry.getUint32(REGISTERS.ebx, true));
  return Math.max(512 + 64, ...ends);
}
