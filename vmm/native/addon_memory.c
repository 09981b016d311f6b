/* Exports of guest memory. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "addon.h"

static bool is_file_kind(uint64_t kind) { return kind == MAPPING_PRIVATE_FILE || kind == MAPPING_READONLY_FILE; }

napi_value export_memory_create(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  uint64_t kind, size, fd = 0, offset = 0;
  bool huge;
  if (!call_begin(env, info, &call) || !get_integer(&call, 0, "kind", MAPPING_READONLY_FILE, &kind) ||
      !get_integer(&call, 1, "size", 1ull << 47, &size))
    return NULL;
  if (is_file_kind(kind) &&
      (!get_integer(&call, 2, "fd", INT_MAX, &fd) || !get_integer(&call, 3, "offset", 1ull << 53, &offset)))
    return NULL;
  if (!get_bool(&call, 4, "huge", &huge)) return NULL;
  if (size == 0 || ((size | offset) & (PAGE_BYTES - 1)) != 0)
    return throw_argument(env, "size (argument 2) and offset (argument 4) must be multiples of 4096, size not 0");
  struct mapping_request request = {
      .kind = (enum mapping_kind)kind, .size = size, .fd = (int)fd, .offset = offset, .huge = huge};
  outcome o = mapping_create(&request, &mapping);
  return failed(o) ? throw_outcome(env, o) : handle_create(env, HANDLE_MEMORY, mapping);
}

napi_value export_memory_buffer(napi_env env, napi_callback_info info) {
  struct call call;
  struct handle *handle;
  if (!call_begin(env, info, &call) || !(handle = get_handle(&call, 0, HANDLE_MEMORY))) return NULL;
  return handle_buffer(&call, handle, handle->object);
}

napi_value export_memory_address(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY))) return NULL;
  return make_bigint(env, (uintptr_t)mapping->bytes);
}

napi_value export_memory_fd(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY))) return NULL;
  return make_number(env, mapping->fd);
}

napi_value export_memory_write_to(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  uint64_t fd, size;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY)) ||
      !get_integer(&call, 1, "fd", INT_MAX, &fd) || !get_integer(&call, 2, "size", mapping->size, &size))
    return NULL;
  outcome o = mapping_write_to(mapping, (int)fd, size);
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

napi_value export_file_uncache(napi_env env, napi_callback_info info) {
  struct call call;
  uint64_t fd;
  if (!call_begin(env, info, &call) || !get_integer(&call, 0, "fd", INT_MAX, &fd)) return NULL;
  posix_fadvise((int)fd, 0, 0, POSIX_FADV_DONTNEED); /* advice only */
  return make_undefined(env);
}

/* Whether the lock is the caller's now; closing the file ends it, as does the end of the process. */
napi_value export_file_lock(napi_env env, napi_callback_info info) {
  struct call call;
  uint64_t fd;
  napi_value locked;
  if (!call_begin(env, info, &call) || !get_integer(&call, 0, "fd", INT_MAX, &fd)) return NULL;
  int result = flock((int)fd, LOCK_EX | LOCK_NB);
  if (result < 0 && errno != EWOULDBLOCK && errno != EINTR) return throw_outcome(env, failure("flock"));
  napi_check(env, napi_get_boolean(env, result == 0, &locked));
  return locked;
}

napi_value export_memory_replace(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  uint64_t fd = 0;
  bool has_file;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY)) ||
      !get_bool(&call, 1, "hasFile", &has_file) || (has_file && !get_integer(&call, 2, "fd", INT_MAX, &fd)))
    return NULL;
  if (mapping->kind != MAPPING_PRIVATE_FILE) return throw_argument(env, "only a private file mapping can be replaced");
  outcome o = mapping_replace(mapping, has_file ? (int)fd : -1);
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

napi_value export_memory_populate(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  void *pairs;
  size_t bytes;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY)) ||
      !get_buffer(&call, 1, "runs", NULL, &pairs, &bytes))
    return NULL;
  if (!mapping_is_writable(mapping)) return throw_argument(env, "the memory is read-only");
  const uint32_t *runs = pairs;
  uint64_t pages = mapping->size / PAGE_BYTES;
  outcome o = success();
  for (size_t i = 0; i + 1 < bytes / sizeof(*runs) && !failed(o); i += 2) {
    uint64_t first = runs[i], count = runs[i + 1];
    if (first > pages || count > pages - first) return throw_argument(env, "runs (argument 2) reach past the memory");
    if (count > 0) o = mapping_populate(mapping, first * PAGE_BYTES, count * PAGE_BYTES);
  }
  return failed(o) ? throw_outcome(env, o) : make_undefined(env);
}

napi_value export_memory_written(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY))) return NULL;
  if (mapping->kind != MAPPING_PRIVATE_FILE) return throw_argument(env, "only a private file mapping knows what was written");
  struct page_runs runs = {0};
  outcome o = mapping_written(mapping, &runs);
  napi_value array = failed(o) ? throw_outcome(env, o) : make_u32_array(env, runs.pairs, 2 * runs.count);
  free(runs.pairs);
  return array;
}

napi_value export_memory_runs(napi_env env, napi_callback_info info) {
  struct call call;
  struct mapping *mapping, *base = NULL;
  napi_valuetype type;
  if (!call_begin(env, info, &call) || !(mapping = get_object(&call, 0, HANDLE_MEMORY)) ||
      !napi_check(env, napi_typeof(env, call.values[1], &type)))
    return NULL;
  if (type != napi_null && !(base = get_object(&call, 1, HANDLE_MEMORY))) return NULL;
  if (base && base->size != mapping->size) return throw_argument(env, "base (argument 2) must have the memory's size");
  struct page_runs runs = {0};
  outcome o = mapping_runs(mapping, base, &runs);
  napi_value array = failed(o) ? throw_outcome(env, o) : make_u32_array(env, runs.pairs, 2 * runs.count);
  free(runs.pairs);
  return array;
}

/* Minor and major ones of the calling thread, since it began. */
napi_value export_thread_faults(napi_env env, napi_callback_info info) {
  (void)info;
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) < 0) return throw_outcome(env, failure("getrusage"));
  return make_number(env, (double)usage.ru_minflt + (double)usage.ru_majflt);
}
