/* The module: its table of exports, and the functions of the device and of VMs. */
#include "addon.h"
#include "clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kvm.h"
#include "pagemap.h"

/* Guest-physical addresses have 52 bits at most. */
static const uint64_t GPA_MAX = (1ull << 52) - 1;

napi_value export_set_error_class(napi_env env, napi_callback_info info) {
  struct call call;
  struct env_state *state = env_state(env);
  if (!call_begin(env, info, &call)) return NULL;
  if (state->error_class) napi_delete_reference(env, state->error_class);
  state->error_class = NULL;
  if (!napi_check(env, napi_create_reference(env, call.values[0], 1, &state->error_class))) return NULL;
  return make_undefined(env);
}

static napi_value throw_open(napi_env env, const char *path, outcome o) {
  char message[512];
  if (o.err == ENOENT || o.err == ENODEV || o.err == ENXIO) {
    snprintf(message, sizeof(message), "%s does not exist: this host has no KVM, or its module is not loaded", path);
    return throw_code(env, "MAYFLY_KVM_MISSING", message, o.call, o.err);
  }
  if (o.err == EACCES || o.err == EPERM) {
    snprintf(message, sizeof(message), "no permission to open %s: this user must be able to read and write it", path);
    return throw_code(env, "MAYFLY_KVM_PERMISSION", message, o.call, o.err);
  }
  return throw_outcome(env, o);
}

napi_value export_kvm_open(napi_env env, napi_callback_info info) {
  struct call call;
  struct kvm *kvm;
  char path[256];
  if (!call_begin(env, info, &call) || !get_string(&call, 0, "path", path, sizeof(path))) return NULL;
  /* Now, since the process may be confined later; if it fails, creating a rewinder says so. */
  pagemap_open();
  outcome o = kvm_open(path, &kvm);
  return failed(o) ? throw_open(env, path, o) : handle_create(env, HANDLE_KVM, kvm);
}

napi_value export_kvm_check_extension(napi_env env, napi_callback_info info) {
  struct call call;
  struct kvm *kvm;
  uint64_t extension;
  int result;
  if (!call_begin(env, info, &call) || !(kvm = get_object(&call, 0, HANDLE_KVM)) ||
      !get_integer(&call, 1, "extension", INT32_MAX, &extension))
    return NULL;
  outcome o = kvm_check_extension(kvm, (int)extension, &result);
  return failed(o) ? throw_outcome(env, o) : make_number(env, result);
}

/* Entries come and go in an ArrayBuffer of struct kvm_cpuid_entry2. */
napi_value export_kvm_get_cpuid(napi_env env, napi_callback_info info) {
  struct call call;
  struct kvm *kvm;
  void *bytes;
  napi_value buffer;
  if (!call_begin(env, info, &call) || !(kvm = get_object(&call, 0, HANDLE_KVM))) return NULL;
  size_t length = kvm->cpuid->nent * sizeof(struct kvm_cpuid_entry2);
  if (!napi_check(env, napi_create_arraybuffer(env, length, &bytes, &buffer))) return NULL;
  memcpy(bytes, kvm->cpuid->entries, length);
  return buffer;
}

napi_value export_kvm_set_cpuid(napi_env env, napi_callback_info info) {
  struct call call;
  struct kvm *kvm;
  void *bytes;
  size_t length;
  if (!call_begin(env, info, &call) || !(kvm = get_object(&call, 0, HANDLE_KVM)) ||
      !get_buffer(&call, 1, "entries", NULL, &bytes, &length))
    return NULL;
  size_t count = length / sizeof(struct kvm_cpuid_entry2);
  if (count > CPUID_ENTRIES_MAX || count * sizeof(struct kvm_cpuid_entry2) != length)
    return throw_argument(env, "entries (argument 2) must be %d entries of 40 bytes at most", CPUID_ENTRIES_MAX);
  memcpy(kvm->cpuid->entries, bytes, length);
  kvm->cpuid->nent = (uint32_t)count;
  return make_undefined(env);
}

napi_value export_kvm_create_vm(napi_env env, napi_callback_info info) {
  struct call call;
  struct kvm *kvm;
  struct vm *vm;
  if (!call_begin(env, info, &call) || !(kvm = get_object(&call, 0, HANDLE_KVM))) return NULL;
  outcome o = vm_create(kvm, &vm);
  return failed(o) ? throw_outcome(env, o) : handle_create(env, HANDLE_VM, vm);
}

/* Whether offset and size name whole pages inside the mapping. */
static bool is_page_range(const struct mapping *mapping, uint64_t offset, uint64_t size) {
  return size > 0 && ((offset | size) & (PAGE_BYTES - 1)) == 0 && offset <= mapping->size &&
         size <= mapping->size - offset;
}

napi_value export_vm_set_memory(napi_env env, napi_callback_info info) {
  struct call call;
  struct vm *vm;
  struct mapping *memory;
  uint64_t slot, gpa, offset, size;
  bool readonly;
  if (!call_begin(env, info, &call) || !(vm = get_object(&call, 0, HANDLE_VM)) ||
      !get_integer(&call, 1, "slot", VM_SLOTS_MAX - 1, &slot) || !get_integer(&call, 2, "gpa", GPA_MAX, &gpa) ||
      !(memory = get_object(&call, 3, HANDLE_MEMORY)) || !get_integer(&call, 4, "offset", UINT64_MAX, &offset) ||
      !get_integer(&call, 5, "size", UINT64_MAX, &size) || !get_bool(&call, 6, "readonly", &readonly))
    return NULL;
  if (!is_page_range(memory, offset, size))
    return throw_argument(env, "offset and size must be whole 4 KiB pages inside the memory of %zu bytes",
                          memory->size);
  if ((gpa & (PAGE_BYTES - 1)) != 0 || size > GPA_MAX + 1 - gpa)
    return throw_argument(env, "gpa must be a multiple of 4096 with the memory ending below 2^52");
  if (!readonly && !mapping_is_writable(memory)) return throw_argument(env, "read-only memory needs a read-only slot");
  if (vm->slots[slot]) return throw_argument(env, "slot %" PRIu64 " is taken", slot);
  struct kvm_userspace_memory_region region = {
      .slot = (uint32_t)slot,
      .flags = readonly ? KVM_MEM_READONLY : 0,
      .guest_phys_addr = gpa,
      .memory_size = size,
      .userspace_addr = (uintptr_t)(memory->bytes + offset),
  };
  outcome o = vm_set_memory(vm, &region, memory);
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

napi_value export_vm_deny_msrs(napi_env env, napi_callback_info info) {
  struct call call;
  struct vm *vm;
  if (!call_begin(env, info, &call) || !(vm = get_object(&call, 0, HANDLE_VM))) return NULL;
  outcome o = vm_deny_msrs(vm);
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

static const struct {
  const char *name;
  napi_callback function;
} exported[] = {
    {"setErrorClass", export_set_error_class},
    {"close", handle_close},
    {"kvmOpen", export_kvm_open},
    {"kvmCheckExtension", export_kvm_check_extension},
    {"kvmGetCpuid", export_kvm_get_cpuid},
    {"kvmSetCpuid", export_kvm_set_cpuid},
    {"kvmCreateVm", export_kvm_create_vm},
    {"vmSetMemory", export_vm_set_memory},
    {"vmDenyMsrs", export_vm_deny_msrs},
    {"memoryCreate", export_memory_create},
    {"memoryBuffer", export_memory_buffer},
    {"memoryAddress", export_memory_address},
    {"memoryFd", export_memory_fd},
    {"memoryWriteTo", export_memory_write_to},
    {"memoryWritten", export_memory_written},
    {"memoryReplace", export_memory_replace},
    {"memoryPopulate", export_memory_populate},
    {"memoryRuns", export_memory_runs},
    {"fileUncache", export_file_uncache},
    {"fileLock", export_file_lock},
    {"threadFaults", export_thread_faults},
    {"vcpuCreate", export_vcpu_create},
    {"vcpuRunPage", export_vcpu_run_page},
    {"vcpuGetState", export_vcpu_get_state},
    {"vcpuSetState", export_vcpu_set_state},
    {"vcpuGetMsrs", export_vcpu_get_msrs},
    {"vcpuSetMsrs", export_vcpu_set_msrs},
    {"vcpuRun", export_vcpu_run},
    {"vcpuCompleteIo", export_vcpu_complete_io},
    {"vcpuSetClock", export_vcpu_set_clock},
    {"vcpuSetSlice", export_vcpu_set_slice},
    {"vcpuKickToken", export_vcpu_kick_token},
    {"kick", export_kick},
    {"rewinderCreate", export_rewinder_create},
    {"rewinderRewind", export_rewinder_rewind},
    {"rewinderDirtyPages", export_rewinder_dirty_pages},
    {"rewinderRewindAndRun", export_rewinder_rewind_and_run},
    {"rewinderPagesCopied", export_rewinder_pages_copied},
};

NAPI_MODULE_INIT() {
  clock_start();
  if (!env_state_create(env)) return NULL;
  for (size_t i = 0; i < sizeof(exported) / sizeof(exported[0]); i++) {
    napi_value function;
    if (!napi_check(env, napi_create_function(env, exported[i].name, NAPI_AUTO_LENGTH, exported[i].function, NULL,
                                              &function)) ||
        !napi_check(env, napi_set_named_property(env, exports, exported[i].name, function)))
      return NULL;
  }
  return exports;
}
