/* Threads: they take turns by condition variable, get results back, and none starves while another spins. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 6
#define ROUNDS 50

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turn, sum;
static _Thread_local double mine;

static void *take_turns(void *argument) {
  long id = (long)argument;
  mine = (double)id;
  for (int i = 0; i < ROUNDS; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != id) pthread_cond_wait(&changed, &mutex);
    sum = (sum * 31 + id) % 1000003;
    mine *= 1.01;
    turn = (turn + 1) % THREADS;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
  }
  return (void *)(long)(mine * 1000);
}

static atomic_int released;

static void *spin(void *argument) {
  (void)argument;
  double x = 1;
  while (!atomic_load(&released)) x = x * 1.000001 + 0.5; /* vector registers must survive pre-emption */
  return x > 0 ? (void *)1 : NULL;
}

static void *release(void *argument) {
  (void)argument;
  atomic_store(&released, 1);
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, take_turns, (void *)i);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    printf("thread %d: %ld\n", i, (long)result);
  }
  printf("sum %ld\n", sum);
  pthread_t spinner, releaser;
  pthread_create(&spinner, NULL, spin, NULL);
  pthread_create(&releaser, NULL, release, NULL);
  void *result;
  pthread_join(spinner, &result);
  pthread_join(releaser, NULL);
  printf("spun %ld\n", (long)result);
  return 0;
}
