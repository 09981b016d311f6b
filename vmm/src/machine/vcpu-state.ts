/** The vCPU's state at its first instruction: long mode, CPL 3, all tables in place. */
import { abi } from '@mayfly/protocol';
import { sregOffsets, sregsView, type Vcpu } from '../kvm/index.js';

const { layout, selectors } = abi;

const CR0_PAGING = 0x80050033n; // PG AM WP NE ET MP PE
const CR4_BITS = 0x50620n; // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PAE
export const CR4_PGE = 0x80n;
const EFER_LONG = 0xd01n; // NXE LMA LME SCE

/**
 * The TSS has an I/O bitmap that allows every port up to 0x1cb7: IOPL is 0, and then an OUT at CPL 3 needs it.
 */
export const TSS_LIMIT = 0x3ff;

/** XCR0 masks to try, best first: AVX-512 and PKRU, AVX-512, AVX and PKRU, AVX, SSE. All include x87. */
export const XCR0_CANDIDATES = [0x2e7n, 0xe7n, 0x207n, 0x7n, 0x3n];

/**
 * Lets the guest use every vector extension that the host can save. XSETBV is privileged, so the guest cannot do it;
 * a fresh vCPU has x87 alone, and XSAVE would lose the SSE registers at each thread switch.
 */
export function enableVectorState(vcpu: Vcpu): void {
  const xcrs = vcpu.getXcrs();
  const view = new DataView(xcrs);
  view.setUint32(0, 1, true); // nr_xcrs
  view.setUint32(8, 0, true); // XCR0
  for (const mask of XCR0_CANDIDATES) {
    view.setBigUint64(16, mask, true);
    try {
      vcpu.setXcrs(xcrs);
      return;
    } catch (error) {
      if (mask === XCR0_CANDIDATES.at(-1)) throw error;
    }
  }
}

/**
 * Flags that `syscall` clears. A single step (TF) would trap at CPL 0, from where no gate leads to CPL 3; the guest
 * kernel finds it in the saved flags, and ends a debugger's step itself. The others
 * (DF, NT, AC) would be in force in the guest kernel's own code.
 */
const SFMASK = 0x44500n;

/** STAR, LSTAR, SFMASK: index and value. */
export const SYSTEM_CALL_MSRS: readonly [number, bigint][] = [
  [0xc0000081, (BigInt(selectors.KERNEL_CS) << 32n) | (0x23n << 48n)],
  [0xc0000082, BigInt(layout.SYSCALL_TRAP_VA)],
  [0xc0000084, SFMASK],
];

/** Segments as a descriptor of a flat 4 GiB segment at DPL 3 says them. */
const FLAT = { base: 0n, limit: 0xffffffff, present: 1, dpl: 3, s: 1, g: 1, avl: 0, unusable: 0 };

/** Turns a vCPU's fresh struct kvm_sregs into the initial one, in place. */
export function writeInitialSregs(buffer: ArrayBuffer): void {
  const sregs = sregsView(buffer);
  Object.assign(sregs.cs, FLAT, { selector: selectors.USER_CS, type: 11, l: 1, db: 0 });
  for (const data of [sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss]) {
    Object.assign(data, FLAT, { selector: selectors.USER_DS, type: 3, l: 0, db: 1 });
  }
  Object.assign(sregs.tr, {
    base: BigInt(layout.WINDOW_VA + layout.TSS_GPA),
    limit: TSS_LIMIT,
    selector: selectors.TSS_SEL,
    type: 11,
    present: 1,
    dpl: 0,
    db: 0,
    s: 0,
    l: 0,
    g: 0,
    avl: 0,
    unusable: 0,
  });
  sregs.gdt.base = BigInt(layout.WINDOW_VA + layout.GDT_GPA);
  sregs.gdt.limit = 0x4f;
  sregs.idt.base = BigInt(layout.WINDOW_VA + layout.IDT_GPA);
  sregs.idt.limit = 0x1ff;
  sregs.cr0 = CR0_PAGING;
  sregs.cr3 = BigInt(layout.PT_GPA);
  sregs.cr4 = CR4_BITS;
  sregs.efer = EFER_LONG;
}

/** A change of CR4.PGE flushes the guest's whole TLB (SDM vol. 3, 4.10.4.1). `at` is where kvm_sregs begins. */
export function togglePge(view: DataView, at: number): void {
  const cr4 = at + sregOffsets.cr4;
  view.setBigUint64(cr4, view.getBigUint64(cr4, true) ^ CR4_PGE, true);
}

/**
 * RFLAGS at the start and at each upcall: the reserved bit and IF. IOPL stays 0: OUT needs the TSS's bitmap only, and
 * `cli` in a program is the fault that it is on Linux.
 */
export const INITIAL_RFLAGS = 0x202n;

/** What a vCPU holds besides its memory: structs of linux/kvm.h as bytes. Plain data, crosses threads. */
export interface VcpuState {
  /** struct kvm_regs */
  regs: ArrayBuffer;
  /** struct kvm_sregs */
  sregs: ArrayBuffer;
  /** struct kvm_xsave; undefined where the guest had put its vector state into memory, as at an idle exit. */
  xsave: ArrayBuffer | undefined;
  /** struct kvm_xcrs */
  xcrs: ArrayBuffer;
  /** struct kvm_vcpu_events: what is to be delivered at the next entry. */
  events: ArrayBuffer;
  /** struct kvm_debugregs */
  debugRegs: ArrayBuffer;
  /** Index and value: what `syscall` needs. CPL 3 cannot write others. */
  msrs: readonly [index: number, value: bigint][];
}

const MSR_INDICES = SYSTEM_CALL_MSRS.map(([index]) => index);

/** At an exit whose instruction was completed. `idle`: the guest's vector state is in its memory. */
export function saveVcpu(vcpu: Vcpu, idle: boolean): VcpuState {
  const values = vcpu.getMsrs(MSR_INDICES);
  return {
    regs: vcpu.getRegs(),
    sregs: vcpu.getSregs(),
    xsave: idle ? undefined : vcpu.getXsave(),
    xcrs: vcpu.getXcrs(),
    events: vcpu.getEvents(),
    debugRegs: vcpu.getDebugRegs(),
    msrs: MSR_INDICES.map((index, i) => [index, values[i]!]),
  };
}

/**
 * KVM has an exception that it delivers at the next entry: one of its own, of an instruction that it emulates (pending),
 * or one whose delivery was cut short (injected).
 */
export function exceptionWaits(events: ArrayBuffer): boolean {
  const [injected, , , pending] = new Uint8Array(events);
  return injected !== 0 || pending !== 0;
}

/** Into a new vCPU. */
export function restoreVcpu(vcpu: Vcpu, state: VcpuState): void {
  vcpu.setXcrs(state.xcrs);
  vcpu.setMsrs(state.msrs);
  vcpu.setSregs(state.sregs);
  vcpu.setRegs(state.regs);
  if (state.xsave !== undefined) vcpu.setXsave(state.xsave);
  vcpu.setDebugRegs(state.debugRegs);
  vcpu.setEvents(state.events); // last: new registers drop an exception that waits
}

/** What `swapgs` exchanges with the base of GS. Nobody uses it. */
const KERNEL_GS_BASE = 0xc0000102;

/**
 * What code at CPL 0 can have changed and a Rewinder does not put back, where the guest is denied MSRs and told of no other
 * features than guestCpuid() leaves. Vector state is the guest kernel's to load.
 */
export function resetVcpu(vcpu: Vcpu, state: VcpuState): void {
  vcpu.setXcrs(state.xcrs);
  vcpu.setMsrs([[KERNEL_GS_BASE, 0n]]);
  vcpu.setDebugRegs(state.debugRegs);
}
