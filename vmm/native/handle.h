/*
 * Handles: the JavaScript objects that stand for native ones. Each is wrapped, carries a type tag,
 * and is closed once: by close(), by the garbage collector, or when its environment (the main
 * thread's or a worker's) goes down.
 */
#ifndef MAYFLY_HANDLE_H
#define MAYFLY_HANDLE_H

#include "memory.h"
#include "napi_util.h"

enum handle_kind {
  HANDLE_KVM,
  HANDLE_VM,
  HANDLE_VCPU,
  HANDLE_MEMORY,
  HANDLE_REWINDER,
  HANDLE_KINDS,
};

struct handle {
  enum handle_kind kind;
  void *object;                   /* NULL once closed */
  struct handle *previous, *next; /* all open handles of the environment */
  /* The ArrayBuffer over the object's memory, if it was asked for: weak, since that holds the handle. */
  napi_ref buffer;
};

/* Instance data of an environment. */
struct env_state {
  napi_ref error_class;
  struct handle open; /* head of the ring of open handles, newest first */
};

bool env_state_create(napi_env env);
struct env_state *env_state(napi_env env);

/* Takes over one reference to `object`: released at close. On failure it is released at once, and
 * an error thrown. */
napi_value handle_create(napi_env env, enum handle_kind kind, void *object);

/* The handle behind an argument, or its native object: throws if it is of another kind, or closed.
 */
struct handle *get_handle(const struct call *call, size_t position, enum handle_kind kind);
void *get_object(const struct call *call, size_t position, enum handle_kind kind);

/* The one ArrayBuffer over `mapping`, of the handle in argument 1; it is detached when the handle is closed. */
napi_value handle_buffer(const struct call *call, struct handle *handle, const struct mapping *mapping);

/* close(handle): of any kind, any number of times. */
napi_value handle_close(napi_env env, napi_callback_info info);

#endif
