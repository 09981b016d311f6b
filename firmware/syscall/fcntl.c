/* syscall/fcntl.c: switches of descriptors and files. */
#include "path.h"
#include "syscall.h"

enum {
  F_DUPFD,
  F_GETFD,
  F_SETFD,
  F_GETFL,
  F_SETFL,
  F_GETLK,
  F_SETLK,
  F_SETLKW,
  F_SETOWN,
  F_GETOWN,
  F_OFD_GETLK = 36,
  F_OFD_SETLK,
  F_OFD_SETLKW,
  F_GETLEASE = 1025,
  F_DUPFD_CLOEXEC = 1030,
  F_SETPIPE_SZ,
  F_GETPIPE_SZ,
  FD_CLOEXEC = 1,
  O_ASYNC = 020000,
  O_DIRECT = 040000,
  O_NOATIME = 01000000,
  PIPE_SIZE = 65536,
};

static i64 duplicate(struct file *f, u64 from, bool cloexec) {
  if (from >= fd_limit()) return -EINVAL;
  file_ref(f);
  return fd_install(f, (int)from, cloexec);
}

static i64 set_flags(struct file *f, u64 flags) {
  const u32 changeable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
  f->flags = (f->flags & ~changeable) | ((u32)flags & changeable);
  return 0;
}

static i64 pipe_size(const struct file *f) { return strcmp(f->kind, "pipe") == 0 ? PIPE_SIZE : -EBADF; }

i64 sys_fcntl(const u64 *a) {
  int fd = (int)a[0], command = (int)a[1];
  struct file *f = fd_get(fd);
  if (f == NULL) return -EBADF;
  if ((f->flags & O_PATH) && command != F_GETFL && command != F_DUPFD && command != F_DUPFD_CLOEXEC &&
      command != F_GETFD && command != F_SETFD)
    return -EBADF;
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC: return duplicate(f, a[2], command == F_DUPFD_CLOEXEC);
    case F_GETFD: return fd_cloexec(fd) ? FD_CLOEXEC : 0;
    case F_SETFD: fd_set_cloexec(fd, a[2] & FD_CLOEXEC); return 0;
    case F_GETFL: return f->flags & ~(u32)O_CLOEXEC;
    case F_SETFL: return set_flags(f, a[2]);
    case F_GETLK:
    case F_OFD_GETLK: return fcntl_lock_ask(f, a[2], command == F_OFD_GETLK);
    case F_SETLK:
    case F_SETLKW: return fcntl_lock_set(a[0], a[2], false, command == F_SETLKW);
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return fcntl_lock_set(a[0], a[2], true, command == F_OFD_SETLKW);
    case F_GETLEASE: return F_UNLCK;
    case F_SETOWN:
    case F_GETOWN: return 0;
    case F_SETPIPE_SZ: return pipe_size(f) < 0 ? -EBADF : a[2] <= PIPE_SIZE ? PIPE_SIZE : -EPERM;
    case F_GETPIPE_SZ: return pipe_size(f);
    default: return -EINVAL;
  }
}

static i64 bytes_readable(struct file *f, u64 arg) {
  if (!user_writable(arg, sizeof(int))) return -EFAULT;
  if (f->inode != NULL && is_regular(f->inode)) {
    *(int *)arg = (int)((i64)f->inode->size - f->pos);
    return 0;
  }
  return f->ops->ioctl == NULL ? -ENOTTY : f->ops->ioctl(f, FIONREAD, arg);
}

static i64 set_nonblocking(struct file *f, u64 arg) {
  if (!user_readable(arg, sizeof(int))) return -EFAULT;
  f->flags = *(const int *)arg != 0 ? f->flags | O_NONBLOCK : f->flags & ~(u32)O_NONBLOCK;
  return 0;
}

i64 sys_ioctl(const u64 *a) {
  enum { FIONBIO = 0x5421, FIONCLEX = 0x5450, FIOCLEX = 0x5451, FIOASYNC = 0x5452 };
  struct file *f = open_file(a[0]);
  if (f == NULL) return -EBADF;
  switch ((u32)a[1]) {
    case FIOCLEX:
    case FIONCLEX: fd_set_cloexec((int)a[0], (u32)a[1] == FIOCLEX); return 0;
    case FIONBIO: return set_nonblocking(f, a[2]);
    case FIOASYNC: return 0;
    case FIONREAD: return bytes_readable(f, a[2]);
    default: return f->ops->ioctl == NULL ? -ENOTTY : f->ops->ioctl(f, (u32)a[1], a[2]);
  }
}
