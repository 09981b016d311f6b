/* Raw system calls for test programs: results as the kernel gives them (-errno), one line a call.
 * Built as a Linux program it asks Linux (or the guest kernel that runs it); built with -DHOSTED it
 * asks the guest kernel's own code, linked into the same host program (test/host). */
#pragma once
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HOSTED
long kernel_call(long number, const uint64_t *arguments);
#else
static inline long kernel_call(long number, const uint64_t *a) {
  long result;
  register long r10 __asm__("r10") = (long)a[3];
  register long r8 __asm__("r8") = (long)a[4];
  register long r9 __asm__("r9") = (long)a[5];
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#endif

#define FIRST6(a, b, c, d, e, f, ...)                                                                                  \
  (const uint64_t[]) { (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f) }
/* The result of a system call. */
#define CALL(name, ...) kernel_call(SYS_##name, FIRST6(__VA_OPT__(__VA_ARGS__, ) 0, 0, 0, 0, 0, 0, 0))
/* The same, told on standard output. */
#define SHOW(name, ...) show(#name "(" #__VA_ARGS__ ")", CALL(name, __VA_ARGS__))

static inline long show(const char *what, long result) {
  if (result < 0) printf("%s = -%s\n", what, strerrorname_np((int)-result));
  else printf("%s = %ld\n", what, result);
  return result;
}
