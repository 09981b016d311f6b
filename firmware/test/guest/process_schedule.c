/* Policies, priorities, processors, barriers, restartable sequences, and the clocks of processor time. */
#include "call.h"
#include <errno.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#define BAD ((void *)8)

static void policies(void) {
  int zero = 0, one = 1, value = 5;
  SHOW(sched_getscheduler, 0);
  SHOW(sched_getscheduler, -1);
  SHOW(sched_getscheduler, 99999999);
  SHOW(sched_setscheduler, 0, SCHED_BATCH, &zero);
  SHOW(sched_getscheduler, 0);
  SHOW(sched_setscheduler, 0, SCHED_BATCH, &one);
  SHOW(sched_setscheduler, 0, 99, &zero);
  SHOW(sched_setscheduler, 0, SCHED_OTHER, BAD);
  SHOW(sched_setscheduler, 99999999, SCHED_OTHER, &zero);
  SHOW(sched_getparam, 0, &value);
  SHOW(sched_getparam, 0, BAD);
  SHOW(sched_setparam, 0, &zero);
  SHOW(sched_setparam, 0, &one);
  SHOW(sched_setscheduler, 0, SCHED_OTHER, &zero);
  SHOW(sched_get_priority_max, SCHED_RR);
  SHOW(sched_get_priority_min, SCHED_RR);
  SHOW(sched_get_priority_max, SCHED_OTHER);
  SHOW(sched_get_priority_max, 77);
  SHOW(getpriority, PRIO_PROCESS, 0);
  SHOW(setpriority, PRIO_PROCESS, 0, 7);
  SHOW(getpriority, PRIO_PROCESS, 0);
  SHOW(setpriority, PRIO_PROCESS, 0, 100);
  SHOW(getpriority, PRIO_PROCESS, 0);
  SHOW(getpriority, 9, 0);
  SHOW(getpriority, PRIO_PROCESS, 99999999);
  SHOW(setpriority, 9, 0, 0);
  SHOW(ioprio_set, 1, 0, 2 << 13 | 5);
  SHOW(ioprio_get, 1, 0);
  SHOW(ioprio_get, 9, 0);
  SHOW(ioprio_set, 1, 0, 7 << 13);
  SHOW(ioprio_get, 1, 99999999);
}

static void processors(void) {
  unsigned long mask[16] = {1};
  unsigned cpu = 9, node = 9;
  SHOW(sched_setaffinity, 0, sizeof mask, mask);
  SHOW(sched_getaffinity, 0, 7, mask);
  SHOW(sched_getaffinity, 0, sizeof mask, BAD);
  SHOW(sched_getaffinity, 99999999, sizeof mask, mask);
  printf("%d %lx\n", CALL(sched_getaffinity, 0, sizeof mask, mask) >= 8, mask[0]);
  mask[0] = 0;
  SHOW(sched_setaffinity, 0, sizeof mask, mask);
  SHOW(sched_setaffinity, 0, sizeof mask, BAD);
  SHOW(getcpu, &cpu, &node, NULL);
  printf("%u %u %d\n", cpu, node, sched_getcpu());
  SHOW(getcpu, BAD, NULL, NULL);
  SHOW(sched_yield);
}

static void barriers(void) {
  enum { GLOBAL = 1, PRIVATE = 8, REGISTER = 16 };
  printf("%d\n", (CALL(membarrier, 0, 0, 0) & (GLOBAL | PRIVATE | REGISTER)) == (GLOBAL | PRIVATE | REGISTER));
  SHOW(membarrier, PRIVATE, 0, 0);
  SHOW(membarrier, REGISTER, 0, 0);
  SHOW(membarrier, PRIVATE, 0, 0);
  SHOW(membarrier, GLOBAL, 0, 0);
  SHOW(membarrier, 3, 0, 0);
  SHOW(membarrier, 1 << 20, 0, 0);
  SHOW(membarrier, 0, 1, 0);
}

/* ---- a sequence that spins until it is taken off the processor ---- */

static volatile int aborted;

static void *spin_until_aborted(void *arg) {
  struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
  static struct {
    uint32_t version, flags;
    uint64_t start, length, abort;
  } __attribute__((aligned(32))) section;
  __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                   "mov %%rax, 8(%0)\n\t"
                   "movq $2f - 1f, 16(%0)\n\t"
                   "lea 4f(%%rip), %%rax\n\t"
                   "mov %%rax, 24(%0)\n\t"
                   "mov %0, 8(%1)\n\t"
                   "1: jmp 1b\n\t"
                   "nop\n\t"
                   "2: jmp 5f\n\t"
                   ".long 0x53053053\n\t"
                   "4: movl $1, %2\n\t"
                   "5:"
                   :
                   : "r"(&section), "r"(area), "m"(aborted)
                   : "rax", "memory");
  printf("section is left: %d\n", area->rseq_cs == 0);
  return NULL;
}

/* A fault in a section: the handler is told of the abort address, and returns there. */
extern char abort_address[];
static void in_section(int signal, siginfo_t *info, void *context) {
  greg_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  printf("signal %d, at the abort address: %d\n", signal, at == (greg_t)abort_address);
}

static void fault_in_section(void) {
  struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
  static struct {
    uint32_t version, flags;
    uint64_t start, length, abort;
  } __attribute__((aligned(32))) section;
  sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = in_section, .sa_flags = SA_SIGINFO}, NULL);
  __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                   "mov %%rax, 8(%0)\n\t"
                   "movq $2f - 1f, 16(%0)\n\t"
                   "lea abort_address(%%rip), %%rax\n\t"
                   "mov %%rax, 24(%0)\n\t"
                   "xor %%eax, %%eax\n\t"
                   "mov %0, 8(%1)\n\t"
                   "1: movl (%%rax), %%eax\n\t"
                   "2: jmp 5f\n\t"
                   ".long 0x53053053\n\t"
                   "abort_address: nop\n\t"
                   "5:"
                   :
                   : "r"(&section), "r"(area)
                   : "rax", "memory");
  printf("section is left: %d\n", area->rseq_cs == 0);
}

static void *keep_busy(void *arg) {
  while (!aborted) sched_yield();
  return NULL;
}

static void sequences(void) {
  static struct rseq area __attribute__((aligned(32)));
  pthread_t spinner, other;
  struct rseq *own = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
  printf("%d %u\n", __rseq_size > 0, own->cpu_id);
  SHOW(rseq, &area, sizeof area, 0, 0x53053053); /* the C library has registered another */
  SHOW(rseq, own, 32, 0, 0x53053053);
  SHOW(rseq, own, 32, 0, 1);
  SHOW(rseq, own, 32, 4, 0x53053053);
  SHOW(rseq, &area, 32, 1, 0x53053053);
  SHOW(rseq, own, 32, 1, 0x53053053);
  printf("%d\n", (int)own->cpu_id);
  SHOW(rseq, (char *)own + 4, 32, 0, 0x53053053);
  SHOW(rseq, 32, 32, 0, 0x53053053);
  SHOW(rseq, own, 32, 0, 0x53053053);
  pthread_create(&spinner, NULL, spin_until_aborted, NULL);
  pthread_create(&other, NULL, keep_busy, NULL);
  pthread_join(spinner, NULL);
  pthread_join(other, NULL);
  printf("aborted %d\n", aborted);
  fault_in_section();
}

/* ---- clocks ---- */

static double seconds(clockid_t clock) {
  struct timespec t = {0, 0};
  CALL(clock_gettime, clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void burn(double time) {
  for (double end = seconds(CLOCK_THREAD_CPUTIME_ID) + time; seconds(CLOCK_THREAD_CPUTIME_ID) < end;) continue;
}

static void *burn_a_little(void *arg) {
  burn(0.02);
  *(double *)arg = seconds(CLOCK_THREAD_CPUTIME_ID);
  return NULL;
}

static void processor_time(void) {
  struct timespec pause = {0, 60000000}, t;
  double before = seconds(CLOCK_PROCESS_CPUTIME_ID), own = seconds(CLOCK_THREAD_CPUTIME_ID), child;
  SHOW(nanosleep, &pause, NULL);
  printf("sleeping costs nothing: %d %d\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - before < 0.03,
         seconds(CLOCK_THREAD_CPUTIME_ID) - own < 0.03);
  pthread_t thread;
  pthread_create(&thread, NULL, burn_a_little, &child);
  pthread_join(thread, NULL);
  printf("the thread's: %d, the process's has it: %d, ours not: %d\n", child >= 0.02,
         seconds(CLOCK_PROCESS_CPUTIME_ID) - before >= 0.02, seconds(CLOCK_THREAD_CPUTIME_ID) - own < 0.02);
  struct rusage usage, thread_usage;
  struct tms tms;
  SHOW(getrusage, RUSAGE_SELF, &usage);
  SHOW(getrusage, RUSAGE_THREAD, &thread_usage);
  printf("%d %d %d\n",
         usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000 +
                 usage.ru_stime.tv_usec >=
             19000,
         usage.ru_maxrss > 0, !thread_usage.ru_maxrss > 0);
  SHOW(getrusage, RUSAGE_CHILDREN, &thread_usage);
  SHOW(getrusage, 5, &usage);
  SHOW(getrusage, RUSAGE_SELF, BAD);
  printf("%d\n", CALL(times, &tms) > 0 && tms.tms_cutime >= 0); /* a shell became this program, and had children */
  SHOW(times, BAD);
  clockid_t clock = 0;
  printf("%d\n", clock_getcpuclockid(0, &clock));
  SHOW(clock_gettime, clock, &t);
  printf("%d\n", pthread_getcpuclockid(pthread_self(), &clock));
  SHOW(clock_gettime, clock, &t);
  printf("%d\n", clock_getcpuclockid(getpid(), &clock));
  SHOW(clock_gettime, clock, &t);
  SHOW(clock_gettime, ~99999999 << 3 | 2, &t);
  SHOW(clock_gettime, -1, &t);
}

static void clocks(void) {
  static const clockid_t all[] = {CLOCK_REALTIME,
                                  CLOCK_MONOTONIC,
                                  CLOCK_PROCESS_CPUTIME_ID,
                                  CLOCK_THREAD_CPUTIME_ID,
                                  CLOCK_MONOTONIC_RAW,
                                  CLOCK_REALTIME_COARSE,
                                  CLOCK_MONOTONIC_COARSE,
                                  CLOCK_BOOTTIME,
                                  CLOCK_TAI,
                                  12,
                                  500};
  struct timespec t, soon, past = {1, 0}, negative = {-1, 0};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    printf("%d: ", all[i]);
    SHOW(clock_gettime, all[i], &t);
    SHOW(clock_getres, all[i], NULL);
    soon = (struct timespec){0, 1000000000};
    SHOW(clock_nanosleep, all[i], 0, &soon, NULL);
  }
  CALL(clock_gettime, CLOCK_MONOTONIC, &soon);
  soon.tv_nsec += 2000000;
  if (soon.tv_nsec >= 1000000000) soon = (struct timespec){soon.tv_sec + 1, soon.tv_nsec - 1000000000};
  SHOW(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &soon, NULL);
  CALL(clock_gettime, CLOCK_MONOTONIC, &t);
  printf("%d\n", t.tv_sec > soon.tv_sec || (t.tv_sec == soon.tv_sec && t.tv_nsec >= soon.tv_nsec));
  SHOW(clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL);
  SHOW(clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, NULL);
  SHOW(clock_gettime, CLOCK_MONOTONIC, BAD);
  SHOW(nanosleep, &negative, NULL);
  SHOW(time, BAD);
}

/* ---- threads and processes ---- */

static void clones(void) {
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, more[3];
  } args = {.flags = CLONE_THREAD};
  SHOW(clone, CLONE_THREAD, 0, 0, 0, 0);
  SHOW(clone, CLONE_SIGHAND, 0, 0, 0, 0);
  SHOW(clone3, &args, 64);
  SHOW(clone3, &args, 40);
  SHOW(clone3, &args, 100000);
  SHOW(clone3, BAD, 64);
  args.flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | 17;
  SHOW(clone3, &args, 64);
  args.flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  args.stack = 4096;
  SHOW(clone3, &args, 64);
  args.stack = 0;
  args.exit_signal = 17;
  SHOW(clone3, &args, 64);
  SHOW(wait4, -1, NULL, 0, NULL);
  SHOW(waitid, P_ALL, 0, NULL, WEXITED, NULL);
  SHOW(wait4, -1, NULL, 0x12345678, NULL);
  SHOW(waitid, P_ALL, 0, NULL, 0, NULL);
  printf("%d\n", CALL(gettid) == CALL(getpid) && CALL(set_tid_address, 0) == CALL(gettid));
  SHOW(getpgid, 99999999);
  SHOW(getsid, 99999999);
  SHOW(getrandom, BAD, 8, 0);
  SHOW(getrandom, &args, 8, 6);
  SHOW(getrandom, &args, 8, 64);
  SHOW(getrandom, &args, 8, 3);
  SHOW(getrandom, &args, 0, 0);
  SHOW(uname, BAD);
  SHOW(sysinfo, BAD);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  policies();
  processors();
  barriers();
  sequences();
  processor_time();
  clocks();
  clones();
  return 0;
}
