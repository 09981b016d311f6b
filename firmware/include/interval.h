/* sched/interval.c: timers with a period, and struct itimerspec. Used by timerfd, setitimer and timer_create. */
#pragma once
#include "sched.h"

struct timespec {
  i64 seconds, ns;
};
struct itimerspec {
  struct timespec interval, value;
};

struct interval_timer {
  struct timer timer;
  u64 interval; /* ns, 0 = once */
  bool armed;
  bool wall; /* absolute times are of CLOCK_REALTIME */
  void (*expired)(struct interval_timer *, u64 times);
};

void interval_start(struct interval_timer *t, u64 deadline, u64 interval); /* CLOCK_MONOTONIC ns */
void interval_stop(struct interval_timer *t);
/* ns to the next expiration, 0 = not armed. */
u64 interval_left(const struct interval_timer *t);
/* As timer_settime and timerfd_settime say it. -EINVAL for times that are none; a value of 0 disarms. */
i64 interval_set(struct interval_timer *t, const struct itimerspec *wanted, bool absolute);
struct itimerspec interval_get(const struct interval_timer *t);
