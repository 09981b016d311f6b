/* Exports of rewind. */
#include <stdlib.h>
#include <string.h>

#include "addon.h"
#include "pagemap.h"
#include "rewind.h"

enum { PAIR_BYTES = 2 * sizeof(uint64_t) };

/* Reads [offset, length] pairs; they must be sorted, disjoint and inside the memory. */
static bool read_ranges(napi_env env, const char *argument, uint64_t size, const uint64_t *pairs,
                        struct byte_range *ranges, size_t count) {
  uint64_t previous_end = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t start = pairs[2 * i], length = pairs[2 * i + 1];
    if (start < previous_end || start > size || length > size - start) {
      throw_argument(env, "%s, range %zu: must lie after the one before, inside the memory", argument, i);
      return false;
    }
    ranges[i] = (struct byte_range){start, start + length};
    previous_end = start + length;
  }
  return true;
}

static bool check_memories(napi_env env, const struct mapping *memory, const struct mapping *template) {
  if (memory->kind != MAPPING_PRIVATE_FILE)
    throw_argument(env, "memory (argument 1) must be a private file mapping: its written pages "
                        "are the anonymous ones");
  else if (template->size < memory->size)
    throw_argument(env, "template (argument 2) is smaller than the memory: %zu and %zu bytes", template->size,
                   memory->size);
  else return true;
  return false;
}

napi_value export_rewinder_create(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *memory, *template;
  struct vcpu *vcpu = NULL;
  void *regs, *sregs, *excluded, *guarded;
  uint64_t pages_max;
  bool flush;
  napi_valuetype vcpu_type;
  size_t regs_size = sizeof(struct kvm_regs), sregs_size = sizeof(struct kvm_sregs), length, excluded_bytes,
         guarded_bytes;
  if (!call_begin(env, info, &call) || !(memory = get_object(&call, 0, HANDLE_MEMORY)) ||
      !(template = get_object(&call, 1, HANDLE_MEMORY)) ||
      !napi_check(env, napi_typeof(env, call.values[2], &vcpu_type)) ||
      (vcpu_type != napi_null && !(vcpu = get_object(&call, 2, HANDLE_VCPU))) ||
      !get_buffer(&call, 3, "regs", &regs_size, &regs, &length) ||
      !get_buffer(&call, 4, "sregs", &sregs_size, &sregs, &length) ||
      !get_buffer(&call, 5, "exclude", NULL, &excluded, &excluded_bytes) ||
      !get_buffer(&call, 6, "guard", NULL, &guarded, &guarded_bytes) ||
      !get_integer(&call, 7, "pagesMax", 1ull << 53, &pages_max) || !get_bool(&call, 8, "flush", &flush) ||
      !check_memories(env, memory, template))
    return NULL;
  /* A kernel without PAGEMAP_SCAN should be noticed now and not at the first rewind. */
  bool populated;
  outcome o = pagemap_is_populated(memory->bytes, PAGE_BYTES, &populated);
  if (failed(o)) return throw_outcome(env, o);
  struct rewinder *rewinder = rewinder_create(memory, template, vcpu, excluded_bytes / PAIR_BYTES,
                                              guarded_bytes / PAIR_BYTES);
  if (!rewinder) return throw_outcome(env, (outcome){"malloc", ENOMEM});
  if (!read_ranges(env, "exclude (argument 6)", memory->size, excluded, rewinder->excluded, rewinder->excluded_count) ||
      !read_ranges(env, "guard (argument 7)", memory->size, guarded, rewinder->guarded, rewinder->guarded_count)) {
    rewinder_free(rewinder);
    return NULL;
  }
  rewinder->pages_max = pages_max;
  rewinder->flush = flush;
  memcpy(&rewinder->regs, regs, sizeof(rewinder->regs));
  memcpy(&rewinder->sregs, sregs, sizeof(rewinder->sregs));
  return handle_create(env, HANDLE_REWINDER, rewinder);
}

/* The rewinder of argument 1, if its vCPU is still open. */
static struct rewinder *get_rewinder(const struct call *call) {
  struct rewinder *rewinder = get_object(call, 0, HANDLE_REWINDER);
  if (rewinder && rewinder->vcpu && rewinder->vcpu->fd < 0) {
    throw_error(call->env, "MAYFLY_KVM_CLOSED", "the Vcpu of the Rewinder is closed");
    return NULL;
  }
  return rewinder;
}

/* What came of it is one number, so that a rewind crosses from JavaScript once. */
napi_value export_rewinder_rewind(napi_env env, napi_callback_info info) {
  struct call call;
  struct rewinder *rewinder;
  if (!call_begin(env, info, &call) || !(rewinder = get_rewinder(&call))) return NULL;
  outcome o = rewinder_rewind(rewinder);
  if (failed(o)) return throw_outcome(env, o);
  bool is_template = !rewinder->guard_written && !rewinder->over_budget;
  return make_number(env, is_template ? (double)rewinder->pages_copied : -1);
}

napi_value export_rewinder_rewind_and_run(napi_env env, napi_callback_info info) {
  struct call call;
  struct rewinder *rewinder;
  int reason = EXIT_INTERRUPTED;
  if (!call_begin(env, info, &call) || !(rewinder = get_rewinder(&call))) return NULL;
  if (!rewinder->vcpu) return throw_argument(env, "the rewinder has no vCPU to run");
  outcome o = rewinder_rewind(rewinder);
  if (!failed(o)) o = vcpu_run(rewinder->vcpu, &reason);
  return failed(o) ? throw_outcome(env, o) : make_number(env, reason);
}

napi_value export_rewinder_pages_copied(napi_env env, napi_callback_info info) {
  struct call call;
  struct rewinder *rewinder;
  if (!call_begin(env, info, &call) || !(rewinder = get_object(&call, 0, HANDLE_REWINDER))) return NULL;
  return make_number(env, (double)rewinder->pages_copied);
}

napi_value export_rewinder_dirty_pages(napi_env env, napi_callback_info info) {
  struct call call;
  struct rewinder *rewinder;
  struct page_list list = {0};
  if (!call_begin(env, info, &call) || !(rewinder = get_object(&call, 0, HANDLE_REWINDER))) return NULL;
  outcome o = rewinder_dirty_pages(rewinder, &list);
  napi_value array = failed(o) ? throw_outcome(env, o) : make_u32_array(env, list.pages, list.count);
  free(list.pages);
  return array;
}
