/* Realtime signals queue with their values, others do not; waiting for signals; signals to threads and to the process. */
#include "call.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define BIT(n) (1ull << ((n)-1))
static void told(int signal, siginfo_t *info, void *context) {
  printf("handler: signal %d code %d value %d\n", signal, info->si_code, info->si_value.sival_int);
}

static void queue_and_deliver(void) {
  uint64_t set = BIT(SIGRTMIN) | BIT(SIGRTMIN + 1) | BIT(SIGUSR1), pending = 0;
  struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigaction(SIGRTMIN, &action, NULL);
  sigaction(SIGRTMIN + 1, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  CALL(rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
  for (int i = 0; i < 3; i++) {
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){10 + i});
    sigqueue(getpid(), SIGRTMIN, (union sigval){20 + i});
    sigqueue(getpid(), SIGUSR1, (union sigval){30 + i});
  }
  pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){99});
  CALL(rt_sigpending, &pending, 8);
  printf("pending %lx\n", pending);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
}

static void wait_for_signals(void) {
  uint64_t set = BIT(SIGRTMIN) | BIT(SIGUSR1);
  struct timespec none = {0, 0}, soon = {0, 2000000}, wrong = {0, 1000000000};
  siginfo_t info;
  CALL(rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
  SHOW(rt_sigtimedwait, &set, &info, &none, 8);
  SHOW(rt_sigtimedwait, &set, &info, &soon, 8);
  SHOW(rt_sigtimedwait, &set, &info, &wrong, 8);
  SHOW(rt_sigtimedwait, 8, &info, &none, 8);
  SHOW(rt_sigtimedwait, &set, &info, &none, 4);
  SHOW(rt_sigtimedwait, &set, &info, 8, 8);
  sigqueue(getpid(), SIGRTMIN, (union sigval){5});
  raise(SIGUSR1);
  memset(&info, 0xff, sizeof info);
  SHOW(rt_sigtimedwait, &set, &info, &none, 8);
  printf("signo %d code %d\n", info.si_signo, info.si_code);
  SHOW(rt_sigtimedwait, &set, &info, &none, 8);
  printf("signo %d code %d value %d\n", info.si_signo, info.si_code, info.si_value.sival_int);
  raise(SIGUSR1);
  SHOW(rt_sigtimedwait, &set, 8, &none, 8);
  SHOW(rt_sigtimedwait, &set, 0, &none, 8);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
}

static void queue_errors(void) {
  siginfo_t info = {.si_signo = 1, .si_code = SI_QUEUE};
  SHOW(rt_sigqueueinfo, getpid(), SIGRTMIN, 8);
  SHOW(rt_sigqueueinfo, getpid(), 65, &info);
  SHOW(rt_sigqueueinfo, getpid(), 0, &info);
  SHOW(rt_sigqueueinfo, 0x7ffffff0, SIGRTMIN, &info);
  SHOW(rt_tgsigqueueinfo, getpid(), gettid(), 0, &info);
  SHOW(rt_tgsigqueueinfo, getpid(), 0, SIGRTMIN, &info);
  SHOW(rt_tgsigqueueinfo, 0, gettid(), SIGRTMIN, &info);
  SHOW(rt_tgsigqueueinfo, getpid(), 0x7ffffff0, SIGRTMIN, &info);
  SHOW(rt_tgsigqueueinfo, getpid(), gettid(), SIGRTMIN, 8);
  info.si_code = 5;
  SHOW(rt_sigqueueinfo, 1, 0, &info);
}

/* The process's signal goes to the one thread that takes it. */
static atomic_int ready;
static pthread_t taker;
static volatile int took;
static void in_taker(int signal) { took = pthread_equal(pthread_self(), taker); }

static void *take(void *unused) {
  uint64_t set = BIT(SIGUSR2);
  taker = pthread_self();
  CALL(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
  ready = 1;
  pause();
  printf("the thread that has it unmasked took it: %d\n", took);
  CALL(rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
  ready = 2;
  siginfo_t info;
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGUSR2);
  printf("sigwaitinfo %d\n", sigwaitinfo(&wanted, &info));
  ready = 3;
  return NULL;
}

static void to_the_process(void) {
  uint64_t set = BIT(SIGUSR2), pending;
  pthread_t thread;
  struct sigaction action = {.sa_handler = in_taker};
  sigaction(SIGUSR2, &action, NULL);
  CALL(rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
  pthread_create(&thread, NULL, take, NULL);
  while (ready < 1) usleep(1000);
  usleep(5000);
  kill(getpid(), SIGUSR2);
  while (ready < 2) usleep(1000);
  usleep(5000);
  kill(getpid(), SIGUSR2);
  pthread_join(thread, NULL);
  /* A thread's own signals end with it; the process's stay. */
  CALL(rt_sigpending, &pending, 8);
  printf("pending %lx\n", pending);
}

/* Whoever masks a signal of the process that waits for it leaves it to the others. */
static void *late(void *unused) {
  uint64_t set = BIT(SIGUSR2);
  ready = 5;
  while (ready == 5) usleep(1000);
  took = 0;
  taker = pthread_self();
  CALL(rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
  printf("the late thread took it: %d\n", took);
  return NULL;
}

static void pending_is_handed_on(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, late, NULL);
  while (ready != 5) usleep(1000);
  kill(getpid(), SIGUSR2);
  ready = 6;
  pthread_join(thread, NULL);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  queue_and_deliver();
  wait_for_signals();
  queue_errors();
  to_the_process();
  pending_is_handed_on();
  return 0;
}
