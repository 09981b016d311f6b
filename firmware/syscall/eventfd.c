/* eventfd: a 64-bit counter that can be waited for. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "syscall.h"

enum { EFD_SEMAPHORE = 1 };
#define COUNT_MAX (~0ull - 1)

struct eventfd {
  u64 count;
  bool semaphore;
  struct wait_queue queue;
};

static ssize_t eventfd_read(struct file *f, void *buf, size_t n, off_t *pos) {
  struct eventfd *e = f->state;
  if (n < sizeof(u64)) return -EINVAL;
  while (e->count == 0) {
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int slept = sleep_on(&e->queue, FOREVER);
    if (slept < 0) return slept;
  }
  u64 taken = e->semaphore ? 1 : e->count;
  e->count -= taken;
  memcpy(buf, &taken, sizeof taken);
  wake(&e->queue, POLLOUT);
  return sizeof taken;
}

static ssize_t eventfd_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  struct eventfd *e = f->state;
  u64 added;
  if (n < sizeof added) return -EINVAL;
  memcpy(&added, buf, sizeof added);
  if (added == ~0ull) return -EINVAL;
  while (added > COUNT_MAX - e->count) {
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int slept = sleep_on(&e->queue, FOREVER);
    if (slept < 0) return slept;
  }
  e->count += added;
  if (added > 0) wake(&e->queue, POLLIN);
  return sizeof added;
}

static u32 eventfd_poll(struct file *f) {
  struct eventfd *e = f->state;
  return (e->count > 0 ? POLLIN : 0) | (e->count < COUNT_MAX ? POLLOUT : 0);
}

static struct wait_queue *eventfd_queue(struct file *f) { return &((struct eventfd *)f->state)->queue; }

static void eventfd_close(struct file *f) { kfree(f->state); }

static const struct file_ops eventfd_ops = {
    .read = eventfd_read, .write = eventfd_write, .poll = eventfd_poll, .queue = eventfd_queue, .close = eventfd_close};

static i64 create(u64 count, u32 flags) {
  if (flags & ~(u32)(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK)) return -EINVAL;
  struct eventfd *e = kzalloc(sizeof *e);
  struct file *f = e == NULL ? NULL : file_new(&eventfd_ops, e, O_RDWR | (flags & O_NONBLOCK), "eventfd");
  if (f == NULL) {
    kfree(e);
    return -ENOMEM;
  }
  e->count = (u32)count;
  e->semaphore = flags & EFD_SEMAPHORE;
  wait_queue_init(&e->queue);
  return fd_install(f, 0, flags & O_CLOEXEC);
}

i64 sys_eventfd(const u64 *a) { return create(a[0], 0); }
i64 sys_eventfd2(const u64 *a) { return create(a[0], (u32)a[1]); }
