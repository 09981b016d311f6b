/* syscall/attributes.c: changing modes, owners and times. */
#include "path.h"
#include "syscall.h"

static u32 how_of(u64 flags) { return flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW; }

/* ---- Modes and owners -------------------------------------------------------------------------
 */

static i64 do_chmod(u64 dirfd, u64 path, u64 mode, u64 flags) {
  struct target t;
  if (flags & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  i64 error = target_find(dirfd, path, flags, how_of(flags), &t);
  struct inode *inode = target_inode(&t);
  if (error == 0 && inode != NULL && is_link(inode)) {
    error = -EOPNOTSUPP;
  } else if (error == 0 && inode != NULL && !inode_owned(inode)) {
    error = -EPERM;
  } else if (error == 0 && inode != NULL) {
    if (!in_group(inode->gid) && !capable(CAP_FSETID)) mode &= ~(u64)S_ISGID;
    inode->mode = (inode->mode & S_IFMT) | ((u32)mode & 07777);
    inode_changed(inode);
  }
  target_put(&t);
  return error;
}

i64 sys_chmod(const u64 *a) { return do_chmod((u64)AT_FDCWD, a[0], a[1], 0); }

i64 sys_fchmod(const u64 *a) { return open_file(a[0]) == NULL ? -EBADF : do_chmod(a[0], 0, a[1], AT_EMPTY_PATH); }

i64 sys_fchmodat(const u64 *a) { return do_chmod(a[0], a[1], a[2], 0); }

i64 sys_fchmodat2(const u64 *a) { return do_chmod(a[0], a[1], a[2], a[3]); }

/* Only root gives files away; who owns one may give it to a group of his. */
static i64 chown_denied(const struct inode *inode, u32 uid, u32 gid) {
  bool owner = user_ids.files == inode->uid;
  bool user = uid == ~0u || (owner && uid == inode->uid);
  bool group = gid == ~0u || (owner && (in_group(gid) || gid == inode->gid));
  return (user && group) || capable(CAP_CHOWN) ? 0 : -EPERM;
}

/* -1 leaves an id as it is. Changing the owner takes the set-id bits from programs. */
static i64 do_chown(u64 dirfd, u64 path, u64 uid, u64 gid, u64 flags) {
  struct target t;
  if (flags & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  i64 error = target_find(dirfd, path, flags, how_of(flags), &t);
  struct inode *inode = target_inode(&t);
  if (error == 0 && inode != NULL) error = chown_denied(inode, (u32)uid, (u32)gid);
  if (error == 0 && inode != NULL) {
    inode->uid = (u32)uid == ~0u ? inode->uid : (u32)uid;
    inode->gid = (u32)gid == ~0u ? inode->gid : (u32)gid;
    if (is_regular(inode) && (inode->mode & 0111)) inode->mode &= ~06000u;
    inode_changed(inode);
  }
  target_put(&t);
  return error;
}

i64 sys_chown(const u64 *a) { return do_chown((u64)AT_FDCWD, a[0], a[1], a[2], 0); }

i64 sys_lchown(const u64 *a) { return do_chown((u64)AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW); }

i64 sys_fchown(const u64 *a) { return open_file(a[0]) == NULL ? -EBADF : do_chown(a[0], 0, a[1], a[2], AT_EMPTY_PATH); }

i64 sys_fchownat(const u64 *a) { return do_chown(a[0], a[1], a[2], a[3], a[4]); }

i64 sys_umask(const u64 *a) {
  u32 old = fs_umask;
  fs_umask = (u32)a[0] & 0777;
  return old;
}

/* ---- Times ------------------------------------------------------------------------------------
 */

enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };

struct times {
  i64 atime_sec, atime_nsec, mtime_sec, mtime_nsec;
};
static const struct times now = {0, UTIME_NOW, 0, UTIME_NOW};

static u64 time_value(i64 sec, i64 nsec, u64 old) {
  if (nsec == UTIME_NOW) return clock_wall();
  return nsec == UTIME_OMIT ? old : (u64)sec * NS_PER_SEC + (u64)nsec;
}

static bool valid_nsec(i64 nsec) {
  return nsec == UTIME_NOW || nsec == UTIME_OMIT || (nsec >= 0 && nsec < (i64)NS_PER_SEC);
}

/* Whoever may write may say that it is now. */
static i64 times_denied(const struct inode *inode, const struct times *t) {
  if (inode_owned(inode) || (t->atime_nsec == UTIME_OMIT && t->mtime_nsec == UTIME_OMIT)) return 0;
  if (t->atime_nsec != UTIME_NOW || t->mtime_nsec != UTIME_NOW) return -EPERM;
  return inode_permission(inode, MAY_WRITE);
}

static i64 set_times(u64 dirfd, u64 path, u64 flags, const struct times *t) {
  struct target target;
  if (!valid_nsec(t->atime_nsec) || !valid_nsec(t->mtime_nsec)) return -EINVAL;
  i64 error = target_find(dirfd, path, flags, how_of(flags), &target);
  struct inode *inode = target_inode(&target);
  if (error == 0 && inode != NULL) error = times_denied(inode, t);
  if (error == 0 && inode != NULL) {
    inode->atime = time_value(t->atime_sec, t->atime_nsec, inode->atime);
    inode->mtime = time_value(t->mtime_sec, t->mtime_nsec, inode->mtime);
    inode_changed(inode);
  }
  target_put(&target);
  return error;
}

i64 sys_utimensat(const u64 *a) {
  struct times t = now;
  u64 flags = a[3];
  if (flags & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  if (a[1] == 0) { /* futimens: the descriptor itself */
    if (fd_get((int)a[0]) == NULL) return -EBADF;
    flags |= AT_EMPTY_PATH;
  }
  if (a[2] != 0 && !user_readable(a[2], sizeof(t))) return -EFAULT;
  if (a[2] != 0) memcpy(&t, (const void *)a[2], sizeof(t));
  return set_times(a[0], a[1], flags, &t);
}

/* Seconds and microseconds. */
static i64 set_timevals(u64 dirfd, u64 path, u64 address) {
  struct times t = now;
  if (address != 0 && !user_readable(address, sizeof(t))) return -EFAULT;
  if (address != 0) {
    memcpy(&t, (const void *)address, sizeof(t));
    if (t.atime_nsec < 0 || t.atime_nsec >= 1000000 || t.mtime_nsec < 0 || t.mtime_nsec >= 1000000) return -EINVAL;
    t.atime_nsec *= 1000;
    t.mtime_nsec *= 1000;
  }
  return set_times(dirfd, path, 0, &t);
}

i64 sys_utimes(const u64 *a) { return set_timevals((u64)AT_FDCWD, a[0], a[1]); }

i64 sys_futimesat(const u64 *a) { return set_timevals(a[0], a[1], a[2]); }

i64 sys_utime(const u64 *a) {
  const i64 *seconds = (const i64 *)a[1];
  if (a[1] != 0 && !user_readable(a[1], 2 * sizeof(*seconds))) return -EFAULT;
  struct times t = a[1] == 0 ? now : (struct times){seconds[0], 0, seconds[1], 0};
  return set_times((u64)AT_FDCWD, a[0], 0, &t);
}
