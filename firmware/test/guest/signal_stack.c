/* Alternate stacks: sigaltstack(2), a handler after the stack ran over, and frames that were tampered with. */
#include "call.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static char area[65536] __attribute__((aligned(16)));
static char other[65536] __attribute__((aligned(16)));
static sigjmp_buf back;

static int inside(const void *p, const char *start) {
  return (const char *)p > start && (const char *)p <= start + 65536;
}

static void show_stack(int signal, siginfo_t *info, void *context) {
  stack_t now, moved = {.ss_sp = other, .ss_size = sizeof other};
  int here;
  CALL(sigaltstack, 0, &now);
  printf("on it %d flags %x frame's %x\n", inside(&here, area), now.ss_flags,
         ((ucontext_t *)context)->uc_stack.ss_flags);
  SHOW(sigaltstack, &moved, 0);
}

static void nested(int signal) {
  int here;
  printf("nested on it %d\n", inside(&here, area));
  if (signal == SIGUSR1) raise(SIGUSR2);
}

static void overflow_handler(int signal, siginfo_t *info, void *context) {
  int here;
  printf("overflow: code %d on it %d, near the stack pointer %d\n", info->si_code, inside(&here, area),
         llabs((long long)info->si_addr - ((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP]) < 65536 * 2);
  siglongjmp(back, 1);
}

static int recurse(volatile char *above) {
  volatile char here[4096];
  here[0] = above[0];
  return recurse(here) + here[0];
}

static void errors(void) {
  stack_t small = {.ss_sp = area, .ss_size = 2047}, odd = {.ss_sp = area, .ss_size = sizeof area, .ss_flags = 4};
  stack_t none = {.ss_flags = SS_DISABLE}, now, whole = {.ss_sp = area, .ss_size = sizeof area};
  SHOW(sigaltstack, 8, 0);
  SHOW(sigaltstack, 0, 8);
  SHOW(sigaltstack, &small, 0);
  SHOW(sigaltstack, &odd, 0);
  SHOW(sigaltstack, 0, &now);
  printf("at first %x %zu\n", now.ss_flags, now.ss_size);
  SHOW(sigaltstack, &whole, &now);
  SHOW(sigaltstack, 0, &now);
  printf("then %x %zu %d\n", now.ss_flags, now.ss_size, now.ss_sp == area);
  SHOW(sigaltstack, &none, 0);
  SHOW(sigaltstack, 0, &now);
  printf("none %x %zu\n", now.ss_flags, now.ss_size);
}

static void install(int signal, void *function, int flags) {
  struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
  sigaction(signal, &action, NULL);
}

/* Frames with garbage in them: the kernel goes on, whatever becomes of us. */
static volatile int tamper;

static void garbage(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  uint32_t *area = (uint32_t *)uc->uc_mcontext.fpregs;
  switch (tamper) {
    case 0: area[24 / 4] = 0xffffffff; break;                /* MXCSR */
    case 1: memset(area + 528 / 4, 0xff, 48); break;         /* the header's reserved words */
    case 2: memset(area + 520 / 4, 0xff, 8); break;          /* compaction */
    case 3: memset(area, 0xff, 416); break;                  /* registers */
    case 4: uc->uc_mcontext.fpregs = NULL; break;            /* none */
    case 5: memset(area + 464 / 4, 0, 48); break;            /* only the legacy part */
    case 6: uc->uc_mcontext.gregs[REG_EFL] |= 0x3000; break; /* IOPL */
    case 7: uc->uc_mcontext.fpregs = (void *)0x4141414141414141; break;
    case 8: uc->uc_mcontext.gregs[REG_RIP] = 0x4141414141414141; break;
  }
}

static void landed(int signal, siginfo_t *info, void *context) {
  printf("tampered frame: signal %d code %d\n", signal, info->si_code);
  siglongjmp(back, 1);
}

static void tampering(void) {
  uint32_t mxcsr = 0x1f80;
  install(SIGUSR1, garbage, 0);
  install(SIGSEGV, landed, SA_ONSTACK);
  for (tamper = 0; tamper < 9; tamper++) {
    if (sigsetjmp(back, 1) == 0) {
      raise(SIGUSR1);
      printf("tampered %d: back\n", tamper);
    }
  }
  __asm__ volatile("ldmxcsr %0; fninit" : : "m"(mxcsr));
  printf("still here\n");
}

static void behind_ud2(int signal, siginfo_t *info, void *context) {
  printf("on a new stack: signal %d\n", signal);
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* A fault whose frame goes to memory that nobody touched: the kernel faults while it handles a fault. */
static void untouched_stack(void) {
  size_t size = 16 << 20;
  char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t fresh = {.ss_sp = memory, .ss_size = size / 2};
  SHOW(sigaltstack, &fresh, 0);
  install(SIGILL, behind_ud2, SA_ONSTACK);
  __asm__ volatile("ud2");
}

static void bad_stack_pointer(void) {
  if (sigsetjmp(back, 1) == 0)
    __asm__ volatile("mov %%rsp, %%rbx; mov $0x1000, %%esp; syscall; mov %%rbx, %%rsp"
                     :
                     : "a"(SYS_tkill), "D"(gettid()), "S"(SIGUSR1)
                     : "rbx", "rcx", "r11", "memory");
}

/* A thread's stack without an alternate one, and one of its own. */
static void *thread(void *unused) {
  static char mine[65536];
  stack_t now, whole = {.ss_sp = mine, .ss_size = sizeof mine};
  CALL(sigaltstack, 0, &now);
  printf("thread's at first %x\n", now.ss_flags);
  SHOW(sigaltstack, &whole, 0);
  return NULL;
}

int main(void) {
  stack_t whole = {.ss_sp = area, .ss_size = sizeof area}, now;
  setvbuf(stdout, NULL, _IONBF, 0);
  errors();
  CALL(sigaltstack, &whole, 0);
  install(SIGUSR1, show_stack, SA_ONSTACK);
  raise(SIGUSR1);
  install(SIGUSR1, show_stack, 0);
  raise(SIGUSR1);
  CALL(sigaltstack, &whole, 0);
  install(SIGUSR1, nested, SA_ONSTACK);
  install(SIGUSR2, nested, SA_ONSTACK);
  raise(SIGUSR1);
  pthread_t t;
  pthread_create(&t, NULL, thread, NULL);
  pthread_join(t, NULL);

  whole.ss_flags = SS_AUTODISARM;
  SHOW(sigaltstack, &whole, 0);
  install(SIGUSR1, show_stack, SA_ONSTACK);
  raise(SIGUSR1);
  CALL(sigaltstack, 0, &now);
  printf("armed again %x %d\n", now.ss_flags, now.ss_sp == area);

  whole.ss_flags = 0;
  CALL(sigaltstack, &whole, 0);
  install(SIGSEGV, overflow_handler, SA_ONSTACK);
  for (int i = 0; i < 2; i++)
    if (sigsetjmp(back, 1) == 0) recurse(area);
  tampering();
  install(SIGUSR1, show_stack, 0);
  bad_stack_pointer();
  untouched_stack();
  printf("done\n");
  return 0;
}
