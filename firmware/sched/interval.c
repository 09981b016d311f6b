/* Timers with a period. */
#include "interval.h"
#include "errno.h"
#include "signal.h"
#include "thread.h"

static struct list processor_timers = LIST_INIT(processor_timers);

static bool of_processor(const struct interval_timer *t) {
  return t->clock == INTERVAL_PROCESS || t->clock == INTERVAL_THREAD;
}

/* The clock of a thread that has ended stands still. */
u64 interval_now(const struct interval_timer *t) {
  if (!of_processor(t)) return clock_mono();
  if (t->clock == INTERVAL_PROCESS) return process_cpu_time();
  const struct thread *thread = t->tid == 0 ? leader() : thread_find(t->tid);
  return thread == NULL ? 0 : thread_cpu_time(thread);
}

static void fire(struct timer *timer);

static void start(struct interval_timer *t, u64 deadline) {
  if (!of_processor(t)) {
    timer_start(&t->timer, deadline, fire);
    return;
  }
  t->timer.deadline = deadline;
  list_push(&processor_timers, &t->timer.link);
}

void processor_timers_run(void) {
  LIST_EACH(&processor_timers, item) {
    struct timer *timer = CONTAINER(item, struct timer, link);
    if (timer->deadline > interval_now(CONTAINER(timer, struct interval_timer, timer))) continue;
    list_remove(item);
    fire(timer);
  }
}

struct thread *processor_user(int signal) {
  bool masks = current->signal_mask & SIGNAL_BIT(signal);
  return masks || current->state == THREAD_DEAD ? NULL : current;
}

static void fire(struct timer *timer) {
  struct interval_timer *t = CONTAINER(timer, struct interval_timer, timer);
  u64 times = 1;
  t->armed = t->interval > 0;
  if (t->armed) {
    /* A guest that slept through several periods (or a checkpoint) counts them all and starts one timer. */
    u64 missed = (interval_now(t) - timer->deadline) / t->interval;
    times += missed;
    start(t, timer->deadline + times * t->interval);
  }
  t->expired(t, times);
}

void interval_start(struct interval_timer *t, u64 deadline, u64 interval) {
  interval_stop(t);
  t->interval = interval;
  t->armed = true;
  start(t, deadline);
}

void interval_stop(struct interval_timer *t) {
  timer_stop(&t->timer);
  t->interval = 0;
  t->armed = false;
}

u64 interval_left(const struct interval_timer *t) {
  u64 now = interval_now(t);
  return !t->armed ? 0 : t->timer.deadline > now ? t->timer.deadline - now : 1;
}

static bool timespec_ns(const struct timespec *t, u64 *ns) {
  if (t->seconds < 0 || t->ns < 0 || t->ns >= (i64)NS_PER_SEC) return false;
  *ns = MIN((u64)t->seconds, FOREVER / NS_PER_SEC / 4) * NS_PER_SEC + (u64)t->ns;
  return true;
}

static struct timespec to_timespec(u64 ns) { return (struct timespec){(i64)(ns / NS_PER_SEC), (i64)(ns % NS_PER_SEC)}; }

/* An absolute time as interval_start wants it: that of CLOCK_REALTIME becomes one of CLOCK_MONOTONIC. */
static u64 absolute_deadline(const struct interval_timer *t, u64 ns) {
  if (t->clock != INTERVAL_WALL) return ns;
  u64 wall = clock_wall(), mono = clock_mono();
  return ns > wall ? mono + (ns - wall) : mono;
}

i64 interval_set(struct interval_timer *t, const struct itimerspec *wanted, bool absolute) {
  u64 value, interval;
  if (!timespec_ns(&wanted->value, &value) || !timespec_ns(&wanted->interval, &interval)) return -EINVAL;
  interval_stop(t);
  if (value > 0) interval_start(t, absolute ? absolute_deadline(t, value) : interval_now(t) + value, interval);
  return 0;
}

struct itimerspec interval_get(const struct interval_timer *t) {
  return (struct itimerspec){to_timespec(t->interval), to_timespec(interval_left(t))};
}
