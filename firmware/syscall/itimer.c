/* alarm(2), setitimer(2): three timers of the process. All processor time is the program's, so that two of them count the same. */
#include "errno.h"
#include "interval.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"

struct itimerval { /* seconds and microseconds */
  i64 interval[2], value[2];
};

static void expired(struct interval_timer *t, u64 times);
static struct interval_timer timers[3] = {{.expired = expired},
                                          {.expired = expired, .clock = INTERVAL_PROCESS},
                                          {.expired = expired, .clock = INTERVAL_PROCESS}};

static void expired(struct interval_timer *t, u64 times) {
  static const int signals[3] = {SIGALRM, SIGVTALRM, SIGPROF};
  int signal = signals[t - timers];
  struct thread *receiver = t->clock == INTERVAL_PROCESS ? processor_user(signal) : NULL;
  signal_queue(receiver, &(struct siginfo){.signo = signal, .code = SI_KERNEL});
}

i64 sys_alarm(const u64 *a) {
  u64 left = interval_left(&timers[0]), seconds = (u32)a[0];
  interval_stop(&timers[0]);
  if (seconds > 0) interval_start(&timers[0], clock_mono() + seconds * NS_PER_SEC, 0);
  u64 rounded = (left + NS_PER_SEC / 2) / NS_PER_SEC;
  return (i64)(left > 0 && rounded == 0 ? 1 : rounded);
}

static struct itimerval value_of(const struct interval_timer *t) {
  struct itimerspec now = interval_get(t);
  return (struct itimerval){{now.interval.seconds, now.interval.ns / 1000}, {now.value.seconds, now.value.ns / 1000}};
}

i64 sys_getitimer(const u64 *a) {
  if ((u32)a[0] > 2) return -EINVAL;
  if (!user_writable(a[1], sizeof(struct itimerval))) return -EFAULT;
  *(struct itimerval *)a[1] = value_of(&timers[(u32)a[0]]);
  return 0;
}

static i64 to_spec(const i64 *time, struct timespec *spec) {
  if (time[1] < 0 || time[1] >= 1000000) return -EINVAL;
  *spec = (struct timespec){time[0], time[1] * 1000};
  return 0;
}

i64 sys_setitimer(const u64 *a) {
  struct itimerspec wanted = {0};
  if (a[1] != 0) {
    if (!user_readable(a[1], sizeof(struct itimerval))) return -EFAULT;
    struct itimerval given = *(const struct itimerval *)a[1];
    i64 error = to_spec(given.interval, &wanted.interval);
    if (error == 0) error = to_spec(given.value, &wanted.value);
    if (error != 0) return error;
  }
  if ((u32)a[0] > 2) return -EINVAL;
  struct itimerval old = value_of(&timers[(u32)a[0]]);
  i64 error = interval_set(&timers[(u32)a[0]], &wanted, false);
  if (error != 0 || a[2] == 0) return error;
  if (!user_writable(a[2], sizeof old)) return -EFAULT;
  *(struct itimerval *)a[2] = old;
  return 0;
}
