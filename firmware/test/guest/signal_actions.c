/* Handlers are called with what sigaction(2) promises, and registers survive them. */
#include "call.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

static volatile int calls, last;
static volatile int depth, deepest;

static void count(int signal) {
  calls++;
  last = signal;
}

static void install(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(signal, &action, NULL);
}

static void told(int signal, siginfo_t *info, void *context) {
  const ucontext_t *uc = context;
  printf("signal %d signo %d errno %d code %d pid is ours %d uid %d\n", signal, info->si_signo, info->si_errno,
         info->si_code, info->si_pid == getpid(), info->si_uid);
  printf("link %p old mask %llx altstack %d\n", (void *)uc->uc_link, (long long)*(const uint64_t *)&uc->uc_sigmask,
         uc->uc_stack.ss_flags & ~SS_DISABLE); /* Linux sets it or not, by what the parent had */
  calls++;
}

static volatile int raises;

static void nested(int signal) {
  depth++;
  if (depth > deepest) deepest = depth;
  if (raises++ < 3) raise(signal);
  depth--;
}

static void show_mask(int signal) {
  uint64_t mask = 0;
  CALL(rt_sigprocmask, 0, 0, &mask, 8);
  printf("mask in handler of %d: %lx\n", signal, mask);
}

/* Registers that a system call keeps, with a handler in between. */
static int registers_survive(void) {
  long wrong = SYS_tkill;
  __asm__ volatile("mov $0x1001, %%rbx; mov $0x1002, %%r12; mov $0x1003, %%r13; mov $0x1004, %%r14\n"
                   "mov $0x1005, %%r15; mov $0x1006, %%r8; mov $0x1007, %%r9; mov $0x1008, %%r10\n"
                   "syscall\n"
                   "sub $0x1001, %%rbx; or %%rbx, %%rax; sub $0x1002, %%r12; or %%r12, %%rax\n"
                   "sub $0x1003, %%r13; or %%r13, %%rax; sub $0x1004, %%r14; or %%r14, %%rax\n"
                   "sub $0x1005, %%r15; or %%r15, %%rax; sub $0x1006, %%r8; or %%r8, %%rax\n"
                   "sub $0x1007, %%r9; or %%r9, %%rax; sub $0x1008, %%r10; or %%r10, %%rax\n"
                   : "+a"(wrong)
                   : "D"(gettid()), "S"(SIGUSR1)
                   : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  return wrong == 0;
}

static void clobber_vectors(int signal) {
  uint32_t mxcsr;
  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  printf("mxcsr in handler %x\n", mxcsr);
  __asm__ volatile("pcmpeqd %%xmm5, %%xmm5; pcmpeqd %%xmm15, %%xmm15" : : : "xmm5", "xmm15");
  calls++;
}

static void vectors_survive(void) {
  uint64_t five = 0x5555, fifteen = 0xffff0000;
  uint32_t mxcsr = 0x3f80, after;
  install(SIGUSR1, clobber_vectors, 0);
  __asm__ volatile("movq %[a], %%xmm5; movq %[b], %%xmm15; ldmxcsr %[m]\n"
                   "syscall\n"
                   "movq %%xmm5, %[a]; movq %%xmm15, %[b]; stmxcsr %[n]"
                   : [a] "+r"(five), [b] "+r"(fifteen), [n] "=m"(after)
                   : [m] "m"(mxcsr), "a"(SYS_tkill), "D"(gettid()), "S"(SIGUSR1)
                   : "rcx", "r11", "memory", "xmm5", "xmm15");
  printf("vectors %lx %lx mxcsr %x\n", five, fifteen, after);
  mxcsr = 0x1f80;
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* What a handler writes into the frame is what the program goes on with. */
static void edit(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  uc->uc_mcontext.gregs[REG_RAX] = 4711;
  uc->uc_mcontext.fpregs->_xmm[3].element[0] = 0xabcd;
  sigaddset(&uc->uc_sigmask, SIGUSR2);
}

static void frames_can_be_edited(void) {
  struct sigaction action = {.sa_sigaction = edit, .sa_flags = SA_SIGINFO};
  uint64_t mask = 0, three = 1;
  long result = SYS_tkill;
  sigaction(SIGUSR1, &action, NULL);
  __asm__ volatile("movq %1, %%xmm3; syscall; movq %%xmm3, %1"
                   : "+a"(result), "+r"(three)
                   : "D"(gettid()), "S"(SIGUSR1)
                   : "rcx", "r11", "memory", "xmm3");
  CALL(rt_sigprocmask, SIG_UNBLOCK, &(uint64_t){1ull << (SIGUSR2 - 1)}, &mask, 8);
  printf("edited rax %ld xmm3 %lx mask %lx\n", result, three & 0xffffffff, mask);
}

static void frame_has_magic(int signal, siginfo_t *info, void *context) {
  const uint32_t *area = (const void *)((ucontext_t *)context)->uc_mcontext.fpregs;
  const uint32_t *software = area + 464 / 4;
  uint32_t magic2;
  memcpy(&magic2, (const char *)area + software[4], 4);
  printf("magic %x %x size %d aligned %d features %d\n", software[0], magic2, software[1] == software[4] + 4,
         (uintptr_t)area % 64 == 0, (software[2] & 3) == 3);
  printf("flags %lx\n", ((ucontext_t *)context)->uc_flags);
  printf("info and stack %d\n", (uintptr_t)info > (uintptr_t)context && ((uintptr_t)context - 8) % 16 == 8);
}

static void errors(void) {
  struct kernel_action action = {count, 0, 0, ~0ull}, old = {0};
  SHOW(rt_sigaction, 0, 0, 0, 8);
  SHOW(rt_sigaction, 65, 0, 0, 8);
  SHOW(rt_sigaction, SIGKILL, 0, &old, 8);
  SHOW(rt_sigaction, SIGKILL, &action, 0, 8);
  SHOW(rt_sigaction, SIGSTOP, &action, 0, 8);
  SHOW(rt_sigaction, SIGUSR1, 0, 0, 4);
  SHOW(rt_sigaction, SIGUSR1, 8, 0, 8);
  SHOW(rt_sigaction, SIGUSR1, 0, 8, 8);
  action.flags = 0xffffffffu & ~SA_RESETHAND;
  SHOW(rt_sigaction, SIGUSR2, &action, 0, 8);
  SHOW(rt_sigaction, SIGUSR2, 0, &old, 8);
  printf("handler %d flags %lx mask %lx\n", old.handler == (void *)count, old.flags, old.mask);
  SHOW(rt_sigprocmask, 3, &(uint64_t){1}, 0, 8);
  SHOW(rt_sigprocmask, 3, 0, 0, 8);
  SHOW(rt_sigprocmask, 0, 8, 0, 8);
  SHOW(rt_sigprocmask, 0, 0, 8, 8);
  SHOW(rt_sigprocmask, 0, 0, 0, 16);
  uint64_t mask = ~0ull;
  SHOW(rt_sigprocmask, 2, &mask, 0, 8);
  SHOW(rt_sigprocmask, 2, &(uint64_t){0}, &mask, 8);
  printf("everything but SIGKILL and SIGSTOP: %lx\n", ~mask);
  SHOW(rt_sigpending, 8, 8);
  SHOW(rt_sigpending, &mask, 9);
  SHOW(kill, getpid(), 65);
  SHOW(kill, getpid(), -1);
  SHOW(kill, getpid(), 0);
  SHOW(kill, 0x7ffffff0, 0);
  SHOW(tkill, 0, 0);
  SHOW(tkill, -1, 0);
  SHOW(tkill, 0x7ffffff0, 0);
  SHOW(tgkill, -1, gettid(), 0);
  SHOW(tgkill, getpid(), 0, 0);
  SHOW(tgkill, 0x7ffffff0, gettid(), 0);
  SHOW(tgkill, getpid(), gettid(), 65);
  SHOW(rt_sigsuspend, 8, 8);
  SHOW(rt_sigsuspend, &mask, 4);
}

static atomic_int stop;
static volatile pthread_t spinner_saw;

static void in_spinner(int signal) {
  spinner_saw = pthread_self();
  stop = 1;
}

static void *spin(void *unused) {
  while (!stop) {}
  return NULL;
}

/* As Go pre-empts its threads. */
static void spinning_thread(void) {
  pthread_t thread;
  install(SIGURG, in_spinner, SA_RESTART);
  pthread_create(&thread, NULL, spin, NULL);
  usleep(2000);
  pthread_kill(thread, SIGURG);
  pthread_join(thread, NULL);
  printf("the spinning thread ran the handler: %d\n", pthread_equal(spinner_saw, thread));
}

int main(void) {
  struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO};
  setvbuf(stdout, NULL, _IONBF, 0);
  errors();
  install(SIGUSR2, SIG_DFL, 0);
  sigaction(SIGUSR1, &action, NULL);
  kill(getpid(), SIGUSR1);
  raise(SIGUSR1);
  sigqueue(getpid(), SIGUSR1, (union sigval){7});
  printf("calls %d\n", calls);

  install(SIGUSR1, count, SA_RESETHAND);
  raise(SIGUSR1);
  sigaction(SIGUSR1, NULL, &action);
  printf("reset: %d, last %d\n", action.sa_handler == SIG_DFL, last);

  install(SIGUSR1, nested, 0);
  raise(SIGUSR1);
  printf("masked while it runs: deepest %d\n", deepest);
  deepest = depth = raises = 0;
  install(SIGUSR1, nested, SA_NODEFER);
  raise(SIGUSR1);
  printf("SA_NODEFER: deepest %d\n", deepest);

  struct sigaction masked = {.sa_handler = show_mask};
  sigaddset(&masked.sa_mask, SIGTERM);
  sigaction(SIGUSR1, &masked, NULL);
  raise(SIGUSR1);
  install(SIGUSR1, show_mask, SA_NODEFER);
  raise(SIGUSR1);

  /* Ignored ones vanish, also those that wait already. */
  uint64_t usr1 = 1ull << (SIGUSR1 - 1), pending = 0;
  install(SIGUSR1, count, 0);
  CALL(rt_sigprocmask, SIG_BLOCK, &usr1, 0, 8);
  raise(SIGUSR1);
  kill(getpid(), SIGUSR1);
  CALL(rt_sigpending, &pending, 8);
  printf("pending %lx\n", pending);
  install(SIGUSR1, SIG_IGN, 0);
  CALL(rt_sigpending, &pending, 8);
  printf("after SIG_IGN %lx\n", pending);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &usr1, 0, 8);
  raise(SIGCHLD);
  raise(SIGWINCH);

  /* Two that wait: the frames lie on each other. */
  uint64_t both = 1ull << (SIGUSR1 - 1) | 1ull << (SIGUSR2 - 1);
  install(SIGUSR1, show_mask, 0);
  install(SIGUSR2, show_mask, 0);
  CALL(rt_sigprocmask, SIG_BLOCK, &both, 0, 8);
  raise(SIGUSR2);
  raise(SIGUSR1);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &both, 0, 8);

  install(SIGUSR1, count, 0);
  calls = 0;
  for (int i = 0; i < 3; i++) printf("registers survive: %d\n", registers_survive());
  printf("calls %d\n", calls);
  vectors_survive();
  frames_can_be_edited();
  struct sigaction magic = {.sa_sigaction = frame_has_magic, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &magic, NULL);
  raise(SIGUSR1);
  spinning_thread();
  return 0;
}
