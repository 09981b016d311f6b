/* Exports of vCPUs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon.h"
#include "kvm.h"
#include "timer.h"

enum {
  VCPU_IDS_MAX = 1024,
  MSRS_MAX = 256,
};
static const uint64_t SLICE_US_MAX = 3600ull * 1000000;

napi_value export_vcpu_create(napi_env env, napi_callback_info info) {
  struct call call;
  struct vm *vm;
  struct vcpu *vcpu;
  uint64_t id;
  if (!call_begin(env, info, &call) || !(vm = get_object(&call, 0, HANDLE_VM)) ||
      !get_integer(&call, 1, "id", VCPU_IDS_MAX - 1, &id))
    return NULL;
  outcome o = vcpu_create(vm, (int)id, &vcpu);
  return failed(o) ? throw_outcome(env, o) : handle_create(env, HANDLE_VCPU, vcpu);
}

napi_value export_vcpu_run_page(napi_env env, napi_callback_info info) {
  struct call call;
  struct handle *handle;
  if (!call_begin(env, info, &call) || !(handle = get_handle(&call, 0, HANDLE_VCPU))) return NULL;
  return handle_buffer(&call, handle, ((struct vcpu *)handle->object)->run_page);
}

napi_value export_vcpu_get_state(napi_env env, napi_callback_info info) {
  struct call call;
  struct vcpu *vcpu;
  uint64_t state;
  void *bytes;
  napi_value buffer;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU)) ||
      !get_integer(&call, 1, "state", STATES - 1, &state) ||
      !napi_check(env, napi_create_arraybuffer(env, vcpu_state_bytes(vcpu, (enum vcpu_state)state), &bytes, &buffer)))
    return NULL;
  outcome o = vcpu_get_state(vcpu, (enum vcpu_state)state, bytes);
  return failed(o) ? throw_outcome(env, o) : buffer;
}

napi_value export_vcpu_set_state(napi_env env, napi_callback_info info) {
  struct call call;
  struct vcpu *vcpu;
  uint64_t state;
  void *bytes;
  size_t length;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU)) ||
      !get_integer(&call, 1, "state", STATES - 1, &state))
    return NULL;
  size_t expected = vcpu_state_bytes(vcpu, (enum vcpu_state)state);
  if (!get_buffer(&call, 2, "bytes", &expected, &bytes, &length)) return NULL;
  outcome o = vcpu_set_state(vcpu, (enum vcpu_state)state, bytes);
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

typedef outcome (*msrs_function)(struct vcpu *vcpu, struct kvm_msrs *msrs, uint32_t *processed);

static napi_value throw_msr(napi_env env, const char *name, uint32_t index) {
  char message[96];
  snprintf(message, sizeof(message), "%s failed: the kernel refuses MSR 0x%x", name, index);
  return throw_code(env, "MAYFLY_KVM_IOCTL", message, name, EINVAL);
}

/* The entries come, and for a read go, in an ArrayBuffer of struct kvm_msr_entry. */
static napi_value transfer_msrs(napi_env env, napi_callback_info info, msrs_function transfer, const char *name) {
  struct call call;
  struct vcpu *vcpu;
  void *bytes;
  size_t length;
  uint32_t processed = 0;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU)) ||
      !get_buffer(&call, 1, "entries", NULL, &bytes, &length))
    return NULL;
  size_t count = length / sizeof(struct kvm_msr_entry);
  if (count > MSRS_MAX || count * sizeof(struct kvm_msr_entry) != length)
    return throw_argument(env, "entries (argument 2) must be %d entries of 16 bytes at most", MSRS_MAX);
  struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + length);
  if (!msrs) return throw_outcome(env, (outcome){"malloc", ENOMEM});
  msrs->nmsrs = (uint32_t)count;
  memcpy(msrs->entries, bytes, length);
  outcome o = transfer(vcpu, msrs, &processed);
  memcpy(bytes, msrs->entries, length);
  uint32_t refused = processed < count ? msrs->entries[processed].index : 0;
  free(msrs);
  if (failed(o)) return throw_outcome(env, o);
  return processed < count ? throw_msr(env, name, refused) : make_undefined(env);
}

napi_value export_vcpu_get_msrs(napi_env env, napi_callback_info info) {
  return transfer_msrs(env, info, vcpu_get_msrs, "KVM_GET_MSRS");
}

napi_value export_vcpu_set_msrs(napi_env env, napi_callback_info info) {
  return transfer_msrs(env, info, vcpu_set_msrs, "KVM_SET_MSRS");
}

typedef outcome (*run_function)(struct vcpu *vcpu, int *exit_reason);

static napi_value enter_guest(napi_env env, napi_callback_info info, run_function run) {
  struct call call;
  struct vcpu *vcpu;
  int reason = EXIT_INTERRUPTED;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU))) return NULL;
  outcome o = run(vcpu, &reason);
  return failed(o) ? throw_outcome(env, o) : make_number(env, reason);
}

napi_value export_vcpu_run(napi_env env, napi_callback_info info) { return enter_guest(env, info, vcpu_run); }

napi_value export_vcpu_complete_io(napi_env env, napi_callback_info info) {
  return enter_guest(env, info, vcpu_complete_io);
}

napi_value export_vcpu_set_clock(napi_env env, napi_callback_info info) {
  struct call call;
  struct vcpu *vcpu;
  struct mapping *memory;
  uint64_t offset;
  napi_valuetype type;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU)) ||
      !napi_check(env, napi_typeof(env, call.values[1], &type)))
    return NULL;
  if (type == napi_null) {
    vcpu_set_clock(vcpu, NULL, 0);
    return make_undefined(env);
  }
  if (!(memory = get_object(&call, 1, HANDLE_MEMORY)) ||
      !get_integer(&call, 2, "offset", memory->size - sizeof(struct clock_page), &offset))
    return NULL;
  if (offset % 8 != 0 || !mapping_is_writable(memory))
    return throw_argument(env, "the clock page needs writable memory, at an offset that is a multiple of 8");
  vcpu_set_clock(vcpu, memory, offset);
  return make_undefined(env);
}

napi_value export_vcpu_set_slice(napi_env env, napi_callback_info info) {
  struct call call;
  struct vcpu *vcpu;
  uint64_t us;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU)) ||
      !get_integer(&call, 1, "us", SLICE_US_MAX, &us))
    return NULL;
  vcpu->slice_ns = us * 1000;
  return make_undefined(env);
}

napi_value export_vcpu_kick_token(napi_env env, napi_callback_info info) {
  struct call call;
  struct vcpu *vcpu;
  if (!call_begin(env, info, &call) || !(vcpu = get_object(&call, 0, HANDLE_VCPU))) return NULL;
  return make_bigint(env, vcpu->kick_token);
}

napi_value export_kick(napi_env env, napi_callback_info info) {
  struct call call;
  uint64_t token;
  napi_value alive = NULL;
  if (!call_begin(env, info, &call) || !get_bigint(&call, 0, "token", &token)) return NULL;
  napi_check(env, napi_get_boolean(env, kick(token), &alive));
  return alive;
}
