/* syscall/size.c: positions, sizes, and the calls that have nothing to do because files are memory.
 */
#include "path.h"
#include "syscall.h"

/* ---- Position ------------------------------------------------------------------------------- */

static i64 seek_to(const struct file *f, i64 offset, u64 whence) {
  enum { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };
  i64 size = is_dir(f->inode) ? 0 : (i64)f->inode->size, base = 0;
  switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR: base = f->pos; break;
    case SEEK_END: base = size; break;
    case SEEK_DATA:
    case SEEK_HOLE:
      if (offset < 0 || offset >= size) return -ENXIO;
      if (f->inode->ops != &regular_ops) return whence == SEEK_DATA ? offset : size;
      return content_seek(f->inode, (u64)offset, whence == SEEK_DATA);
    default: return -EINVAL;
  }
  i64 target;
  if (__builtin_add_overflow(base, offset, &target)) return -EOVERFLOW;
  return target < 0 ? -EINVAL : target;
}

i64 sys_lseek(const u64 *a) {
  struct file *f = open_file(a[0]);
  if (f == NULL) return -EBADF;
  if (!seekable(f)) return -ESPIPE;
  if ((f->inode->mode & S_IFMT) == S_IFCHR) return 0;
  i64 target = seek_to(f, (i64)a[1], a[2]);
  if (target >= 0) f->pos = target;
  return target;
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

static i64 truncate_inode(struct inode *inode, u64 size) {
  if (is_dir(inode)) return -EISDIR;
  if (!is_regular(inode) || (i64)size < 0) return -EINVAL;
  if (inode_runs(inode)) return -ETXTBSY;
  return inode->ops == &regular_ops ? content_truncate(inode, size) : 0;
}

i64 sys_truncate(const u64 *a) {
  struct target t;
  i64 error = target_find((u64)AT_FDCWD, a[0], 0, WALK_FOLLOW, &t);
  if (error == 0 && is_regular(t.dentry->inode)) error = inode_permission(t.dentry->inode, MAY_WRITE);
  if (error == 0) error = truncate_inode(t.dentry->inode, a[1]);
  target_put(&t);
  return error;
}

i64 sys_ftruncate(const u64 *a) {
  struct file *f = open_file(a[0]);
  if (f == NULL) return -EBADF;
  if (f->inode == NULL || is_dir(f->inode) || !open_for_writing(f)) return -EINVAL;
  return truncate_inode(f->inode, a[1]);
}

i64 sys_fallocate(const u64 *a) {
  enum { KEEP_SIZE = 1, PUNCH_HOLE = 2, ZERO_RANGE = 0x10 };
  i64 offset = (i64)a[2], size = (i64)a[3], end;
  struct file *f = open_file(a[0]);
  u32 mode = (u32)a[1];
  if (f == NULL || !open_for_writing(f)) return -EBADF;
  if (f->inode == NULL) return -ESPIPE;
  if (f->inode->ops != &regular_ops) return -ENODEV;
  if (offset < 0 || size <= 0) return -EINVAL;
  if (__builtin_add_overflow(offset, size, &end)) return -EFBIG;
  if ((mode & ~(u32)(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) || ((mode & PUNCH_HOLE) && mode != (PUNCH_HOLE | KEEP_SIZE)))
    return -EOPNOTSUPP;
  if (!(mode & PUNCH_HOLE) && size > (i64)frames_free()) return -ENOSPC;
  i64 error = mode & (PUNCH_HOLE | ZERO_RANGE) ? content_clear(f->inode, (u64)offset, (u64)end) : 0;
  if (error == 0 && !(mode & KEEP_SIZE) && (u64)end > f->inode->size) error = content_truncate(f->inode, (u64)end);
  return error;
}

/* ---- Nothing to do: files are memory ----------------------------------------------------------
 */

static i64 check_file(const u64 *a) { return open_file(a[0]) == NULL ? -EBADF : 0; }

i64 sys_fsync(const u64 *a) {
  struct file *f = open_file(a[0]);
  return f == NULL ? -EBADF : f->inode == NULL ? -EINVAL : 0;
}

i64 sys_fdatasync(const u64 *a) { return sys_fsync(a); }

i64 sys_sync(const u64 *a) { return 0; }

i64 sys_syncfs(const u64 *a) { return check_file(a); }

i64 sys_sync_file_range(const u64 *a) { return check_file(a); }

i64 sys_fadvise64(const u64 *a) {
  struct file *f = open_file(a[0]);
  return f == NULL ? -EBADF : f->inode == NULL ? -ESPIPE : 0;
}

i64 sys_readahead(const u64 *a) { return check_file(a); }
