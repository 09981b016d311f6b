/* Plain types for the guest kernel; nothing of libc is included anywhere. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef int64_t i64;
typedef int64_t ssize_t;
typedef int64_t off_t;

#define KiB 1024ul
#define MiB (1024ul * KiB)
#define GiB (1024ul * MiB)
#define PAGE 4096ull
#define BLOCK (2 * MiB) /* the unit of mapping */
#define NS_PER_SEC 1000000000ul
#define FOREVER (~(u64)0)

#define ALIGN_UP(x, a) (((x) + ((a)-1)) & ~((u64)(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a)-1))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER(ptr, type, member) ((type *)(void *)((u8 *)(ptr)-offsetof(type, member)))
