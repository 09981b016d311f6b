/* Handles. */
#include "handle.h"

#include <stdio.h>
#include <stdlib.h>

#include "array_buffer.h"
#include "kvm.h"
#include "rewind.h"

static void close_kvm(void *object) { kvm_unref(object); }

static void close_vm(void *object) { vm_unref(object); }

static void close_vcpu(void *object) {
  vcpu_close(object);
  vcpu_unref(object);
}

static void close_memory(void *object) { mapping_unref(object); }

static void close_rewinder(void *object) { rewinder_free(object); }

static const struct {
  const char *name;
  napi_type_tag tag;
  void (*close)(void *object);
} kinds[HANDLE_KINDS] = {
    [HANDLE_KVM] = {"Kvm", {0x6d61796c79764d01, 0x8e1f0c5ab2d94701}, close_kvm},
    [HANDLE_VM] = {"Vm", {0x6d61796c79764d02, 0x8e1f0c5ab2d94702}, close_vm},
    [HANDLE_VCPU] = {"Vcpu", {0x6d61796c79764d03, 0x8e1f0c5ab2d94703}, close_vcpu},
    [HANDLE_MEMORY] = {"GuestMemory", {0x6d61796c79764d04, 0x8e1f0c5ab2d94704}, close_memory},
    [HANDLE_REWINDER] = {"Rewinder", {0x6d61796c79764d05, 0x8e1f0c5ab2d94705}, close_rewinder},
};

struct env_state *env_state(napi_env env) {
  void *state = NULL;
  napi_get_instance_data(env, &state);
  return state;
}

static void unlink_handle(struct handle *handle) {
  handle->previous->next = handle->next;
  handle->next->previous = handle->previous;
  handle->previous = handle->next = handle;
}

static void release(struct handle *handle) {
  void *object = handle->object;
  if (!object) return;
  handle->object = NULL;
  unlink_handle(handle);
  kinds[handle->kind].close(object);
}

/* Runs before the environment's finalizers. Newest first: what was made from a thing goes before
 * the thing. */
static void close_all(void *data) {
  struct env_state *state = data;
  while (state->open.next != &state->open) release(state->open.next);
}

static void free_state(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  free(data);
}

bool env_state_create(napi_env env) {
  struct env_state *state = calloc(1, sizeof(*state));
  if (!state) {
    napi_throw_error(env, "MAYFLY_KVM_IOCTL", "malloc failed: ENOMEM");
    return false;
  }
  state->open.next = state->open.previous = &state->open;
  return napi_check(env, napi_set_instance_data(env, state, free_state, NULL)) &&
         napi_check(env, napi_add_env_cleanup_hook(env, close_all, state));
}

static void drop_buffer_reference(napi_env env, struct handle *handle) {
  if (handle->buffer) napi_delete_reference(env, handle->buffer);
  handle->buffer = NULL;
}

static void finalize_handle(napi_env env, void *data, void *hint) {
  (void)hint;
  struct handle *handle = data;
  release(handle);
  drop_buffer_reference(env, handle);
  free(handle);
}

napi_value handle_create(napi_env env, enum handle_kind kind, void *object) {
  napi_value value;
  struct handle *handle = calloc(1, sizeof(*handle));
  if (!handle) {
    kinds[kind].close(object);
    return throw_outcome(env, (outcome){"malloc", ENOMEM});
  }
  struct handle *head = &env_state(env)->open;
  *handle = (struct handle){.kind = kind, .object = object, .previous = head, .next = head->next};
  head->next->previous = handle;
  head->next = handle;
  if (!napi_check(env, napi_create_object(env, &value)) ||
      !napi_check(env, napi_wrap(env, value, handle, finalize_handle, NULL, NULL))) {
    release(handle);
    free(handle);
    return NULL;
  }
  return napi_check(env, napi_type_tag_object(env, value, &kinds[kind].tag)) ? value : NULL;
}

static struct handle *unwrap(napi_env env, napi_value value, enum handle_kind kind) {
  bool matches = false;
  void *handle = NULL;
  napi_valuetype type;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_object &&
      napi_check_object_type_tag(env, value, &kinds[kind].tag, &matches) == napi_ok && matches)
    napi_unwrap(env, value, &handle);
  return handle;
}

struct handle *get_handle(const struct call *call, size_t position, enum handle_kind kind) {
  struct handle *handle = unwrap(call->env, call->values[position], kind);
  if (!handle) {
    throw_argument(call->env, "argument %zu must be a %s", position + 1, kinds[kind].name);
    return NULL;
  }
  if (!handle->object) {
    char message[64];
    snprintf(message, sizeof(message), "the %s is closed", kinds[kind].name);
    throw_error(call->env, "MAYFLY_KVM_CLOSED", message);
    return NULL;
  }
  return handle;
}

void *get_object(const struct call *call, size_t position, enum handle_kind kind) {
  struct handle *handle = get_handle(call, position, kind);
  return handle ? handle->object : NULL;
}

napi_value handle_buffer(const struct call *call, struct handle *handle, const struct mapping *mapping) {
  napi_env env = call->env;
  napi_value value = NULL;
  if (handle->buffer && napi_check(env, napi_get_reference_value(env, handle->buffer, &value)) && value) return value;
  drop_buffer_reference(env, handle);
  value = array_buffer_over(mapping->bytes, mapping->size);
  /* Whoever has the buffer keeps the handle, and so the memory. */
  if (!napi_check(env, napi_set_named_property(env, value, "handle", call->values[0])) ||
      !napi_check(env, napi_create_reference(env, value, 0, &handle->buffer)))
    return NULL;
  return value;
}

/* Leaves JavaScript with an empty buffer; false, with an exception, if that is refused. */
static bool detach_buffer(napi_env env, struct handle *handle) {
  napi_value buffer = NULL;
  if (handle->buffer && !napi_check(env, napi_get_reference_value(env, handle->buffer, &buffer))) return false;
  if (buffer && !napi_check(env, napi_detach_arraybuffer(env, buffer))) return false;
  drop_buffer_reference(env, handle);
  return true;
}

napi_value handle_close(napi_env env, napi_callback_info info) {
  struct call call;
  if (!call_begin(env, info, &call)) return NULL;
  for (int kind = 0; kind < HANDLE_KINDS; kind++) {
    struct handle *handle = unwrap(env, call.values[0], (enum handle_kind)kind);
    if (!handle) continue;
    if (!detach_buffer(env, handle)) return NULL;
    release(handle);
    return make_undefined(env);
  }
  return throw_argument(env, "argument 1 must be a handle");
}
