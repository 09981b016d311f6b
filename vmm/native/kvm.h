/* KVM objects: the device, VMs and vCPUs. Plain ioctls, no N-API. */
#ifndef MAYFLY_KVM_H
#define MAYFLY_KVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdint.h>

#include "clock.h"
#include "memory.h"
#include "outcome.h"

enum {
  VM_SLOTS_MAX = 128,
  CPUID_ENTRIES_MAX = 256,
  /* vcpu_run: a signal ended KVM_RUN. */
  EXIT_INTERRUPTED = -1,
};

struct kvm {
  int fd;
  size_t run_bytes;         /* size of the mapping of kvm_run */
  uint64_t sync_fields;     /* KVM_SYNC_X86_* that this kernel supports */
  struct kvm_cpuid2 *cpuid; /* what vCPUs get: KVM_GET_SUPPORTED_CPUID, until somebody changes it */
  atomic_uint refs;
};

struct vm {
  struct kvm *kvm;
  int fd;
  size_t xsave_bytes;
  struct mapping *slots[VM_SLOTS_MAX]; /* each holds a reference */
  atomic_uint refs;
};

struct vcpu {
  struct vm *vm;
  int fd; /* -1 once closed */
  struct kvm_run *run;
  struct mapping *run_page;
  int last_exit; /* what vcpu_run returned last */
  uint64_t slice_ns;
  struct mapping *clock_memory;
  struct clock_page *clock;
  uint64_t kick_token;
  atomic_int thread; /* kernel id of the thread that is in vcpu_run, 0 if none */
  atomic_bool kicked;
  atomic_uint refs;
};

/* Parts of a vCPU's state that are read and written whole, as the kernel's structs. */
enum vcpu_state {
  STATE_REGS,
  STATE_SREGS,
  STATE_FPU,
  STATE_XSAVE,
  STATE_EVENTS,
  STATE_XCRS,
  STATE_DEBUGREGS,
  STATE_MP_STATE,
  STATES,
};

outcome kvm_open(const char *path, struct kvm **out);
outcome kvm_check_extension(const struct kvm *kvm, int extension, int *result);
void kvm_unref(struct kvm *kvm);

outcome vm_create(struct kvm *kvm, struct vm **out);
/* The VM keeps the mapping until the VM itself is gone. The caller has checked ranges and that the
 * slot is free. */
outcome vm_set_memory(struct vm *vm, const struct kvm_userspace_memory_region *region, struct mapping *mapping);
/* RDMSR and WRMSR fault in the guest, whatever the MSR; what the host reads and writes is not concerned. */
outcome vm_deny_msrs(struct vm *vm);
void vm_unref(struct vm *vm);

outcome vcpu_create(struct vm *vm, int id, struct vcpu **out);
/* Frees everything but the struct itself, which lives until the last vcpu_unref. */
void vcpu_close(struct vcpu *vcpu);
struct vcpu *vcpu_ref(struct vcpu *vcpu);
void vcpu_unref(struct vcpu *vcpu);

size_t vcpu_state_bytes(const struct vcpu *vcpu, enum vcpu_state state);
outcome vcpu_get_state(struct vcpu *vcpu, enum vcpu_state state, void *bytes);
outcome vcpu_set_state(struct vcpu *vcpu, enum vcpu_state state, void *bytes);
/* `processed` is how many entries the kernel took: fewer than msrs->nmsrs means that the next one
 * was refused. */
outcome vcpu_get_msrs(struct vcpu *vcpu, struct kvm_msrs *msrs, uint32_t *processed);
outcome vcpu_set_msrs(struct vcpu *vcpu, struct kvm_msrs *msrs, uint32_t *processed);

/* Writes the clock page at each entry from now on; NULL memory ends that. */
void vcpu_set_clock(struct vcpu *vcpu, struct mapping *memory, size_t offset);

/* One KVM_RUN: the exit reason, or EXIT_INTERRUPTED when the slice is over or the vCPU was kicked.
 */
outcome vcpu_run(struct vcpu *vcpu, int *exit_reason);

/*
 * One KVM_RUN that completes a pending I/O instruction and stops before the next one:
 * EXIT_INTERRUPTED, or the exit reason if the same instruction needs more I/O.
 */
outcome vcpu_complete_io(struct vcpu *vcpu, int *exit_reason);

#endif
