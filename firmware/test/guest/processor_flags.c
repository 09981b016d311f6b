/* Flags that a program may set and that are in force in the kernel where a call is a jump: alignment checks, the
 * nested-task flag, the direction of string instructions. The kernel is called with them, faults with them, and is
 * entered by the clock's tick with them. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIRECTION 0x400
#define NESTED 0x4000
#define ALIGNMENT 0x40000

#define SET_FLAGS "sub $128, %%rsp; pushfq; orl %[flags], (%%rsp); popfq; "
#define CLEAR_FLAGS "pushfq; pop %%rsi; pushfq; andl $0xfffbbaff, (%%rsp); popfq; add $128, %%rsp"

/* The number as a constant just before the syscall: the site is patched at its first use. */
#define CALL(number, flag, a, b, c)                                                                                    \
  ({                                                                                                                   \
    long result, rdi = (long)(a), rsi = (long)(b), rdx = (long)(c);                                                    \
    __asm__ volatile(SET_FLAGS "mov %[nr], %%eax; syscall; " CLEAR_FLAGS                                               \
                     : "=a"(result), "+D"(rdi), "+S"(rsi), "+d"(rdx)                                                   \
                     : [nr] "i"(number), [flags] "r"(flag)                                                             \
                     : "rcx", "r11", "memory", "cc");                                                                  \
    result;                                                                                                            \
  })

static void call_with(const char *name, unsigned flag) {
  char bytes[] = "x-unaligned-\n";
  struct {
    char odd;
    struct timespec_pair {
      int64_t seconds, nanoseconds;
    } __attribute__((packed)) wait;
  } __attribute__((packed)) pause = {.wait = {0, 1000000}};
  for (int round = 0; round < 3; round++) {
    long same = CALL(SYS_getpid, flag, 0, 0, 0) == getpid();
    long written = CALL(SYS_write, flag, 1, bytes + 1, sizeof bytes - 2);
    long slept = CALL(SYS_nanosleep, flag, &pause.wait, 0, 0);
    long bad = CALL(SYS_write, flag, 1, 8, 5);
    long yielded = CALL(SYS_sched_yield, flag, 0, 0, 0);
    printf("%s: pid %ld write %ld sleep %ld bad %ld yield %ld\n", name, same, written, slept, bad, yielded);
    fflush(stdout);
  }
}

/* Long enough for several ticks. */
static void spin_with(const char *name, unsigned flag) {
  unsigned long after;
  __asm__ volatile(SET_FLAGS
                   "rdtsc; mov %%eax, %%ecx; 1: rdtsc; sub %%ecx, %%eax; cmp $60000000, %%eax; jb 1b; " CLEAR_FLAGS
                   : "=S"(after)
                   : [flags] "r"(flag)
                   : "rax", "rcx", "rdx", "memory", "cc");
  printf("%s: %s\n", name, after & flag ? "kept" : "lost");
}

int main(void) {
  setvbuf(stdout, NULL, _IOFBF, 4096);
  call_with("none", 0);
  call_with("alignment checks", ALIGNMENT);
  call_with("nested task", NESTED);
  spin_with("direction", DIRECTION);
  spin_with("alignment checks", ALIGNMENT);
  return 0;
}
