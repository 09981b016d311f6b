/* What the C library builds upon signals: cancelled threads with their clean-up, setuid in all threads, unwinding
 * from a handler through the frame that the kernel made. */
#include "call.h"
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unwind.h>

static int ends[2];
static atomic_int spinning;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void clean_up(void *what) { printf("clean up %s\n", (const char *)what); }
static void unlock(void *what) {
  clean_up(what);
  pthread_mutex_unlock(&mutex);
}

static void *blocked(void *unused) {
  char byte;
  pthread_cleanup_push(clean_up, "blocked");
  read(ends[0], &byte, 1);
  pthread_cleanup_pop(0);
  return NULL;
}

static void *waiting(void *unused) {
  static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(unlock, "waiting");
  for (;;) pthread_cond_wait(&never, &mutex);
  pthread_cleanup_pop(0);
  return NULL;
}

static void *asynchronous(void *unused) {
  int old;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
  pthread_cleanup_push(clean_up, "asynchronous");
  for (;;) spinning = 1;
  pthread_cleanup_pop(0);
  return NULL;
}

static void *deferred(void *unused) {
  int old;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
  spinning = 2;
  while (spinning == 2) {}
  printf("not yet\n");
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
  pthread_testcancel();
  printf("not reached\n");
  return NULL;
}

static void cancel(const char *name, void *(*function)(void *), int until) {
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, function, NULL);
  do usleep(2000);
  while (spinning != until);
  pthread_cancel(thread);
  if (until == 2) spinning = 3;
  pthread_join(thread, &result);
  printf("%s cancelled %d\n", name, result == PTHREAD_CANCELED);
  spinning = 0;
}

static void *raiser_frame;
static volatile int frames, found;

static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *unused) {
  frames++;
  if (_Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context)) == raiser_frame) found = 1;
  return _URC_NO_REASON;
}

static void unwind(int signal) { _Unwind_Backtrace(look, NULL); }

static __attribute__((noinline)) void raiser(void) {
  volatile int here = 1;
  __asm__ volatile("ud2" : : "r"(here));
}

static void skip(int signal, siginfo_t *info, void *context) {
  unwind(signal);
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  pipe(ends);
  cancel("blocked", blocked, 0);
  cancel("waiting", waiting, 0);
  cancel("asynchronous", asynchronous, 1);
  cancel("deferred", deferred, 2);
  struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
  sigaction(SIGILL, &action, NULL);
  raiser_frame = raiser;
  raiser();
  printf("unwound to the fault %d\n", found);
  pthread_t thread;
  pthread_create(&thread, NULL, waiting, NULL);
  usleep(2000);
  printf("setuid %d\n", setuid(getuid()));
  pthread_cancel(thread);
  pthread_join(thread, NULL);
  return 0;
}
