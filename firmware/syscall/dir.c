/* syscall/dir.c: listing directories, and the working directory. */
#include "path.h"
#include "syscall.h"

/* ---- Listing --------------------------------------------------------------------------------- */

static i64 list(u64 fd, u64 buf, u64 n) {
  struct file *f = open_file(fd);
  n = (u32)n;
  if (f == NULL) return -EBADF;
  if (f->ops->getdents == NULL) return -ENOTDIR;
  return user_writable(buf, n) ? f->ops->getdents(f, (void *)buf, n) : -EFAULT;
}

i64 sys_getdents64(const u64 *a) { return list(a[0], a[1], a[2]); }

/* The old records are as long as the new ones, but the type follows the name, in the last byte. */
i64 sys_getdents(const u64 *a) {
  enum { SIZE_AT = 16, TYPE_AT = 18 };
  i64 n = list(a[0], a[1], a[2]);
  u16 size;
  for (i64 at = 0; at < n; at += size) {
    u8 *record = (u8 *)a[1] + at, type = record[TYPE_AT];
    memcpy(&size, record + SIZE_AT, sizeof(size));
    memmove(record + TYPE_AT, record + TYPE_AT + 1, size - TYPE_AT - 1);
    record[size - 1] = type;
  }
  return n;
}

/* ---- Working directory ----------------------------------------------------------------------- */

static i64 enter(const struct target *t) {
  if (t->dentry == NULL || !is_dir(t->dentry->inode)) return -ENOTDIR;
  i64 error = inode_permission(t->dentry->inode, MAY_EXECUTE);
  if (error == 0) cwd_set(t->dentry);
  return error;
}

i64 sys_chdir(const u64 *a) {
  struct target t;
  i64 error = target_find((u64)AT_FDCWD, a[0], 0, WALK_FOLLOW, &t);
  if (error == 0) error = enter(&t);
  target_put(&t);
  return error;
}

i64 sys_fchdir(const u64 *a) {
  struct target t = {0};
  const struct file *f = fd_get((int)a[0]);
  if (f == NULL) return -EBADF;
  t.dentry = file_dentry(f);
  return enter(&t);
}

i64 sys_chroot(const u64 *a) {
  struct target t;
  i64 error = target_find((u64)AT_FDCWD, a[0], 0, WALK_FOLLOW, &t);
  if (error == 0 && !is_dir(t.dentry->inode)) error = -ENOTDIR;
  if (error == 0) error = inode_permission(t.dentry->inode, MAY_EXECUTE);
  if (error == 0 && !capable(CAP_SYS_CHROOT)) error = -EPERM;
  if (error == 0) process_root_set(t.dentry);
  target_put(&t);
  return error;
}

i64 sys_getcwd(const u64 *a) {
  const struct dentry *d = cwd_dentry();
  if (!d->hashed && d != process_root() && d->inode->nlink == 0) return -ENOENT;
  u64 size = MIN(a[1], (u64)PATH_MAX);
  if (!user_writable(a[0], size)) return -EFAULT;
  ssize_t n = dentry_path(d, (char *)a[0], size);
  return n < 0 ? n : n + 1;
}
