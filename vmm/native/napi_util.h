/* Between JavaScript values and C: errors with stable codes, argument checks by name and position.
 */
#ifndef MAYFLY_NAPI_UTIL_H
#define MAYFLY_NAPI_UTIL_H

#include <node_api.h>
#include <stdint.h>

#include "outcome.h"

enum { ARGUMENTS_MAX = 9 };

/* The arguments of one call. A getter that finds a wrong one throws, and returns false. */
struct call {
  napi_env env;
  size_t count;
  napi_value values[ARGUMENTS_MAX];
};

/* All getters count positions from 0; messages count from 1. */
bool call_begin(napi_env env, napi_callback_info info, struct call *call);
bool get_integer(const struct call *call, size_t position, const char *name, uint64_t max, uint64_t *out);
bool get_bool(const struct call *call, size_t position, const char *name, bool *out);
bool get_bigint(const struct call *call, size_t position, const char *name, uint64_t *out);
bool get_string(const struct call *call, size_t position, const char *name, char *out, size_t size);
/* An ArrayBuffer of exactly `size` bytes, or of any size if `size` is NULL. */
bool get_buffer(const struct call *call, size_t position, const char *name, const size_t *size, void **bytes,
                size_t *length);

/* All throw_* return NULL, so that a function can end with them. */
napi_value throw_error(napi_env env, const char *code, const char *message);
napi_value throw_argument(napi_env env, const char *format, ...) __attribute__((format(printf, 2, 3)));
napi_value throw_outcome(napi_env env, outcome o);
napi_value throw_code(napi_env env, const char *code, const char *message, const char *syscall, int err);

/* Throws MAYFLY_KVM_NAPI if N-API itself failed and nothing is pending. */
bool napi_check(napi_env env, napi_status status);

napi_value make_undefined(napi_env env);
napi_value make_number(napi_env env, double number);
napi_value make_bigint(napi_env env, uint64_t number);
/* A Uint32Array with a copy of the numbers. */
napi_value make_u32_array(napi_env env, const uint32_t *numbers, size_t count);

#endif
