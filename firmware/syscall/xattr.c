/* syscall/xattr.c: extended attributes. Only files in memory have them: not /proc, /sys, pipes or sockets. */
#include "path.h"
#include "syscall.h"

enum { VALUE_MAX = 65536 };

/* The name argument into name[NAME_MAX + 1]. */
static i64 name_arg(u64 address, char *name) {
  ssize_t n = user_strlen(address, NAME_MAX);
  if (n == -ENAMETOOLONG || n == 0) return -ERANGE;
  if (n < 0) return n;
  memcpy(name, (const void *)address, (size_t)n + 1);
  return 0;
}

static bool starts(const char *name, const char *prefix) {
  size_t n = strlen(prefix);
  return strlen(name) > n && memcmp(name, prefix, n) == 0;
}

/* user.* belongs to files and directories; trusted.* and security.* to everything. */
static i64 check_name(const struct inode *inode, const char *name, bool writes) {
  bool user = starts(name, "user."), trusted = starts(name, "trusted.");
  if (user && (is_regular(inode) || is_dir(inode))) return inode_permission(inode, writes ? MAY_WRITE : MAY_READ);
  if (trusted && capabilities.effective == 0) return writes ? -EPERM : -ENODATA;
  if (!user && !trusted && !starts(name, "security.")) return -EOPNOTSUPP;
  if (user) return writes ? -EPERM : -ENODATA;
  return 0;
}

static bool keeps_attributes(const struct inode *inode) {
  return inode != NULL && (inode->dev == DEV_ROOT || inode->dev == DEV_SHM || inode->dev == DEV_DEV);
}

static i64 set(struct inode *inode, const u64 *a) {
  char name[NAME_MAX + 1];
  if ((u32)a[4] & ~(u32)(XATTR_CREATE | XATTR_REPLACE)) return -EINVAL;
  i64 error = name_arg(a[1], name);
  if (error != 0) return error;
  if (a[3] > VALUE_MAX) return -E2BIG;
  if (!user_readable(a[2], a[3])) return -EFAULT;
  if (!keeps_attributes(inode)) return -EOPNOTSUPP;
  error = check_name(inode, name, true);
  return error != 0 ? error : xattr_set(inode, name, (const void *)a[2], a[3], (u32)a[4]);
}

/* The size; the bytes too when there is a place for them. */
static i64 put(u64 address, u64 room, const void *bytes, u64 size) {
  if (room == 0) return (i64)size;
  if (size > room) return -ERANGE;
  if (!user_writable(address, size)) return -EFAULT;
  memcpy((void *)address, bytes, size);
  return (i64)size;
}

static i64 get(struct inode *inode, const u64 *a) {
  char name[NAME_MAX + 1];
  const void *value = NULL;
  i64 error = name_arg(a[1], name);
  if (error == 0 && !keeps_attributes(inode)) error = -EOPNOTSUPP;
  if (error == 0) error = check_name(inode, name, false);
  i64 size = error != 0 ? error : xattr_get(inode, name, &value);
  return size < 0 ? size : put(a[2], a[3], value, (u64)size);
}

static i64 list(struct inode *inode, const u64 *a) {
  struct text names = {0};
  if (keeps_attributes(inode)) xattr_list(inode, &names);
  i64 result = names.failed ? -ENOMEM : put(a[1], a[2], names.data, names.size);
  kfree(names.data);
  return result;
}

static i64 remove(struct inode *inode, const u64 *a) {
  char name[NAME_MAX + 1];
  i64 error = name_arg(a[1], name);
  if (error == 0 && !keeps_attributes(inode)) error = -EOPNOTSUPP;
  if (error == 0) error = check_name(inode, name, true);
  return error != 0 ? error : xattr_remove(inode, name);
}

typedef i64 attribute_fn(struct inode *inode, const u64 *a);

static i64 at_path(const u64 *a, u32 how, attribute_fn *fn) {
  struct target t;
  i64 error = target_find((u64)AT_FDCWD, a[0], 0, how, &t);
  if (error == 0) error = fn(target_inode(&t), a);
  target_put(&t);
  return error;
}

static i64 at_file(const u64 *a, attribute_fn *fn) {
  const struct file *f = open_file(a[0]);
  return f == NULL ? -EBADF : fn(f->inode, a);
}

#define ATTRIBUTES(name)                                                                                               \
  i64 sys_##name##xattr(const u64 *a) { return at_path(a, WALK_FOLLOW, name); }                                        \
  i64 sys_l##name##xattr(const u64 *a) { return at_path(a, 0, name); }                                                 \
  i64 sys_f##name##xattr(const u64 *a) { return at_file(a, name); }
ATTRIBUTES(set)
ATTRIBUTES(get)
ATTRIBUTES(list)
ATTRIBUTES(remove)
