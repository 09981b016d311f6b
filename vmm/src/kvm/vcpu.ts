import { runPageOffsets as at, syncFields } from './constants.js';
import type { GuestMemory } from './guest-memory.js';
import { decodeMsrs, encodeMsrs, type Msr } from './msrs.js';
import { native, type VcpuHandle, vcpuStates } from './native.js';
import { type RegsView, regsView, type SregsView, sregsView } from './registers.js';

/** What the getters of the last exit need, made on first use and dropped by close(). */
interface RunPage {
  readonly buffer: ArrayBuffer;
  readonly view: DataView;
  readonly regs: RegsView;
  readonly sregs: SregsView;
}

/**
 * A vCPU. It belongs to the thread that made it, and only kick() may be used from others.
 *
 * After each run() the registers lie in the run page: `syncRegs`, `syncSregs`. To change them for the next run, write
 * there and call dirty(). The get and set methods are ioctls (several µs each), for set-up and checkpoints.
 */
export class Vcpu {
  /** For the other classes of this folder. */
  readonly handle: VcpuHandle;
  readonly #onClose: () => void;
  #page: RunPage | undefined;

  /** Use Vm.createVcpu(). */
  constructor(handle: VcpuHandle, onClose: () => void) {
    this.handle = handle;
    this.#onClose = onClose;
  }

  /**
   * One KVM_RUN. Returns the exit reason (see `exits`), or -1 when a signal ended it: the slice is over, the vCPU was
   * kicked, or, now and then, neither. Blocks this thread: without a slice, until the guest exits or a kick comes.
   */
  run(): number {
    return native.vcpuRun(this.handle);
  }

  /**
   * Completes the I/O instruction of the last exit without executing another one. Until then the registers do not
   * describe the instruction's end (api.rst, KVM_RUN): call it before a vCPU's state is saved, and before registers are
   * replaced after an IN or an MMIO read. Returns -1, or an exit reason if the same instruction needs more I/O.
   */
  completeIo(): number {
    return native.vcpuCompleteIo(this.handle);
  }

  /** The next run() takes the registers (and segments, control registers) from the run page's sync area. */
  dirty(regs: boolean, sregs: boolean): void {
    const bits = (regs ? syncFields.REGS : 0) | (sregs ? syncFields.SREGS : 0);
    this.#runPage.view.setBigUint64(at.kvmDirtyRegs, BigInt(bits), true);
  }

  /** Ends each run() after `us` microseconds of wall-clock time; 0: never. One hour at most. */
  setSlice(us: number): void {
    native.vcpuSetSlice(this.handle, us);
  }

  /**
   * Before each entry, writes the time to `offset` (a multiple of 8) of the memory, as six u64:
   * {tsc_base, mono_base_ns, wall_base_ns, tsc_mult, tsc_shift}, where ns = base + ((rdtsc - tsc_base) * mult >> shift)
   * with a 128-bit product. null ends that.
   */
  setClock(memory: GuestMemory | null, offset = 0): void {
    native.vcpuSetClock(this.handle, memory === null ? null : memory.handle, offset);
  }

  /** For kick(); may be sent to any thread of this process, and is never reused. */
  get kickToken(): bigint {
    return native.vcpuKickToken(this.handle);
  }

  /**
   * From any thread: ends the vCPU's current run(), or if it is not running its next one, with -1. Kicks do not add up.
   * Returns false, and does nothing, if the vCPU is closed.
   */
  static kick(token: bigint): boolean {
    return native.kick(token);
  }

  get #runPage(): RunPage {
    if (this.#page === undefined) {
      const buffer = native.vcpuRunPage(this.handle);
      this.#page = {
        buffer,
        view: new DataView(buffer),
        regs: regsView(buffer, at.regs),
        sregs: sregsView(buffer, at.sregs),
      };
    }
    return this.#page;
  }

  /** struct kvm_run, shared with the kernel. Detached by close(). */
  get runPage(): ArrayBuffer {
    return this.#runPage.buffer;
  }

  /** Registers as of the last exit; for the next entry after dirty(true, ...). */
  get syncRegs(): RegsView {
    return this.#runPage.regs;
  }

  /** Segments and control registers as of the last exit; for the next entry after dirty(..., true). */
  get syncSregs(): SregsView {
    return this.#runPage.sregs;
  }

  /** Exit IO: the port. */
  get pioPort(): number {
    return this.#runPage.view.getUint16(at.ioPort, true);
  }

  /** Exit IO: bytes of one access, 1, 2 or 4. */
  get pioSize(): number {
    return this.#runPage.view.getUint8(at.ioSize);
  }

  /** Exit IO: how many accesses; more than 1 only for string instructions. */
  get pioCount(): number {
    return this.#runPage.view.getUint32(at.ioCount, true);
  }

  /** Exit IO: true for OUT, false for IN. */
  get pioIsWrite(): boolean {
    return this.#runPage.view.getUint8(at.ioDirection) === 1;
  }

  /** Exit IO: what the guest wrote, or where its IN's result goes: pioSize * pioCount bytes of the run page. */
  get pioData(): Uint8Array {
    const { buffer, view } = this.#runPage;
    const offset = Number(view.getBigUint64(at.ioDataOffset, true));
    return new Uint8Array(buffer, offset, this.pioSize * this.pioCount);
  }

  /** Exit MMIO: the guest-physical address. */
  get mmioPhysAddr(): number {
    return Number(this.#runPage.view.getBigUint64(at.mmioPhysAddr, true));
  }

  /** Exit MMIO: bytes, 1 to 8. */
  get mmioLen(): number {
    return this.#runPage.view.getUint32(at.mmioLen, true);
  }

  get mmioIsWrite(): boolean {
    return this.#runPage.view.getUint8(at.mmioIsWrite) !== 0;
  }

  /** Exit MMIO: what the guest wrote, or where its read's result goes: mmioLen bytes of the run page. */
  get mmioData(): Uint8Array {
    return new Uint8Array(this.#runPage.buffer, at.mmioData, this.mmioLen);
  }

  /** struct kvm_regs; see regsView. */
  getRegs(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.regs);
  }

  setRegs(regs: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.regs, regs);
  }

  /** struct kvm_sregs; see sregsView. */
  getSregs(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.sregs);
  }

  setSregs(sregs: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.sregs, sregs);
  }

  /** struct kvm_fpu: x87 and the low halves of the vector registers. */
  getFpu(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.fpu);
  }

  setFpu(fpu: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.fpu, fpu);
  }

  /** struct kvm_xsave (4096 bytes, more if the host has larger state): all vector state and PKRU. */
  getXsave(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.xsave);
  }

  setXsave(xsave: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.xsave, xsave);
  }

  /** struct kvm_vcpu_events: exceptions and interrupts under way. */
  getEvents(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.events);
  }

  setEvents(events: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.events, events);
  }

  /** struct kvm_xcrs: XCR0. */
  getXcrs(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.xcrs);
  }

  setXcrs(xcrs: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.xcrs, xcrs);
  }

  /** struct kvm_debugregs. */
  getDebugRegs(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.debugRegs);
  }

  setDebugRegs(debugRegs: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.debugRegs, debugRegs);
  }

  /** struct kvm_mp_state: runnable, halted, waiting for start-up. */
  getMpState(): ArrayBuffer {
    return native.vcpuGetState(this.handle, vcpuStates.mpState);
  }

  setMpState(mpState: ArrayBuffer): void {
    native.vcpuSetState(this.handle, vcpuStates.mpState, mpState);
  }

  /** Values in the order of the indices; 256 at most. Throws at the first that the kernel refuses, naming it. */
  getMsrs(indices: readonly number[]): bigint[] {
    const entries = encodeMsrs(indices.map((index): Msr => [index, 0n]));
    native.vcpuGetMsrs(this.handle, entries);
    return decodeMsrs(entries).map(([, value]) => value);
  }

  setMsrs(msrs: readonly Msr[]): void {
    native.vcpuSetMsrs(this.handle, encodeMsrs(msrs));
  }

  close(): void {
    this.#page = undefined;
    native.close(this.handle);
    this.#onClose();
  }
}
