/* Robust mutexes: a thread that ends with one leaves it to the next, who is told. */
#include "call.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static pthread_mutex_t mutex;
static atomic_int held;

static void *die_with_it(void *wait) {
  pthread_mutex_lock(&mutex);
  held = 1;
  if (wait != NULL) usleep(10000);
  return NULL;
}

static void *wait_for_it(void *unused) {
  int result = pthread_mutex_lock(&mutex);
  printf("waiter: %s\n", result == 0 ? "0" : strerrorname_np(result));
  if (result == EOWNERDEAD) pthread_mutex_consistent(&mutex);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static void with_mutexes(void) {
  pthread_mutexattr_t attributes;
  pthread_t owner, waiter;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex, &attributes);
  pthread_create(&owner, NULL, die_with_it, NULL);
  pthread_join(owner, NULL);
  wait_for_it(NULL);
  held = 0;
  pthread_create(&owner, NULL, die_with_it, (void *)1);
  while (!held) usleep(100);
  pthread_create(&waiter, NULL, wait_for_it, NULL); /* sleeps when the owner ends */
  pthread_join(owner, NULL);
  pthread_join(waiter, NULL);
  printf("then %d\n", pthread_mutex_trylock(&mutex));
}

/* The list by hand: words that are not ours, a pending one, lists without an end and with bad pointers. */
struct entry {
  struct robust_list link;
  uint32_t word;
};
static struct robust_list_head head;
static struct entry entries[3];
static int kind;

static void *end_with_list(void *unused) {
  uint32_t tid = (uint32_t)gettid();
  head.futex_offset = offsetof(struct entry, word);
  head.list_op_pending = NULL;
  head.list.next = &entries[0].link;
  for (int i = 0; i < 3; i++) {
    entries[i].link.next = i < 2 ? &entries[i + 1].link : &head.list;
    entries[i].word = tid;
  }
  entries[1].word = tid + 1;
  switch (kind) {
    case 1: entries[2].link.next = &entries[0].link; break;
    case 2: entries[0].link.next = (void *)8; break;
    case 3: head.list.next = (void *)0x4141414141414141; break;
    case 4: head.futex_offset = 0x4141414141414141; break;
    case 5:
      head.list.next = &head.list;
      head.list_op_pending = &entries[2].link;
      entries[2].word = tid | FUTEX_WAITERS;
      break;
    case 6: head.futex_offset++; break;
  }
  CALL(set_robust_list, kind == 7 ? (void *)8 : &head, sizeof head);
  CALL(exit, 0);
  return NULL;
}

static void by_hand(void) {
  for (kind = 0; kind < 8; kind++) {
    pthread_t thread;
    pthread_create(&thread, NULL, end_with_list, NULL);
    pthread_join(thread, NULL);
    printf("list %d:", kind);
    for (int i = 0; i < 3; i++)
      printf(" %s%s", entries[i].word & FUTEX_OWNER_DIED ? "died" : "kept", entries[i].word & FUTEX_WAITERS ? "+" : "");
    printf("\n");
  }
}

int main(void) {
  void *list;
  size_t size;
  setvbuf(stdout, NULL, _IONBF, 0);
  SHOW(set_robust_list, &head, 23);
  SHOW(set_robust_list, &head, sizeof head);
  SHOW(get_robust_list, 0, &list, &size);
  printf("ours %d size %zu\n", list == &head, size);
  SHOW(get_robust_list, 0x7ffffff0, &list, &size);
  SHOW(get_robust_list, 0, 8, &size);
  SHOW(get_robust_list, 0, &list, 8);
  CALL(set_robust_list, 0, sizeof head);
  with_mutexes();
  by_hand();
  return 0;
}
