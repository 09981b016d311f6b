/* timerfd: a timer whose expirations are read from a file. */
#include "errno.h"
#include "event.h"
#include "interval.h"
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

struct timerfd {
  struct interval_timer timer;
  u64 expirations;
  struct wait_queue queue;
};

static void expired(struct interval_timer *timer, u64 times) {
  struct timerfd *t = CONTAINER(timer, struct timerfd, timer);
  t->expirations += times;
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
  interval_stop(&t->timer);
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
  t->timer.clock = wall ? INTERVAL_WALL : INTERVAL_MONO;
  t->timer.expired = expired;
  wait_queue_init(&t->queue);
  return fd_install(f, 0, flags & O_CLOEXEC);
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
  i64 error = timerfd_of(a[0], &t);
  if (error != 0) return error;
  if (!user_readable(a[2], sizeof(struct itimerspec))) return -EFAULT;
  struct itimerspec wanted = *(const struct itimerspec *)a[2], old = interval_get(&t->timer);
  if (a[1] & ~(u64)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) return -EINVAL;
  if (a[3] != 0 && !user_writable(a[3], sizeof old)) return -EFAULT;
  error = interval_set(&t->timer, &wanted, a[1] & TFD_TIMER_ABSTIME);
  if (error != 0) return error;
  t->expirations = 0;
  if (a[3] != 0) *(struct itimerspec *)a[3] = old;
  return 0;
}

i64 sys_timerfd_gettime(const u64 *a) {
  struct timerfd *t;
  i64 error = timerfd_of(a[0], &t);
  if (error != 0) return error;
  if (!user_writable(a[1], sizeof(struct itimerspec))) return -EFAULT;
  *(struct itimerspec *)a[1] = interval_get(&t->timer);
  return 0;
}
