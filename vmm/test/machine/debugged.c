/* For debuggers: calls, variables, threads, system calls. The tests find lines by their comments. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct point {
  int x, y;
};
static int counter;
static volatile int hanging = 1; /* until a debugger says otherwise */
static double ratio = 0.25;
static char text[] = "mayfly";
static const char constant[4096] = "constant"; /* in a page that cannot be written */
static volatile int handled;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t there;

static int leaf(struct point *p, int depth) {
  counter += p->x; /* line: leaf */
  return depth;
}

static int nested(struct point *p, int depth) {
  if (depth == 3) return leaf(p, depth);
  return nested(p, depth + 1) + 1;
}

static void *waiter(void *name) {
  pthread_setname_np(pthread_self(), name);
  pthread_barrier_wait(&there);
  pthread_mutex_lock(&held); /* line: waiter */
  pthread_mutex_unlock(&held);
  return NULL;
}

static void handler(int signal) { handled += signal; }

static void signals(void) {
  signal(SIGUSR1, handler);
  signal(SIGUSR2, handler);
  signal(SIGTRAP, handler);
  raise(SIGUSR1);
  raise(SIGUSR1);
  raise(SIGUSR2);
  __asm__ volatile("int3");
  printf("handled %d, %s\n", handled, (const char *)(volatile char *)constant);
}

int main(int argc, char **argv) {
  struct point p = {argc, 40};
  if (argc > 2 && strcmp(argv[1], "exec") == 0) execl(argv[2], "after", NULL);
  pthread_t threads[2];
  pthread_mutex_lock(&held);
  pthread_barrier_init(&there, NULL, 3);
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, waiter, i == 0 ? "first" : "second");
  pthread_barrier_wait(&there);
  usleep(10000); /* both wait for the mutex by then */
  int sum = nested(&p, 0);
  if (argc > 1 && strcmp(argv[1], "crash") == 0) *(volatile int *)16 = sum; /* line: crash */
  if (argc > 1 && strcmp(argv[1], "abort") == 0) abort();
  if (argc > 1 && strcmp(argv[1], "hang") == 0)
    while (hanging) {} /* line: hang */
  if (argc > 1 && strcmp(argv[1], "sleep") == 0) while (hanging) sleep(1);
  if (argc > 1 && strcmp(argv[1], "signals") == 0) signals();
  pthread_mutex_unlock(&held);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  printf("%d %d %.2f %s\n", sum, counter, ratio, text);
  return sum;
}
