/* Timers and limits of processor time: they stand still while the program sleeps, and count what threads use. */
#include "call.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

static volatile int handled, last, code, value;
static volatile pthread_t where;

static void handler(int signal, siginfo_t *info, void *context) {
  handled++;
  last = signal;
  code = info->si_code;
  value = info->si_value.sival_int;
  where = pthread_self();
}

static void install(int signal) { sigaction(signal, &(struct sigaction){.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, NULL); }

static double used(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void compute(double seconds) {
  for (double start = used(CLOCK_THREAD_CPUTIME_ID); used(CLOCK_THREAD_CPUTIME_ID) - start < seconds;) {}
}

/* Until the handler ran, by computing; how much of the processor that took, in tenths of what was asked for. */
static int compute_until(int count, double asked) {
  double start = used(CLOCK_PROCESS_CPUTIME_ID);
  while (handled < count && used(CLOCK_PROCESS_CPUTIME_ID) - start < 100 * asked) {}
  return (int)((used(CLOCK_PROCESS_CPUTIME_ID) - start) / asked * 10) >= 10;
}

static void nap(void) { nanosleep(&(struct timespec){0, 100000000}, NULL); }

static void of_the_process(void) {
  static const int which[] = {ITIMER_VIRTUAL, ITIMER_PROF}, signals[] = {SIGVTALRM, SIGPROF};
  struct itimerval once = {{0, 0}, {0, 50000}}, often = {{0, 20000}, {0, 20000}}, off = {0}, left;
  for (int i = 0; i < 2; i++) {
    install(signals[i]);
    handled = 0;
    setitimer(which[i], &once, NULL);
    nap();
    printf("asleep: %d\n", handled);
    getitimer(which[i], &left);
    printf("left: %d\n", left.it_value.tv_usec > 0 && left.it_value.tv_usec <= 60000);
    /* The virtual one counts no time in the kernel. */
    compute_until(1, 0.05);
    printf("handled %d, signal %d, code %d\n", handled, last == signals[i], code == SI_KERNEL);
    getitimer(which[i], &left);
    printf("left: %ld %ld\n", left.it_value.tv_sec, left.it_value.tv_usec);
    handled = 0;
    setitimer(which[i], &often, NULL);
    compute_until(3, 0.05);
    setitimer(which[i], &off, &left);
    printf("often: %d, interval %ld\n", handled >= 3, left.it_interval.tv_usec);
  }
}

static void *busy(void *seconds) {
  compute(*(double *)seconds);
  return (void *)pthread_self();
}

static pthread_t start(double *seconds) {
  pthread_t t;
  pthread_create(&t, NULL, busy, seconds);
  return t;
}

/* SIGPROF interrupts whoever computes, so that a profiler sees that one. */
static void of_others(void) {
  struct itimerval once = {{0, 0}, {0, 50000}};
  double seconds = 0.2;
  handled = 0;
  setitimer(ITIMER_PROF, &once, NULL);
  pthread_t t = start(&seconds);
  pthread_join(t, NULL);
  printf("others: %d, in them %d\n", handled, pthread_equal(where, t));
}

static void posix_timers(void) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value = {.sival_int = 7}};
  struct itimerspec soon = {.it_value = {0, 50000000}}, left;
  double seconds = 0.15;
  pthread_t t = start(&seconds);
  clockid_t own, other, process;
  timer_t timer, wrong;
  install(SIGUSR1);
  pthread_getcpuclockid(pthread_self(), &own);
  pthread_getcpuclockid(t, &other);
  clock_getcpuclockid(getpid(), &process);
  clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, own, other, process};
  for (int i = 0; i < 5; i++) {
    handled = 0;
    SHOW(timer_create, clocks[i], &event, &timer);
    timer_settime(timer, 0, &soon, NULL);
    if (clocks[i] == other) {
      pthread_join(t, NULL);
    } else if (i == 1 || i == 2) {
      nap(); /* the other thread's time is not ours */
      printf("not yet: %d\n", handled);
    }
    if (clocks[i] != other) compute(0.08);
    printf("handled %d, code %d, value %d\n", handled, code == SI_TIMER, value);
    timer_gettime(timer, &left);
    printf("left %ld\n", left.it_value.tv_nsec);
    timer_delete(timer);
    if (i == 2) seconds = 0.15, t = start(&seconds), pthread_getcpuclockid(t, &clocks[3]), other = clocks[3];
  }
  handled = 0;
  timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer);
  soon.it_value.tv_nsec = 1; /* long ago */
  timer_settime(timer, TIMER_ABSTIME, &soon, NULL);
  compute(0.05);
  printf("absolute: %d\n", handled);
  timer_delete(timer);
  SHOW(timer_create, ~(1 << 20) << 3 | 6, &event, &wrong);
  SHOW(timer_create, 1 << 30 | 3, &event, &wrong);
}

static void limits(void) {
  struct rlimit limit = {1, 2};
  install(SIGXCPU);
  handled = 0;
  SHOW(setrlimit, RLIMIT_CPU, &limit);
  compute_until(1, 3);
  printf("SIGXCPU: %d\n", last == SIGXCPU);
  getrlimit(RLIMIT_CPU, &limit);
  printf("then %d %d\n", (int)limit.rlim_cur >= 2, (int)limit.rlim_max);
  compute(5);
  printf("not reached\n");
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  of_the_process();
  of_others();
  posix_timers();
  limits();
  return 0;
}
