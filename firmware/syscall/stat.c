/* syscall/stat.c: what files tell about themselves. */
#include "path.h"
#include "syscall.h"

struct timespec {
  i64 sec, nsec;
};

struct stat {
  u64 dev, ino, nlink;
  u32 mode, uid, gid, pad;
  u64 rdev;
  i64 size, blksize, blocks;
  struct timespec atime, mtime, ctime;
  i64 unused[3];
};
_Static_assert(sizeof(struct stat) == 144, "struct stat");

struct statx_time {
  i64 sec;
  u32 nsec;
  i32 pad;
};

struct statx {
  u32 mask, blksize;
  u64 attributes;
  u32 nlink, uid, gid;
  u16 mode, pad;
  u64 ino, size, blocks, attributes_mask;
  struct statx_time atime, btime, ctime, mtime;
  u32 rdev_major, rdev_minor, dev_major, dev_minor;
  u64 mnt_id, spare[13];
};
_Static_assert(sizeof(struct statx) == 256, "struct statx");

struct statfs {
  i64 type, bsize;
  u64 blocks, bfree, bavail, files, ffree, fsid;
  i64 namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct statfs) == 120, "struct statfs");

static struct timespec timespec_of(u64 ns) {
  i64 value = (i64)ns, second = (i64)NS_PER_SEC;
  i64 nsec = value % second;
  return nsec < 0 ? (struct timespec){value / second - 1, nsec + second} : (struct timespec){value / second, nsec};
}

static u64 blocks_of(const struct inode *inode) {
  if (inode->ops != &regular_ops) return 0;
  return inode->content.page_count * (PAGE / 512) + (inode->content.base_size + 511) / 512;
}

static void fill(struct stat *s, const struct inode *inode, const struct file *f) {
  memset(s, 0, sizeof(*s));
  s->blksize = (i64)PAGE;
  if (inode == NULL) {
    s->dev = DEV_ANONYMOUS;
    s->ino = file_number(f);
    s->nlink = 1;
    s->mode = file_mode(f);
    return;
  }
  s->dev = inode->dev;
  s->ino = inode->ino;
  s->nlink = inode->nlink;
  s->mode = inode->mode;
  s->uid = inode->uid;
  s->gid = inode->gid;
  bool device = (inode->mode & S_IFMT) == S_IFCHR || (inode->mode & S_IFMT) == S_IFBLK;
  s->rdev = device ? inode->rdev : 0;
  s->size = device ? 0 : (i64)inode->size;
  s->blocks = (i64)blocks_of(inode);
  s->atime = timespec_of(inode->atime);
  s->mtime = timespec_of(inode->mtime);
  s->ctime = timespec_of(inode->ctime);
}

static i64 stat_at(u64 dirfd, u64 path, u64 flags, struct stat *out) {
  struct target t;
  i64 error = target_find(dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, &t);
  if (error == 0) fill(out, target_inode(&t), t.file);
  target_put(&t);
  return error;
}

static i64 stat_to(u64 dirfd, u64 path, u64 flags, u64 address) {
  struct stat s;
  i64 error = stat_at(dirfd, path, flags, &s);
  if (error == 0 && !user_writable(address, sizeof(s))) error = -EFAULT;
  if (error == 0) memcpy((void *)address, &s, sizeof(s));
  return error;
}

i64 sys_stat(const u64 *a) { return stat_to((u64)AT_FDCWD, a[0], 0, a[1]); }

i64 sys_lstat(const u64 *a) { return stat_to((u64)AT_FDCWD, a[0], AT_SYMLINK_NOFOLLOW, a[1]); }

i64 sys_fstat(const u64 *a) {
  if (fd_get((int)a[0]) == NULL) return -EBADF;
  return stat_to(a[0], 0, AT_EMPTY_PATH, a[1]);
}

i64 sys_newfstatat(const u64 *a) {
  if (a[3] & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT)) return -EINVAL;
  return stat_to(a[0], a[1], a[3], a[2]);
}

static struct statx_time statx_time_of(struct timespec t) { return (struct statx_time){t.sec, (u32)t.nsec, 0}; }

i64 sys_statx(const u64 *a) {
  enum { STATX_BASIC = 0x7ff };
  struct stat s;
  if (a[2] & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC)) return -EINVAL;
  i64 error = stat_at(a[0], a[1], a[2], &s);
  if (error == 0 && !user_writable(a[4], sizeof(struct statx))) error = -EFAULT;
  if (error != 0) return error;
  *(struct statx *)a[4] = (struct statx){.mask = STATX_BASIC,
                                         .blksize = (u32)s.blksize,
                                         .nlink = (u32)s.nlink,
                                         .uid = s.uid,
                                         .gid = s.gid,
                                         .mode = (u16)s.mode,
                                         .ino = s.ino,
                                         .size = (u64)s.size,
                                         .blocks = (u64)s.blocks,
                                         .atime = statx_time_of(s.atime),
                                         .ctime = statx_time_of(s.ctime),
                                         .mtime = statx_time_of(s.mtime),
                                         .rdev_major = (u32)(s.rdev >> 8 & 0xfff),
                                         .rdev_minor = (u32)(s.rdev & 0xff),
                                         .dev_minor = (u32)s.dev};
  return 0;
}

/* ---- access ---------------------------------------------------------------------------------- */

enum { AT_EACCESS = 0x200 };

/* Its modes are MAY_*, and it asks for the real user. */
static i64 do_access(u64 dirfd, u64 path, u64 mode, u64 flags) {
  enum { MODES = 7 };
  struct target t;
  if (mode & ~(u64)MODES) return -EINVAL;
  struct file_view view = view_as_real();
  if (flags & AT_EACCESS) view_restore(view);
  i64 error = target_find(dirfd, path, flags, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, &t);
  struct inode *inode = target_inode(&t);
  if (error == 0 && mode != 0 && inode != NULL && !is_link(inode)) error = inode_permission(inode, (u32)mode);
  view_restore(view);
  target_put(&t);
  return error;
}

i64 sys_access(const u64 *a) { return do_access((u64)AT_FDCWD, a[0], (u32)a[1], 0); }

i64 sys_faccessat(const u64 *a) { return do_access(a[0], a[1], (u32)a[2], 0); }

i64 sys_faccessat2(const u64 *a) {
  if (a[3] & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS)) return -EINVAL;
  return do_access(a[0], a[1], (u32)a[2], a[3]);
}

/* ---- statfs ---------------------------------------------------------------------------------- */

static i64 type_of_dev(u32 dev) {
  enum { TMPFS = 0x01021994, PROC = 0x9fa0, SYSFS = 0x62656572, PIPEFS = 0x50495045 };
  return dev == DEV_PROC ? PROC : dev == DEV_SYS ? SYSFS : dev == DEV_ANONYMOUS ? PIPEFS : TMPFS;
}

static i64 do_statfs(const struct inode *inode, u64 address) {
  if (!user_writable(address, sizeof(struct statfs))) return -EFAULT;
  u32 dev = inode == NULL ? DEV_ANONYMOUS : inode->dev;
  bool memory = type_of_dev(dev) == type_of_dev(DEV_ROOT);
  u64 total = memory ? frames_total() / PAGE : 0, free = memory ? frames_free() / PAGE : 0;
  *(struct statfs *)address = (struct statfs){.type = type_of_dev(dev),
                                              .bsize = (i64)PAGE,
                                              .blocks = total,
                                              .bfree = free,
                                              .bavail = free,
                                              .files = total,
                                              .ffree = free,
                                              .fsid = dev,
                                              .namelen = NAME_MAX,
                                              .frsize = (i64)PAGE};
  return 0;
}

i64 sys_statfs(const u64 *a) {
  struct target t;
  i64 error = target_find((u64)AT_FDCWD, a[0], 0, WALK_FOLLOW, &t);
  if (error == 0) error = do_statfs(target_inode(&t), a[1]);
  target_put(&t);
  return error;
}

i64 sys_fstatfs(const u64 *a) {
  const struct file *f = fd_get((int)a[0]);
  return f == NULL ? -EBADF : do_statfs(f->inode, a[1]);
}
