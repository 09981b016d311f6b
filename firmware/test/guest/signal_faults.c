/* Faults become signals with a reason and an address; handlers may go on behind them or leave. */
#include "call.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile uintptr_t expected; /* si_addr, 0 = that of the instruction */

static void handler(int signal, siginfo_t *info, void *context) {
  const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  uintptr_t address = (uintptr_t)info->si_addr;
  const char *where = address == 0                          ? "0"
                      : address == expected                 ? "there"
                      : address == (uintptr_t)regs[REG_RIP] ? "rip"
                                                            : "?";
  printf("  signal %d code %d address %s trap %lld", signal, info->si_code, where, regs[REG_TRAPNO]);
  if (regs[REG_TRAPNO] == 14) printf(" write %lld cr2 %d", regs[REG_ERR] >> 1 & 1, (uintptr_t)regs[REG_CR2] == address);
  printf("\n");
  siglongjmp(back, 1);
}

#define TRY(what, ...)                                                                                                 \
  do {                                                                                                                 \
    printf("%s\n", what);                                                                                              \
    if (sigsetjmp(back, 1) == 0) {                                                                                     \
      __VA_ARGS__;                                                                                                     \
      printf("  went on\n");                                                                                           \
    }                                                                                                                  \
  } while (0)

static void load(uintptr_t address) {
  expected = address;
  (void)*(volatile char *)address;
}
static void store(uintptr_t address) {
  expected = address;
  *(volatile char *)address = 1;
}

/* The handler repairs what it was called for: the faulting instruction is tried again. */
static int *volatile target;
static int repaired;

static void repair(int signal, siginfo_t *info, void *context) {
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RBX] = (greg_t)&repaired;
}

static void skip_two(int signal, siginfo_t *info, void *context) {
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
}

static void install(int signal, void (*function)(int, siginfo_t *, void *)) {
  struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO};
  sigaction(signal, &action, NULL);
}

static void trapped(int signal, siginfo_t *info, void *context) {
  const unsigned char *rip = (const unsigned char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  printf("  int3: code %d, behind it %d\n", info->si_code, rip[-1] == 0xcc);
}

static volatile int steps;
static void stepped(int signal, siginfo_t *info, void *context) {
  if (steps++ == 0)
    printf("  step: code %d at rip %d\n", info->si_code,
           (greg_t)info->si_addr == ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]);
}

/* A loop of faults: each handler returns to the next one. */
static volatile int faults;
static void count_and_skip(int signal, siginfo_t *info, void *context) {
  faults++;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  install(SIGSEGV, handler);
  install(SIGBUS, handler);
  install(SIGFPE, handler);
  install(SIGILL, handler);
  TRY("load from nowhere", load(0x10));
  TRY("store to nowhere", store(0x666000));
  TRY("load from a hole", load(0x123456789000));
  TRY("non-canonical", load(0x8000000000000000));
  char *reserved = mmap(NULL, 16 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TRY("load from PROT_NONE", load((uintptr_t)reserved + 4096 * 700));
  TRY("store to PROT_NONE", store((uintptr_t)reserved + 4096 * 900));
  TRY("jump to nowhere", expected = 0x1000; ((void (*)(void))0x1000)());
  TRY("jump beyond", ((void (*)(void))0x4142434445464748)());
  volatile int zero = 0, seven = 7;
  TRY("divide by zero", printf("%d\n", seven / zero));
  volatile int least = -2147483647 - 1, minus = -1;
  TRY("divide too large", printf("%d\n", least / minus));
  TRY("undefined instruction", __asm__ volatile("ud2"));
  TRY("privileged instruction", __asm__ volatile("hlt"));
  uint16_t unmasked = 0x37f & ~5, masked = 0x37f; /* invalid operations and divisions by zero fault */
  TRY("x87 division by zero", __asm__ volatile("fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(unmasked)));
  TRY("x87 invalid operation", __asm__ volatile("fninit; fldcw %0; fld1; fchs; fsqrt; fwait" : : "m"(unmasked)));
  __asm__ volatile("fninit; fldcw %0" : : "m"(masked));

  install(SIGTRAP, trapped);
  printf("breakpoint\n");
  __asm__ volatile("int3");
  install(SIGTRAP, stepped);
  printf("single steps\n");
  __asm__ volatile("sub $128, %%rsp; pushfq; orl $0x100, (%%rsp); popfq\n"
                   "nop; nop\n"
                   "pushfq; andl $~0x100, (%%rsp); popfq; add $128, %%rsp"
                   :
                   :
                   : "memory", "cc");
  printf("steps %d\n", steps);

  install(SIGSEGV, repair);
  int result;
  repaired = 42;
  __asm__ volatile("mov (%%rbx), %0" : "=a"(result) : "b"(16L) : "memory");
  printf("repaired %d\n", result);

  install(SIGILL, count_and_skip);
  for (int i = 0; i < 100; i++) __asm__ volatile("ud2");
  printf("faults %d\n", faults);

  /* A system call says EFAULT: no signal. */
  install(SIGSEGV, handler);
  SHOW(write, 1, 8, 1);
  /* A handler that does not exist is a fault of its own. */
  install(SIGUSR1, (void *)0x7000000000000000);
  TRY("handler at a bad address", raise(SIGUSR1));
  return 0;
}
