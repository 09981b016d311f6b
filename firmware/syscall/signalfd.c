/* signalfd: masked signals that are read from a file, by whichever thread reads. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"

struct signalfd {
  u64 set;
};
struct signalfd_siginfo {
  u32 signo;
  i32 error, code;
  u32 pid, uid;
  i32 fd;
  u32 timer, band, overrun, trap;
  i32 status, number;
  u64 pointer, user_time, system_time, address;
  u8 pad[48];
};
_Static_assert(sizeof(struct signalfd_siginfo) == 128, "signalfd(2)");

static struct signalfd_siginfo describe(const struct siginfo *info) {
  struct signalfd_siginfo told = {.signo = (u32)info->signo, .error = info->error, .code = info->code};
  if (info->code == SI_TIMER) {
    told.timer = (u32)info->timer.id;
    told.overrun = (u32)info->timer.overrun;
  } else {
    told.pid = (u32)info->sender.pid;
    told.uid = info->sender.uid;
  }
  if (info->code < 0) {
    told.pointer = info->sender.value;
    told.number = (i32)info->sender.value;
  }
  return told;
}

static ssize_t signalfd_read(struct file *f, void *buf, size_t n, off_t *pos) {
  const struct signalfd *s = f->state;
  size_t done = 0;
  if (n < sizeof(struct signalfd_siginfo)) return -EINVAL;
  while (done + sizeof(struct signalfd_siginfo) <= n) {
    struct siginfo info;
    if (signal_take(current, s->set, &info)) {
      struct signalfd_siginfo told = describe(&info);
      memcpy((u8 *)buf + done, &told, sizeof told);
      done += sizeof told;
      continue;
    }
    if (done > 0) break;
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int slept = sleep_on(&signal_readers, FOREVER);
    if (slept < 0) return slept;
  }
  return (ssize_t)done;
}

static u32 signalfd_poll(struct file *f) {
  return signals_pending(current) & ((const struct signalfd *)f->state)->set ? POLLIN : 0;
}
static struct wait_queue *signalfd_queue(struct file *f) { return &signal_readers; }
static void signalfd_close(struct file *f) { kfree(f->state); }

static const struct file_ops signalfd_ops = {
    .read = signalfd_read, .poll = signalfd_poll, .queue = signalfd_queue, .close = signalfd_close};

static i64 create(u64 set, u32 flags) {
  struct signalfd *s = kzalloc(sizeof *s);
  struct file *f = s == NULL ? NULL : file_new(&signalfd_ops, s, O_RDWR | (flags & O_NONBLOCK), "signalfd");
  if (f == NULL) {
    kfree(s);
    return -ENOMEM;
  }
  s->set = set;
  return fd_install(f, 0, flags & O_CLOEXEC);
}

static i64 change(i32 fd, u64 set) {
  struct file *f = fd_get(fd);
  if (f == NULL) return -EBADF;
  if (f->ops != &signalfd_ops) return -EINVAL;
  ((struct signalfd *)f->state)->set = set;
  wake(&signal_readers, POLLIN);
  return fd;
}

i64 sys_signalfd4(const u64 *a) {
  if (a[2] != sizeof(u64)) return -EINVAL;
  if (!user_readable(a[1], sizeof(u64))) return -EFAULT;
  if (a[3] & ~(u64)(O_CLOEXEC | O_NONBLOCK)) return -EINVAL;
  u64 set = *(const u64 *)a[1] & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
  return (i32)a[0] == -1 ? create(set, (u32)a[3]) : change((i32)a[0], set);
}

i64 sys_signalfd(const u64 *a) {
  u64 with_flags[6] = {a[0], a[1], a[2]};
  return sys_signalfd4(with_flags);
}
