/** Numbers of linux/kvm.h that callers compare with. */

/** kvm_run.exit_reason */
export const exits = {
  /** Not KVM's: a signal ended the run (slice over, or kicked). */
  INTERRUPTED: -1,
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
  MEMORY_FAULT: 39,
} as const;

/** Offsets of the fields of struct kvm_run that are used here; native/vcpu.c asserts them. */
export const runPageOffsets = {
  exitReason: 8,
  ioDirection: 32,
  ioSize: 33,
  ioPort: 34,
  ioCount: 36,
  ioDataOffset: 40,
  mmioPhysAddr: 32,
  mmioData: 40,
  mmioLen: 48,
  mmioIsWrite: 52,
  internalSuberror: 32,
  kvmValidRegs: 288,
  kvmDirtyRegs: 296,
  /** struct kvm_regs as of the last exit */
  regs: 304,
  /** struct kvm_sregs as of the last exit */
  sregs: 448,
} as const;

/** Bits of kvm_valid_regs and kvm_dirty_regs. */
export const syncFields = { REGS: 1, SREGS: 2, EVENTS: 4 } as const;
