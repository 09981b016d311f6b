/*
 * In C++ for one reason: Node-API's external ArrayBuffers have a finalizer, so that V8 counts their bytes as memory that
 * a collection might free, and starts one whenever they have grown by 64 MiB: with guest memory, at every clone. Bytes
 * behind V8's empty deleter are not counted.
 */
#include "array_buffer.h"

#include <node.h>

#include <cstring>
#include <utility>

/* A napi_value is a handle of V8's, as Node-API's own implementation converts them. */
static_assert(sizeof(v8::Local<v8::Value>) == sizeof(napi_value), "handles");

napi_value array_buffer_over(void *bytes, size_t size) {
  auto store = v8::ArrayBuffer::NewBackingStore(bytes, size, v8::BackingStore::EmptyDeleter, nullptr);
  v8::Local<v8::Value> buffer = v8::ArrayBuffer::New(v8::Isolate::GetCurrent(), std::move(store));
  napi_value value;
  memcpy(static_cast<void *>(&value), &buffer, sizeof(value));
  return value;
}
