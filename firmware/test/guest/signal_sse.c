/* SSE's exceptions, each unmasked alone: a signal that says which one it was. */
#include "call.h"
#include <float.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

enum {
  MASK_ALL = 0x1f80,
  INVALID = 1 << 7,
  DIVISION = 1 << 9,
  OVERFLOW = 1 << 10,
  UNDERFLOW = 1 << 11,
  INEXACT = 1 << 12
};

static sigjmp_buf back;

static void handler(int signal, siginfo_t *info, void *context) {
  const ucontext_t *uc = context;
  printf("signal %d code %d address is rip %d trap %lld\n", signal, info->si_code,
         (greg_t)info->si_addr == uc->uc_mcontext.gregs[REG_RIP], uc->uc_mcontext.gregs[REG_TRAPNO]);
  siglongjmp(back, 1);
}

static void set_mxcsr(uint32_t mxcsr) { __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr)); }

static void divide(const char *what, uint32_t unmasked, double x, double by) {
  printf("%s: ", what);
  if (sigsetjmp(back, 1) == 0) {
    set_mxcsr(MASK_ALL & ~unmasked);
    __asm__ volatile("divsd %1, %0" : "+x"(x) : "x"(by));
    set_mxcsr(MASK_ALL);
    printf("went on\n");
  }
  set_mxcsr(MASK_ALL);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  setvbuf(stdout, NULL, _IONBF, 0);
  sigaction(SIGFPE, &action, NULL);
  divide("masked", 0, 1, 0);
  divide("invalid", INVALID, 0, 0);
  divide("division by zero", DIVISION, 1, 0);
  divide("overflow", OVERFLOW, DBL_MAX, 0.5);
  divide("underflow", UNDERFLOW, DBL_MIN, 3);
  divide("inexact", INEXACT, 1, 3);
  return 0;
}
