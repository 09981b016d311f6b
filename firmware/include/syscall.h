/* syscall/: one handler per system call, all of the same shape: six arguments in, result or -errno out.
 * syscall/table.def lists them: SYSCALL(number, name, format, support, missing). format is for --strace, one letter per
 * argument: d int, u unsigned, x hex, s string, p pointer, f file descriptor. support: FULL, PARTIAL or NONE. */
#pragma once
#include "errno.h"
#include "types.h"

typedef i64 syscall_fn(const u64 *a);

/* A piece of the program's memory, as calls with vectors get it (readv(2)). */
struct iovec {
  u64 base, size;
};
enum { IOV_MAX = 1024 };

#define SYSCALL(number, name, format, support, missing) i64 sys_##name(const u64 *a);
#include "../syscall/table.def"
#undef SYSCALL
