/* A vCPU: its state, and one entry into the guest. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"
#include "timer.h"

/* The TypeScript face reads kvm_run at these offsets. */
_Static_assert(offsetof(struct kvm_run, kvm_valid_regs) == 288, "kvm_valid_regs");
_Static_assert(offsetof(struct kvm_run, kvm_dirty_regs) == 296, "kvm_dirty_regs");
_Static_assert(offsetof(struct kvm_run, s.regs.regs) == 304, "synced regs");
_Static_assert(offsetof(struct kvm_run, s.regs.sregs) == 448, "synced sregs");
_Static_assert(offsetof(struct kvm_run, io) == 32, "io");
_Static_assert(offsetof(struct kvm_run, mmio) == 32, "mmio");
_Static_assert(sizeof(struct kvm_regs) == 144 && sizeof(struct kvm_sregs) == 312, "registers");

/* Checkpoints hold these as bytes: another layout needs another STATE_VERSION. */
_Static_assert(sizeof(struct kvm_xcrs) == 392 && sizeof(struct kvm_xcr) == 16, "extended control registers");
_Static_assert(offsetof(struct kvm_xcrs, xcrs) == 8 && offsetof(struct kvm_xcr, value) == 8, "an XCR's value");
_Static_assert(offsetof(struct kvm_sregs, cr0) == 224 && offsetof(struct kvm_sregs, efer) == 264, "control registers");
_Static_assert(offsetof(struct kvm_regs, rip) == 128 && offsetof(struct kvm_regs, rflags) == 136, "rip and rflags");
_Static_assert(sizeof(struct kvm_segment) == 24 && offsetof(struct kvm_sregs, gdt) == 192, "segments");
_Static_assert(sizeof(struct kvm_vcpu_events) == 64 && sizeof(struct kvm_debugregs) == 128, "events, debug registers");
_Static_assert(offsetof(struct kvm_debugregs, dr7) == 40, "DR7");
_Static_assert(offsetof(struct kvm_xsave, region) == 0 && sizeof(((struct kvm_xsave *)0)->region) == 4096, "XSAVE area");

struct state_row {
  const char *get_name;
  const char *set_name;
  unsigned long get;
  unsigned long set;
  size_t bytes;
};

#define ROW(name, type)                                                                                                \
  { "KVM_GET_" #name, "KVM_SET_" #name, KVM_GET_##name, KVM_SET_##name, sizeof(type) }

static const struct state_row state_rows[STATES] = {
    [STATE_REGS] = ROW(REGS, struct kvm_regs),
    [STATE_SREGS] = ROW(SREGS, struct kvm_sregs),
    [STATE_FPU] = ROW(FPU, struct kvm_fpu),
    [STATE_XSAVE] = ROW(XSAVE, struct kvm_xsave),
    [STATE_EVENTS] = ROW(VCPU_EVENTS, struct kvm_vcpu_events),
    [STATE_XCRS] = ROW(XCRS, struct kvm_xcrs),
    [STATE_DEBUGREGS] = ROW(DEBUGREGS, struct kvm_debugregs),
    [STATE_MP_STATE] = ROW(MP_STATE, struct kvm_mp_state),
};

/*
 * The clock page pairs the host's TSC with the time, so the guest's must be the same one. KVM starts a vCPU's at 0
 * where the processor can add an offset.
 */
static outcome share_tsc(struct vcpu *vcpu) {
  uint64_t offset = 0;
  struct kvm_device_attr attr = {
      .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)(uintptr_t)&offset};
  return ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr) < 0 ? failure("KVM_SET_DEVICE_ATTR (TSC offset)") : success();
}

static outcome set_up(struct vcpu *vcpu) {
  struct kvm *kvm = vcpu->vm->kvm;
  void *run = mmap(NULL, kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
  if (run == MAP_FAILED) return failure("mmap of kvm_run");
  vcpu->run_page = mapping_adopt(run, kvm->run_bytes, MAPPING_RUN_PAGE);
  if (!vcpu->run_page) {
    munmap(run, kvm->run_bytes);
    return (outcome){"malloc", ENOMEM};
  }
  vcpu->run = run;
  vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  if (ioctl(vcpu->fd, KVM_SET_CPUID2, kvm->cpuid) < 0) return failure("KVM_SET_CPUID2");
  outcome o = share_tsc(vcpu);
  return failed(o) ? o : kick_register(vcpu);
}

outcome vcpu_create(struct vm *vm, int id, struct vcpu **out) {
  struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
  if (!vcpu) return (outcome){"malloc", ENOMEM};
  vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
  if (vcpu->fd < 0) {
    outcome o = failure("KVM_CREATE_VCPU");
    free(vcpu);
    return o;
  }
  atomic_init(&vcpu->refs, 1);
  atomic_fetch_add(&vm->refs, 1);
  vcpu->vm = vm;
  vcpu->last_exit = EXIT_INTERRUPTED;
  outcome o = set_up(vcpu);
  if (failed(o)) {
    vcpu_close(vcpu);
    vcpu_unref(vcpu);
    return o;
  }
  *out = vcpu;
  return o;
}

void vcpu_close(struct vcpu *vcpu) {
  if (vcpu->fd < 0) return;
  /* From here on no kick reaches the vCPU, so that kvm_run can go. */
  kick_unregister(vcpu);
  close(vcpu->fd);
  vcpu->fd = -1;
  vcpu->run = NULL;
  mapping_unref(vcpu->run_page);
  vcpu_set_clock(vcpu, NULL, 0);
  vm_unref(vcpu->vm);
}

struct vcpu *vcpu_ref(struct vcpu *vcpu) {
  atomic_fetch_add(&vcpu->refs, 1);
  return vcpu;
}

void vcpu_unref(struct vcpu *vcpu) {
  if (atomic_fetch_sub(&vcpu->refs, 1) == 1) free(vcpu);
}

size_t vcpu_state_bytes(const struct vcpu *vcpu, enum vcpu_state state) {
  return state == STATE_XSAVE ? vcpu->vm->xsave_bytes : state_rows[state].bytes;
}

outcome vcpu_get_state(struct vcpu *vcpu, enum vcpu_state state, void *bytes) {
  const struct state_row *row = &state_rows[state];
  if (state == STATE_XSAVE && vcpu->vm->xsave_bytes > sizeof(struct kvm_xsave))
    return ioctl(vcpu->fd, KVM_GET_XSAVE2, bytes) < 0 ? failure("KVM_GET_XSAVE2") : success();
  return ioctl(vcpu->fd, row->get, bytes) < 0 ? failure(row->get_name) : success();
}

outcome vcpu_set_state(struct vcpu *vcpu, enum vcpu_state state, void *bytes) {
  const struct state_row *row = &state_rows[state];
  return ioctl(vcpu->fd, row->set, bytes) < 0 ? failure(row->set_name) : success();
}

outcome vcpu_get_msrs(struct vcpu *vcpu, struct kvm_msrs *msrs, uint32_t *processed) {
  int count = ioctl(vcpu->fd, KVM_GET_MSRS, msrs);
  *processed = count < 0 ? 0 : (uint32_t)count;
  return count < 0 ? failure("KVM_GET_MSRS") : success();
}

outcome vcpu_set_msrs(struct vcpu *vcpu, struct kvm_msrs *msrs, uint32_t *processed) {
  int count = ioctl(vcpu->fd, KVM_SET_MSRS, msrs);
  *processed = count < 0 ? 0 : (uint32_t)count;
  return count < 0 ? failure("KVM_SET_MSRS") : success();
}

void vcpu_set_clock(struct vcpu *vcpu, struct mapping *memory, size_t offset) {
  struct mapping *old = vcpu->clock_memory;
  vcpu->clock_memory = memory ? mapping_ref(memory) : NULL;
  vcpu->clock = memory ? (struct clock_page *)(void *)(memory->bytes + offset) : NULL;
  mapping_unref(old);
  if (memory) {
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    clock_calibrate(khz > 0 ? (uint64_t)khz : 0);
  }
}

/* The errno is read in the same scope as the ioctl: nothing may come between. */
static outcome enter(struct vcpu *vcpu, int *exit_reason) {
  outcome o = success();
  if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) *exit_reason = (int)vcpu->run->exit_reason;
  else if (errno == EINTR) *exit_reason = EXIT_INTERRUPTED;
  else o = failure("KVM_RUN");
  return o;
}

outcome vcpu_run(struct vcpu *vcpu, int *exit_reason) {
  if (vcpu->clock) clock_write(vcpu->clock);
  outcome o = run_begin(vcpu);
  if (!failed(o)) o = enter(vcpu, exit_reason);
  run_end(vcpu);
  if (failed(o)) {
    vcpu->last_exit = KVM_EXIT_UNKNOWN;
    return o;
  }
  vcpu->last_exit = *exit_reason;
  if (*exit_reason == EXIT_INTERRUPTED) kick_consume(vcpu);
  return o;
}

outcome vcpu_complete_io(struct vcpu *vcpu, int *exit_reason) {
  __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
  outcome o = enter(vcpu, exit_reason);
  if (!failed(o)) vcpu->last_exit = *exit_reason;
  return o;
}
