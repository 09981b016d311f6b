/* Wait queues. */
#include "errno.h"
#include "sched.h"

void wait_add(struct wait_queue *q, struct wait_entry *e, void (*fn)(struct wait_entry *, u32), void *owner) {
  e->wake = fn;
  e->owner = owner;
  list_push(&q->entries, &e->link);
}

void wait_remove(struct wait_entry *e) {
  if (list_linked(&e->link)) list_remove(&e->link);
}

void wake_thread(struct wait_entry *e, u32 events) {
  (void)events;
  thread_wake(e->owner);
}

int wake_some(struct wait_queue *q, u32 events, int max) {
  int sleepers = 0, called = 0;
  LIST_EACH(&q->entries, item) {
    struct wait_entry *e = CONTAINER(item, struct wait_entry, link);
    bool sleeper = e->wake == wake_thread;
    if (sleeper && max > 0 && sleepers == max) continue;
    sleepers += sleeper;
    called++;
    e->wake(e, events);
  }
  return called;
}

int wake(struct wait_queue *q, u32 events) { return wake_some(q, events, 0); }

int sleep_on(struct wait_queue *q, u64 deadline) {
  struct wait_entry e;
  wait_add(q, &e, wake_thread, current);
  int result = sleep_until(deadline);
  wait_remove(&e);
  return result == -EINTR && deadline == FOREVER ? -ERESTARTSYS : result;
}
