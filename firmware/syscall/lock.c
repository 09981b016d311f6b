/* syscall/lock.c: fcntl's locks of a range, flock's of a whole file. */
#include "path.h"
#include "syscall.h"

struct flock {
  i16 type, whence;
  i64 start, length;
  i32 pid;
};
_Static_assert(sizeof(struct flock) == 32, "Linux's");

/* The range that is meant: from `whence`, backwards if the length is negative, to the end for 0. */
static i64 range_of(struct file *f, const struct flock *l, struct lock *lock) {
  enum { SEEK_CUR = 1, SEEK_END };
  if (l->whence < 0 || l->whence > SEEK_END) return -EINVAL;
  i64 start = l->whence == SEEK_CUR ? f->pos : l->whence == SEEK_END ? (i64)file_size(f) : 0, end = FILE_SIZE_MAX;
  if (__builtin_add_overflow(start, l->start, &start)) return -EOVERFLOW;
  if (start < 0) return -EINVAL;
  if (l->length > 0 && __builtin_add_overflow(start, l->length - 1, &end)) return -EOVERFLOW;
  if (l->length < 0) {
    end = start - 1;
    start += l->length;
  }
  if (start < 0) return -EINVAL;
  lock->start = start;
  lock->end = end;
  return 0;
}

static i64 read_flock(struct file *f, u64 address, bool open_file, struct lock *lock) {
  if (!user_readable(address, sizeof(struct flock))) return -EFAULT;
  const struct flock l = *(const struct flock *)address;
  if (open_file && l.pid != 0) return -EINVAL;
  i64 error = range_of(f, &l, lock);
  if (error == 0 && (l.type < F_RDLCK || l.type > F_UNLCK)) error = -EINVAL;
  lock->type = l.type;
  lock->owner = open_file ? f : NULL;
  return error;
}

i64 fcntl_lock_ask(struct file *f, u64 address, bool open_file) {
  struct lock lock = {0};
  i64 error = read_flock(f, address, open_file, &lock);
  if (error != 0) return error;
  if (lock.type == F_UNLCK) return -EINVAL;
  if (!user_writable(address, sizeof(struct flock))) return -EFAULT;
  struct flock *l = (struct flock *)address;
  if (!lock_find(f, &lock)) {
    l->type = F_UNLCK;
    return 0;
  }
  i64 length = lock.end == FILE_SIZE_MAX ? 0 : lock.end - lock.start + 1;
  *l = (struct flock){(i16)lock.type, 0, lock.start, length, lock.owner == NULL ? process_id() : -1};
  return 0;
}

i64 fcntl_lock_set(u64 fd, u64 address, bool open_file, bool wait) {
  struct file *f = fd_get((int)fd);
  struct lock lock = {0};
  i64 error = read_flock(f, address, open_file, &lock);
  if (error != 0) return error;
  if (lock.type == F_RDLCK && !open_for_reading(f)) return -EBADF;
  if (lock.type == F_WRLCK && !open_for_writing(f)) return -EBADF;
  struct inode *inode = f->inode == NULL ? NULL : inode_get(f->inode);
  error = lock_set(f, &lock, wait);
  /* Closed while it waited: nothing would give the process's lock back. */
  if (error == 0 && !open_file && lock.type != F_UNLCK && fd_get((int)fd) != f) {
    locks_process_closed(inode);
    error = -EBADF;
  }
  inode_put(inode);
  return error;
}

i64 sys_flock(const u64 *a) {
  enum { LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8 };
  u32 operation = (u32)a[1] & ~(u32)LOCK_NB;
  if (operation != LOCK_SH && operation != LOCK_EX && operation != LOCK_UN) return -EINVAL;
  struct file *f = open_file(a[0]);
  if (f == NULL) return -EBADF;
  i32 type = operation == LOCK_SH ? F_RDLCK : operation == LOCK_EX ? F_WRLCK : F_UNLCK;
  return lock_set(f, &(struct lock){f, true, type, 0, FILE_SIZE_MAX}, !(a[1] & LOCK_NB));
}
