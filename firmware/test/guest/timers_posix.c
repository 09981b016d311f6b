/* alarm, setitimer, timer_create: they fire, they tell what is left, they refuse nonsense. */
#include "call.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#define BIT(n) (1ull << ((n)-1))
static volatile int handled, last_code, last_value, last_overrun, in_thread;
static pthread_t expected;

static void handler(int signal, siginfo_t *info, void *context) {
  handled++;
  last_code = info->si_code;
  last_value = info->si_value.sival_int;
  last_overrun = info->si_overrun;
  in_thread = pthread_equal(pthread_self(), expected);
}

static void wait_for(int count) {
  uint64_t none = 0;
  while (handled < count) CALL(rt_sigsuspend, &none, 8);
}

static void install(int signal) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  uint64_t set = BIT(signal);
  sigaction(signal, &action, NULL);
  CALL(rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
}

static void alarms(void) {
  struct itimerval soon = {{0, 0}, {0, 2000}}, often = {{0, 1000}, {0, 1000}}, off = {0}, old,
                   odd = {{0, 0}, {0, 1000000}};
  install(SIGALRM);
  SHOW(alarm, 0);
  SHOW(alarm, 100);
  SHOW(alarm, 50);
  SHOW(getitimer, ITIMER_REAL, &old);
  printf("left %d interval %ld\n", old.it_value.tv_sec >= 49 || old.it_value.tv_usec > 0, old.it_interval.tv_sec);
  SHOW(alarm, 0);
  SHOW(setitimer, ITIMER_REAL, &soon, 0);
  wait_for(1);
  printf("SIGALRM code %d\n", last_code);
  handled = 0;
  SHOW(setitimer, ITIMER_REAL, &often, 0);
  wait_for(5);
  SHOW(setitimer, ITIMER_REAL, &off, &old);
  printf("interval %ld\n", old.it_interval.tv_usec);
  SHOW(setitimer, 3, &off, 0);
  SHOW(setitimer, -1, &off, 0);
  SHOW(setitimer, ITIMER_REAL, &odd, 0);
  SHOW(setitimer, ITIMER_REAL, 8, 0);
  SHOW(setitimer, ITIMER_REAL, &off, 8);
  SHOW(setitimer, ITIMER_REAL, 0, &old);
  SHOW(getitimer, 3, &old);
  SHOW(getitimer, 0, 8);
  /* A program that only computes uses CPU time. */
  int which[] = {ITIMER_VIRTUAL, ITIMER_PROF}, signals[] = {SIGVTALRM, SIGPROF};
  for (int i = 0; i < 2; i++) {
    install(signals[i]);
    uint64_t set = BIT(signals[i]);
    handled = 0;
    CALL(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
    SHOW(setitimer, which[i], &soon, 0);
    while (handled == 0) {}
    printf("signal of timer %d code %d\n", which[i], last_code);
  }
}

static void timer_signals(void) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value = {77}};
  struct itimerspec soon = {{0, 0}, {0, 2000000}}, often = {{0, 1000000}, {0, 1000000}}, off = {0}, now;
  timer_t timer;
  install(SIGRTMIN);
  handled = 0;
  printf("create %d\n", timer_create(CLOCK_MONOTONIC, &event, &timer));
  timer_settime(timer, 0, &soon, NULL);
  wait_for(1);
  printf("code %d value %d overrun %d\n", last_code, last_value, last_overrun);
  timer_gettime(timer, &now);
  printf("left %ld %ld\n", now.it_value.tv_sec, now.it_value.tv_nsec);
  handled = 0;
  timer_settime(timer, 0, &often, NULL);
  wait_for(3);
  timer_settime(timer, 0, &off, &now);
  printf("interval %ld\n", now.it_interval.tv_nsec);
  /* Expirations while the signal waits are counted. */
  handled = 0;
  timer_settime(timer, 0, &often, NULL);
  usleep(20000);
  wait_for(1);
  printf("overrun %d getoverrun %d\n", last_overrun >= 10, timer_getoverrun(timer) == last_overrun);
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  timer_settime(timer, 0, &off, NULL);
  uint64_t set = BIT(SIGRTMIN);
  struct timespec none = {0};
  CALL(rt_sigtimedwait, &set, 0, &none, 8);
  struct itimerspec at = {{0, 0}, until};
  handled = 0;
  timer_settime(timer, TIMER_ABSTIME, &at, NULL);
  wait_for(1);
  printf("a time that is over: %d\n", handled);
  printf("delete %d\n", timer_delete(timer));
}

static volatile int notified;
static void notify(union sigval value) { notified = value.sival_int; }

static void *threads_timer(void *unused) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN, .sigev_value = {5}};
  struct itimerspec soon = {{0, 0}, {0, 2000000}};
  timer_t timer;
  event._sigev_un._tid = gettid();
  expected = pthread_self();
  handled = 0;
  timer_create(CLOCK_REALTIME, &event, &timer);
  timer_settime(timer, 0, &soon, NULL);
  wait_for(1);
  printf("to its thread %d\n", in_thread);
  timer_delete(timer);
  return NULL;
}

static void other_kinds(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, threads_timer, NULL);
  pthread_join(thread, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value = {6}};
  struct itimerspec soon = {{0, 0}, {0, 2000000}}, now;
  timer_t timer;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  timer_settime(timer, 0, &soon, NULL);
  while (!notified) usleep(1000);
  printf("SIGEV_THREAD %d\n", notified);
  timer_delete(timer);
  event = (struct sigevent){.sigev_notify = SIGEV_NONE};
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  soon.it_value.tv_sec = 100;
  timer_settime(timer, 0, &soon, NULL);
  timer_gettime(timer, &now);
  printf("SIGEV_NONE %d\n", now.it_value.tv_sec >= 99);
  timer_delete(timer);
}

static void errors(void) {
  struct sigevent bad_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
  struct sigevent bad_notify = {.sigev_notify = 9, .sigev_signo = 10};
  struct sigevent bad_thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = 10};
  struct itimerspec odd = {{0, 0}, {0, 1000000000}}, negative = {{0, 0}, {-1, 0}}, off = {0};
  int id;
  bad_thread._sigev_un._tid = 0x7ffffff0;
  SHOW(timer_create, 12345, 0, &id);
  SHOW(timer_create, CLOCK_MONOTONIC, 8, &id);
  SHOW(timer_create, CLOCK_MONOTONIC, 0, 8);
  SHOW(timer_create, CLOCK_MONOTONIC, &bad_signal, &id);
  SHOW(timer_create, CLOCK_MONOTONIC, &bad_notify, &id);
  SHOW(timer_create, CLOCK_MONOTONIC, &bad_thread, &id);
  SHOW(timer_create, CLOCK_MONOTONIC, 0, &id);
  SHOW(timer_settime, id, 0, &odd, 0);
  SHOW(timer_settime, id, 0, &negative, 0);
  SHOW(timer_settime, id, 0, 0, 0);
  SHOW(timer_settime, id, 0, 8, 0);
  SHOW(timer_settime, id, 0, &off, 8);
  SHOW(timer_gettime, id, 8);
  SHOW(timer_getoverrun, id);
  SHOW(timer_delete, id);
  SHOW(timer_delete, id);
  SHOW(timer_settime, id, 0, &off, 0);
  SHOW(timer_gettime, id, 8);
  SHOW(timer_getoverrun, id);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  alarms();
  timer_signals();
  other_kinds();
  errors();
  return 0;
}
