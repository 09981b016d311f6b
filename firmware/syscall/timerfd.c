/* timerfd: a timer whose expirations are read from a file. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"

enum {
  CLOCK_REALTIME = 0,
  CLOCK_MONOTONIC = 1,
  CLOCK_BOOTTIME = 7,
  CLOCK_REALTIME_ALARM = 8,
  CLOCK_BOOTTIME_ALARM = 9
};
enum { TFD_TIMER_ABSTIME = 1, TFD_TIMER_CANCEL_ON_SET = 2 };

struct timespec {
  i64 seconds, ns;
};
struct itimerspec {
  struct timespec interval, value;
};

struct timerfd {
  struct timer timer;
  bool wall; /* absolute times are of CLOCK_REALTIME */
  bool armed;
  u64 interval; /* ns, 0 = once */
  u64 expirations;
  struct wait_queue queue;
};

static void expire(struct timer *timer) {
  struct timerfd *t = CONTAINER(timer, struct timerfd, timer);
  t->expirations++;
  t->armed = t->interval > 0;
  if (t->armed) {
    /* A guest that slept through several periods (or a checkpoint) counts them all and starts one timer. */
    u64 missed = (clock_mono() - timer->deadline) / t->interval;
    t->expirations += missed;
    timer_start(timer, timer->deadline + (missed + 1) * t->interval, expire);
  }
  wake(&t->queue, POLLIN);
}

static ssize_t timerfd_read(struct file *f, void *buf, size_t n, off_t *pos) {
  struct timerfd *t = f->state;
  if (n < sizeof t->expirations) return -EINVAL;
  while (t->expirations == 0) {
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int slept = sleep_on(&t->queue, FOREVER);
    if (slept < 0) return slept;
  }
  memcpy(buf, &t->expirations, sizeof t->expirations);
  t->expirations = 0;
  return sizeof t->expirations;
}

static u32 timerfd_poll(struct file *f) { return ((struct timerfd *)f->state)->expirations > 0 ? POLLIN : 0; }
static struct wait_queue *timerfd_queue(struct file *f) { return &((struct timerfd *)f->state)->queue; }

static void timerfd_close(struct file *f) {
  struct timerfd *t = f->state;
  timer_stop(&t->timer);
  kfree(t);
}

static const struct file_ops timerfd_ops = {
    .read = timerfd_read, .poll = timerfd_poll, .queue = timerfd_queue, .close = timerfd_close};

i64 sys_timerfd_create(const u64 *a) {
  u32 clock = (u32)a[0], flags = (u32)a[1];
  bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
  if (!wall && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_BOOTTIME_ALARM) return -EINVAL;
  if (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK)) return -EINVAL;
  struct timerfd *t = kzalloc(sizeof *t);
  struct file *f = t == NULL ? NULL : file_new(&timerfd_ops, t, O_RDWR | (flags & O_NONBLOCK), "timerfd");
  if (f == NULL) {
    kfree(t);
    return -ENOMEM;
  }
  t->wall = wall;
  list_init(&t->timer.link);
  wait_queue_init(&t->queue);
  return fd_install(f, 0, flags & O_CLOEXEC);
}

static bool timespec_ns(const struct timespec *t, u64 *ns) {
  if (t->seconds < 0 || t->ns < 0 || t->ns >= (i64)NS_PER_SEC) return false;
  *ns = MIN((u64)t->seconds, FOREVER / NS_PER_SEC / 4) * NS_PER_SEC + (u64)t->ns;
  return true;
}

static struct timespec to_timespec(u64 ns) { return (struct timespec){(i64)(ns / NS_PER_SEC), (i64)(ns % NS_PER_SEC)}; }

static struct itimerspec setting(const struct timerfd *t) {
  u64 now = clock_mono();
  u64 left = !t->armed ? 0 : t->timer.deadline > now ? t->timer.deadline - now : 1;
  return (struct itimerspec){to_timespec(t->interval), to_timespec(left)};
}

/* An absolute time of the timer's clock as a time of CLOCK_MONOTONIC. */
static u64 absolute(const struct timerfd *t, u64 ns) {
  if (!t->wall) return ns;
  u64 wall = clock_wall(), mono = clock_mono();
  return ns > wall ? mono + (ns - wall) : mono;
}

static i64 timerfd_of(u64 fd, struct timerfd **t) {
  struct file *f = fd_get((int)fd);
  if (f == NULL) return -EBADF;
  if (f->ops != &timerfd_ops) return -EINVAL;
  *t = f->state;
  return 0;
}

i64 sys_timerfd_settime(const u64 *a) {
  struct timerfd *t;
  u64 value, interval;
  i64 error = timerfd_of(a[0], &t);
  if (error != 0) return error;
  if (!user_readable(a[2], sizeof(struct itimerspec))) return -EFAULT;
  struct itimerspec wanted = *(const struct itimerspec *)a[2];
  if (a[1] & ~(u64)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) return -EINVAL;
  if (!timespec_ns(&wanted.value, &value) || !timespec_ns(&wanted.interval, &interval)) return -EINVAL;
  if (a[3] != 0) {
    if (!user_writable(a[3], sizeof(struct itimerspec))) return -EFAULT;
    *(struct itimerspec *)a[3] = setting(t);
  }
  timer_stop(&t->timer);
  t->expirations = 0;
  t->interval = interval;
  t->armed = value > 0;
  if (t->armed) timer_start(&t->timer, a[1] & TFD_TIMER_ABSTIME ? absolute(t, value) : clock_mono() + value, expire);
  return 0;
}

i64 sys_timerfd_gettime(const u64 *a) {
  struct timerfd *t;
  i64 error = timerfd_of(a[0], &t);
  if (error != 0) return error;
  if (!user_writable(a[1], sizeof(struct itimerspec))) return -EFAULT;
  *(struct itimerspec *)a[1] = setting(t);
  return 0;
}
