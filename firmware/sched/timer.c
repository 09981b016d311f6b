/* Timers, sorted by deadline. */
#include "sched.h"

static struct list timers = LIST_INIT(timers);

static struct timer *timer_of(struct list *item) { return CONTAINER(item, struct timer, link); }

void timer_stop(struct timer *t) {
  if (list_linked(&t->link)) list_remove(&t->link);
}

void timer_start(struct timer *t, u64 deadline, void (*fn)(struct timer *)) {
  timer_stop(t);
  t->deadline = deadline;
  t->fn = fn;
  struct list *after = timers.prev; /* most timers go to the end */
  while (after != &timers && timer_of(after)->deadline > deadline) after = after->prev;
  list_insert(after, &t->link);
}

u64 timer_next(void) { return list_empty(&timers) ? FOREVER : timer_of(timers.next)->deadline; }

void timers_run(void) {
  while (!list_empty(&timers) && timer_of(timers.next)->deadline <= clock_mono()) {
    struct timer *t = timer_of(timers.next);
    list_remove(&t->link);
    t->fn(t);
  }
}
