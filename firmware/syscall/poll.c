/* poll and select: look at every file, and if nothing is true, wait on all their queues at once. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"

struct pollfd {
  i32 fd;
  u16 events, revents;
};
_Static_assert(sizeof(struct pollfd) == 8, "struct pollfd is Linux's");

u32 file_poll(struct file *f) {
  u32 ready = f->ops->poll == NULL ? POLLIN | POLLOUT : f->ops->poll(f);
  if (ready & POLLIN) ready |= POLLRDNORM;
  if (ready & POLLOUT) ready |= POLLWRNORM;
  return ready;
}

struct wait_queue *file_queue(struct file *f) {
  return f->ops->queue == NULL ? NULL : f->ops->queue(f);
}

static u64 deadline_after(u64 ns) {
  u64 now = clock_mono();
  return ns > FOREVER - now ? FOREVER : now + ns;
}

i64 timeout_read(u64 address, u64 *deadline) {
  *deadline = FOREVER;
  if (address == 0) return 0;
  if (!user_readable(address, 16)) return -EFAULT;
  const i64 *t = (const i64 *)address;
  if (t[0] < 0 || t[1] < 0 || t[1] >= (i64)NS_PER_SEC) return -EINVAL;
  if ((u64)t[0] < FOREVER / NS_PER_SEC / 4) *deadline = deadline_after((u64)t[0] * NS_PER_SEC + (u64)t[1]);
  return 0;
}

/* Linux leaves the time that is left where it read the timeout; `unit` is the ns of the second word. */
static void timeout_write(u64 address, u64 deadline, u64 unit) {
  if (address == 0 || deadline == FOREVER || !user_writable(address, 16)) return;
  u64 now = clock_mono(), left = deadline > now ? deadline - now : 0;
  u64 *t = (u64 *)address;
  t[0] = left / NS_PER_SEC;
  t[1] = left % NS_PER_SEC / unit;
}

i64 mask_enter(u64 address, u64 size, u64 *saved) {
  *saved = current->signal_mask;
  if (address == 0) return 0;
  if (size != 8) return -EINVAL;
  if (!user_readable(address, 8)) return -EFAULT;
  signal_mask_set(*(const u64 *)address);
  return 0;
}

/* One file that is waited for. */
struct watch {
  struct wait_entry entry;
  struct file *file;
};

static int look(struct pollfd *fds, u32 count) {
  int ready = 0;
  for (u32 i = 0; i < count; i++) {
    struct pollfd *p = &fds[i];
    struct file *f = p->fd < 0 ? NULL : fd_get(p->fd);
    if (f != NULL) p->revents = (u16)(file_poll(f) & (p->events | POLLERR | POLLHUP));
    else p->revents = p->fd < 0 ? 0 : POLLNVAL;
    ready += p->revents != 0;
  }
  return ready;
}

static void watch_all(struct watch *watches, const struct pollfd *fds, u32 count) {
  for (u32 i = 0; i < count; i++) {
    struct file *f = fds[i].fd < 0 ? NULL : fd_get(fds[i].fd);
    struct wait_queue *queue = f == NULL ? NULL : file_queue(f);
    watches[i].file = NULL;
    if (queue == NULL) continue;
    file_ref(f);
    watches[i].file = f;
    wait_add(queue, &watches[i].entry, wake_thread, current);
  }
}

static void unwatch_all(struct watch *watches, u32 count) {
  for (u32 i = 0; i < count; i++) {
    if (watches[i].file == NULL) continue;
    wait_remove(&watches[i].entry);
    file_put(watches[i].file);
  }
}

#define WATCHES_ON_STACK 16

/* `fds` is kernel memory. Returns how many are ready. */
static i64 poll_files(struct pollfd *fds, u32 count, u64 deadline) {
  struct watch few[WATCHES_ON_STACK], *watches = few;
  i64 ready = look(fds, count);
  if (ready > 0 || deadline <= clock_mono()) return ready;
  if (count > WATCHES_ON_STACK && (watches = kmalloc(count * sizeof *watches)) == NULL) return -ENOMEM;
  for (;;) {
    watch_all(watches, fds, count);
    int slept = sleep_until(deadline);
    unwatch_all(watches, count);
    ready = look(fds, count);
    if (ready == 0 && slept == -EINTR) ready = -EINTR;
    if (ready != 0 || slept == -ETIMEDOUT) break;
  }
  if (watches != few) kfree(watches);
  return ready;
}

/* Works on a copy: the program's other threads may change or unmap the array while this one sleeps. */
static i64 poll_user(u64 address, u64 count, u64 deadline) {
  if (count > FD_MAX) return -EINVAL;
  if (count > 0 && !user_writable(address, count * sizeof(struct pollfd))) return -EFAULT;
  struct pollfd few[WATCHES_ON_STACK], *fds = few, *user = (struct pollfd *)address;
  if (count > WATCHES_ON_STACK && (fds = kmalloc(count * sizeof *fds)) == NULL) return -ENOMEM;
  memcpy(fds, user, count * sizeof *fds);
  i64 ready = poll_files(fds, (u32)count, deadline);
  if (ready >= 0 && count > 0 && !user_writable(address, count * sizeof *user)) ready = -EFAULT;
  for (u64 i = 0; ready >= 0 && i < count; i++) user[i].revents = fds[i].revents;
  if (fds != few) kfree(fds);
  return ready;
}

i64 sys_poll(const u64 *a) {
  i32 ms = (i32)a[2];
  return poll_user(a[0], a[1], ms < 0 ? FOREVER : deadline_after((u64)ms * 1000000));
}

i64 sys_ppoll(const u64 *a) {
  u64 deadline, saved;
  i64 error = timeout_read(a[2], &deadline);
  if (error == 0) error = mask_enter(a[3], a[4], &saved);
  if (error != 0) return error;
  i64 ready = poll_user(a[0], a[1], deadline);
  signal_mask_leave(saved, ready);
  timeout_write(a[2], deadline, 1);
  return ready;
}

/* select's three sets, in the order of its arguments. */
static const u32 set_events[3] = {POLLIN | POLLRDNORM | POLLHUP | POLLERR, POLLOUT | POLLWRNORM | POLLERR, POLLPRI};

struct sets {
  u64 *bits[3]; /* user memory or NULL */
  u32 count;    /* descriptors looked at */
};

static u32 wanted(const struct sets *s, u32 fd) {
  u32 events = 0;
  for (int set = 0; set < 3; set++)
    if (s->bits[set] != NULL && s->bits[set][fd / 64] >> fd % 64 & 1) events |= set_events[set];
  return events;
}

static i64 collect(const struct sets *s, struct pollfd *fds) {
  u32 n = 0;
  for (u32 fd = 0; fd < s->count; fd++) {
    u32 events = wanted(s, fd);
    if (events == 0) continue;
    if (fd_get((int)fd) == NULL) return -EBADF;
    fds[n++] = (struct pollfd){.fd = (i32)fd, .events = (u16)(events & ~(u32)(POLLHUP | POLLERR))};
  }
  return n;
}

/* Turns the answers into the sets; returns the number of bits set. */
static i64 distribute(const struct sets *s, const struct pollfd *fds, i64 n) {
  u32 asked[3][FD_MAX / 32];
  i64 bits = 0;
  u64 bytes = ALIGN_UP(s->count, 64) / 8;
  for (int set = 0; set < 3; set++) {
    if (s->bits[set] == NULL) continue;
    memcpy(asked[set], s->bits[set], bytes);
    memset(s->bits[set], 0, bytes);
    for (i64 i = 0; i < n; i++) {
      u32 fd = (u32)fds[i].fd;
      if (!(asked[set][fd / 32] >> fd % 32 & 1) || !(fds[i].revents & set_events[set])) continue;
      s->bits[set][fd / 64] |= 1ull << fd % 64;
      bits++;
    }
  }
  return bits;
}

static bool sets_accessible(const struct sets *s) {
  for (int set = 0; set < 3; set++)
    if (s->bits[set] != NULL && !user_writable((u64)s->bits[set], ALIGN_UP(s->count, 64) / 8)) return false;
  return true;
}

static i64 select_user(const u64 *a, u64 deadline) {
  if ((i32)a[0] < 0) return -EINVAL;
  struct sets sets = {{(u64 *)a[1], (u64 *)a[2], (u64 *)a[3]}, MIN((u32)a[0], (u32)FD_MAX)};
  if (!sets_accessible(&sets)) return -EFAULT;
  struct pollfd *fds = kmalloc((sets.count + 1) * sizeof *fds);
  if (fds == NULL) return -ENOMEM;
  i64 n = collect(&sets, fds);
  i64 ready = n < 0 ? n : poll_files(fds, (u32)n, deadline);
  if (ready >= 0) ready = sets_accessible(&sets) ? distribute(&sets, fds, n) : -EFAULT;
  kfree(fds);
  return ready;
}

i64 sys_select(const u64 *a) {
  u64 deadline = FOREVER;
  if (a[4] != 0) {
    if (!user_readable(a[4], 16)) return -EFAULT;
    const i64 *t = (const i64 *)a[4];
    if (t[0] < 0 || t[1] < 0) return -EINVAL;
    u64 seconds = MIN((u64)t[0], FOREVER / NS_PER_SEC / 4), us = MIN((u64)t[1], FOREVER / 1000 / 4);
    deadline = deadline_after(seconds * NS_PER_SEC + us * 1000);
  }
  i64 ready = select_user(a, deadline);
  timeout_write(a[4], deadline, 1000);
  return ready;
}

i64 sys_pselect6(const u64 *a) {
  u64 deadline, saved, mask[2] = {0, 0};
  i64 error = timeout_read(a[4], &deadline);
  if (error == 0 && a[5] != 0) {
    if (!user_readable(a[5], 16)) return -EFAULT;
    memcpy(mask, (const void *)a[5], sizeof mask);
  }
  if (error == 0) error = mask_enter(mask[0], mask[1], &saved);
  if (error != 0) return error;
  i64 ready = select_user(a, deadline);
  signal_mask_leave(saved, ready);
  timeout_write(a[4], deadline, 1);
  return ready;
}
