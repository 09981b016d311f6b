/* Between JavaScript values and C. */
#include "napi_util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <stdio.h>
#include <uv.h>

#include "handle.h"

bool napi_check(napi_env env, napi_status status) {
  if (status == napi_ok) return true;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) {
    const napi_extended_error_info *info = NULL;
    napi_get_last_error_info(env, &info);
    throw_error(env, "MAYFLY_KVM_NAPI", info && info->error_message ? info->error_message : "N-API failed");
  }
  return false;
}

/* new KvmError(code, message, syscall, errno): the class comes from the TypeScript face. */
napi_value throw_code(napi_env env, const char *code, const char *message, const char *syscall, int err) {
  char errno_name[64] = "";
  napi_value class, error, arguments[4];
  struct env_state *state = env_state(env);
  if (!state->error_class || napi_get_reference_value(env, state->error_class, &class) != napi_ok) {
    napi_throw_error(env, code, message);
    return NULL;
  }
  if (err) uv_err_name_r(-err, errno_name, sizeof(errno_name));
  if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &arguments[0]) == napi_ok &&
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &arguments[1]) == napi_ok &&
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &arguments[2]) == napi_ok &&
      napi_create_string_utf8(env, errno_name, NAPI_AUTO_LENGTH, &arguments[3]) == napi_ok &&
      napi_new_instance(env, class, 4, arguments, &error) == napi_ok)
    napi_throw(env, error);
  return NULL;
}

napi_value throw_error(napi_env env, const char *code, const char *message) {
  return throw_code(env, code, message, "", 0);
}

napi_value throw_argument(napi_env env, const char *format, ...) {
  char message[256];
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof(message), format, list);
  va_end(list);
  return throw_error(env, "MAYFLY_KVM_ARGUMENT", message);
}

napi_value throw_outcome(napi_env env, outcome o) {
  char message[256], errno_name[64];
  snprintf(message, sizeof(message), "%s failed: %s", o.call, uv_err_name_r(-o.err, errno_name, sizeof(errno_name)));
  return throw_code(env, "MAYFLY_KVM_IOCTL", message, o.call, o.err);
}

bool call_begin(napi_env env, napi_callback_info info, struct call *call) {
  call->env = env;
  call->count = ARGUMENTS_MAX;
  return napi_check(env, napi_get_cb_info(env, info, &call->count, call->values, NULL, NULL));
}

bool get_integer(const struct call *call, size_t position, const char *name, uint64_t max, uint64_t *out) {
  double number;
  if (napi_get_value_double(call->env, call->values[position], &number) == napi_ok && number >= 0 && number <= 0x1p53 &&
      number == (double)(uint64_t)number && (uint64_t)number <= max) {
    *out = (uint64_t)number;
    return true;
  }
  throw_argument(call->env, "%s (argument %zu) must be an integer from 0 to %" PRIu64, name, position + 1, max);
  return false;
}

bool get_bool(const struct call *call, size_t position, const char *name, bool *out) {
  if (napi_get_value_bool(call->env, call->values[position], out) == napi_ok) return true;
  throw_argument(call->env, "%s (argument %zu) must be a boolean", name, position + 1);
  return false;
}

bool get_bigint(const struct call *call, size_t position, const char *name, uint64_t *out) {
  bool lossless = false;
  if (napi_get_value_bigint_uint64(call->env, call->values[position], out, &lossless) == napi_ok && lossless)
    return true;
  throw_argument(call->env, "%s (argument %zu) must be a 64-bit unsigned bigint", name, position + 1);
  return false;
}

bool get_string(const struct call *call, size_t position, const char *name, char *out, size_t size) {
  size_t length = 0;
  napi_value value = call->values[position];
  if (napi_get_value_string_utf8(call->env, value, NULL, 0, &length) == napi_ok && length < size) {
    napi_get_value_string_utf8(call->env, value, out, size, &length);
    return true;
  }
  throw_argument(call->env, "%s (argument %zu) must be a string of less than %zu bytes", name, position + 1, size);
  return false;
}

bool get_buffer(const struct call *call, size_t position, const char *name, const size_t *size, void **bytes,
                size_t *length) {
  bool is_buffer = false;
  napi_value value = call->values[position];
  if (napi_is_arraybuffer(call->env, value, &is_buffer) != napi_ok || !is_buffer ||
      napi_get_arraybuffer_info(call->env, value, bytes, length) != napi_ok) {
    throw_argument(call->env, "%s (argument %zu) must be an ArrayBuffer", name, position + 1);
    return false;
  }
  if (size && *size != *length) {
    throw_argument(call->env, "%s (argument %zu) must be %zu bytes, not %zu", name, position + 1, *size, *length);
    return false;
  }
  return true;
}

napi_value make_undefined(napi_env env) {
  napi_value value = NULL;
  napi_get_undefined(env, &value);
  return value;
}

napi_value make_number(napi_env env, double number) {
  napi_value value = NULL;
  napi_check(env, napi_create_double(env, number, &value));
  return value;
}

napi_value make_bigint(napi_env env, uint64_t number) {
  napi_value value = NULL;
  napi_check(env, napi_create_bigint_uint64(env, number, &value));
  return value;
}

napi_value make_u32_array(napi_env env, const uint32_t *numbers, size_t count) {
  void *bytes;
  napi_value buffer, array = NULL;
  size_t size = count * sizeof(*numbers);
  if (!napi_check(env, napi_create_arraybuffer(env, size, &bytes, &buffer))) return NULL;
  if (size) memcpy(bytes, numbers, size);
  napi_check(env, napi_create_typedarray(env, napi_uint32_array, count, buffer, 0, &array));
  return array;
}
