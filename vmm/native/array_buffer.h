/* ArrayBuffers over guest memory. */
#ifndef MAYFLY_ARRAY_BUFFER_H
#define MAYFLY_ARRAY_BUFFER_H

#include <node_api.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C"
#endif
    /* Must be detached before the bytes go. Nothing tells when it is collected. */
    napi_value
    array_buffer_over(void *bytes, size_t size);

#endif
