/* Timers with a period. */
#include "interval.h"
#include "errno.h"

static void fire(struct timer *timer) {
  struct interval_timer *t = CONTAINER(timer, struct interval_timer, timer);
  u64 times = 1;
  t->armed = t->interval > 0;
  if (t->armed) {
    /* A guest that slept through several periods (or a checkpoint) counts them all and starts one timer. */
    u64 missed = (clock_mono() - timer->deadline) / t->interval;
    times += missed;
    timer_start(timer, timer->deadline + times * t->interval, fire);
  }
  t->expired(t, times);
}

void interval_start(struct interval_timer *t, u64 deadline, u64 interval) {
  t->interval = interval;
  t->armed = true;
  timer_start(&t->timer, deadline, fire);
}

void interval_stop(struct interval_timer *t) {
  timer_stop(&t->timer);
  t->interval = 0;
  t->armed = false;
}

u64 interval_left(const struct interval_timer *t) {
  u64 now = clock_mono();
  return !t->armed ? 0 : t->timer.deadline > now ? t->timer.deadline - now : 1;
}

static bool timespec_ns(const struct timespec *t, u64 *ns) {
  if (t->seconds < 0 || t->ns < 0 || t->ns >= (i64)NS_PER_SEC) return false;
  *ns = MIN((u64)t->seconds, FOREVER / NS_PER_SEC / 4) * NS_PER_SEC + (u64)t->ns;
  return true;
}

static struct timespec to_timespec(u64 ns) { return (struct timespec){(i64)(ns / NS_PER_SEC), (i64)(ns % NS_PER_SEC)}; }

/* An absolute time of the timer's clock as a time of CLOCK_MONOTONIC. */
static u64 absolute_deadline(const struct interval_timer *t, u64 ns) {
  if (!t->wall) return ns;
  u64 wall = clock_wall(), mono = clock_mono();
  return ns > wall ? mono + (ns - wall) : mono;
}

i64 interval_set(struct interval_timer *t, const struct itimerspec *wanted, bool absolute) {
  u64 value, interval;
  if (!timespec_ns(&wanted->value, &value) || !timespec_ns(&wanted->interval, &interval)) return -EINVAL;
  interval_stop(t);
  if (value > 0) interval_start(t, absolute ? absolute_deadline(t, value) : clock_mono() + value, interval);
  return 0;
}

struct itimerspec interval_get(const struct interval_timer *t) {
  return (struct itimerspec){to_timespec(t->interval), to_timespec(interval_left(t))};
}
