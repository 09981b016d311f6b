/* sched/interval.c: timers with a period, and struct itimerspec. Used by timerfd, setitimer and timer_create. */
#pragma once
#include "sched.h"

struct timespec {
  i64 seconds, ns;
};
struct itimerspec {
  struct timespec interval, value;
};

enum interval_clock {
  INTERVAL_MONO,
  INTERVAL_WALL, /* runs as CLOCK_MONOTONIC does; absolute times are of CLOCK_REALTIME */
  INTERVAL_PROCESS, /* processor time */
  INTERVAL_THREAD,  /* that of thread `tid` */
};

struct interval_timer {
  struct timer timer;
  u64 interval; /* ns, 0 = once */
  bool armed;
  enum interval_clock clock;
  int tid; /* 0: the leader */
  void (*expired)(struct interval_timer *, u64 times);
};

/* syscall/time.c: what timer_create knows a clock as; false: no clock of timers. */
struct timer_clock {
  enum interval_clock kind;
  int tid;
};
bool timer_clock_of(u32 clock, struct timer_clock *out);

void interval_start(struct interval_timer *t, u64 deadline, u64 interval); /* ns of its clock */
u64 interval_now(const struct interval_timer *t);
/* Those of processor time, which only a look at the processor's use makes expire: at each tick, and before the machine idles. */
void processor_timers_run(void);
/* For a signal about the use of the processor: the running thread, unless it masks that. */
struct thread *processor_user(int signal);
void interval_stop(struct interval_timer *t);
/* ns to the next expiration, 0 = not armed. */
u64 interval_left(const struct interval_timer *t);
/* As timer_settime and timerfd_settime say it. -EINVAL for times that are none; a value of 0 disarms. */
i64 interval_set(struct interval_timer *t, const struct itimerspec *wanted, bool absolute);
struct itimerspec interval_get(const struct interval_timer *t);
