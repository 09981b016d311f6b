/* The KVM device and VMs. */
#include "kvm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* KVM_GET_SUPPORTED_CPUID is the same for every VM, so it is asked once. */
static outcome load_cpuid(struct kvm *kvm) {
  size_t bytes = sizeof(struct kvm_cpuid2) + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2);
  kvm->cpuid = calloc(1, bytes);
  if (!kvm->cpuid) return (outcome){"malloc", ENOMEM};
  kvm->cpuid->nent = CPUID_ENTRIES_MAX;
  if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, kvm->cpuid) < 0) return failure("KVM_GET_SUPPORTED_CPUID");
  return success();
}

static outcome load_facts(struct kvm *kvm) {
  int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
  if (version < 0) return failure("KVM_GET_API_VERSION");
  if (version != KVM_API_VERSION) return (outcome){"KVM_GET_API_VERSION", ENOTSUP};
  int run_bytes = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_bytes < (int)sizeof(struct kvm_run)) return failure("KVM_GET_VCPU_MMAP_SIZE");
  kvm->run_bytes = (size_t)run_bytes;
  int fields = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
  if (fields < 0) return failure("KVM_CHECK_EXTENSION");
  if ((fields & (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)) != (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS))
    return (outcome){"KVM_CHECK_EXTENSION(KVM_CAP_SYNC_REGS)", ENOTSUP};
  kvm->sync_fields = (uint64_t)fields;
  return load_cpuid(kvm);
}

outcome kvm_open(const char *path, struct kvm **out) {
  struct kvm *kvm = calloc(1, sizeof(*kvm));
  if (!kvm) return (outcome){"malloc", ENOMEM};
  atomic_init(&kvm->refs, 1);
  kvm->fd = open(path, O_RDWR | O_CLOEXEC);
  if (kvm->fd < 0) {
    outcome o = failure("open");
    free(kvm);
    return o;
  }
  outcome o = load_facts(kvm);
  if (failed(o)) {
    kvm_unref(kvm);
    return o;
  }
  *out = kvm;
  return o;
}

outcome kvm_check_extension(const struct kvm *kvm, int extension, int *result) {
  *result = ioctl(kvm->fd, KVM_CHECK_EXTENSION, extension);
  return *result < 0 ? failure("KVM_CHECK_EXTENSION") : success();
}

void kvm_unref(struct kvm *kvm) {
  if (atomic_fetch_sub(&kvm->refs, 1) != 1) return;
  close(kvm->fd);
  free(kvm->cpuid);
  free(kvm);
}

outcome vm_create(struct kvm *kvm, struct vm **out) {
  struct vm *vm = calloc(1, sizeof(*vm));
  if (!vm) return (outcome){"malloc", ENOMEM};
  do vm->fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
  while (vm->fd < 0 && errno == EINTR);
  if (vm->fd < 0) {
    outcome o = failure("KVM_CREATE_VM");
    free(vm);
    return o;
  }
  atomic_init(&vm->refs, 1);
  atomic_fetch_add(&kvm->refs, 1);
  vm->kvm = kvm;
  /* Without the capability the state fits the fixed struct. */
  int xsave_bytes = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  vm->xsave_bytes = xsave_bytes > (int)sizeof(struct kvm_xsave) ? (size_t)xsave_bytes : sizeof(struct kvm_xsave);
  *out = vm;
  return success();
}

outcome vm_set_memory(struct vm *vm, const struct kvm_userspace_memory_region *region, struct mapping *mapping) {
  if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, region) < 0) return failure("KVM_SET_USER_MEMORY_REGION");
  vm->slots[region->slot] = mapping_ref(mapping);
  return success();
}

outcome vm_deny_msrs(struct vm *vm) {
  /* KVM wants one range at least: MSR 0, in whose bitmap nothing is allowed either. */
  uint8_t nothing = 0;
  struct kvm_msr_filter filter = {
      .flags = KVM_MSR_FILTER_DEFAULT_DENY,
      .ranges[0] = {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 1, .base = 0, .bitmap = &nothing},
  };
  return ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) < 0 ? failure("KVM_X86_SET_MSR_FILTER") : success();
}

void vm_unref(struct vm *vm) {
  if (atomic_fetch_sub(&vm->refs, 1) != 1) return;
  /* The VM goes before its memory: a guest must never see what is mapped at that address next. */
  close(vm->fd);
  for (int i = 0; i < VM_SLOTS_MAX; i++) mapping_unref(vm->slots[i]);
  kvm_unref(vm->kvm);
  free(vm);
}
