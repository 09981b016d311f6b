/* syscall/file.c: descriptors: opening, closing, duplicating. */
#include "path.h"
#include "syscall.h"

i64 target_find(u64 dirfd, u64 path, u64 flags, u32 how, struct target *out) {
  const char *name = "";
  i64 error = 0;
  *out = (struct target){0};
  if (path != 0 || !(flags & AT_EMPTY_PATH)) error = path_arg(path, &name);
  if (error != 0) return error;
  if (name[0] != '\0' || !(flags & AT_EMPTY_PATH)) {
    out->dentry = path_entry((int)dirfd, name, how, &error);
    return error;
  }
  if ((int)dirfd == AT_FDCWD) {
    out->dentry = dentry_get(cwd_dentry());
    return 0;
  }
  struct file *f = fd_get((int)dirfd);
  if (f == NULL) return -EBADF;
  out->dentry = file_dentry(f);
  if (out->dentry != NULL) dentry_get(out->dentry);
  else out->file = f;
  return 0;
}

void target_put(struct target *t) { dentry_put(t->dentry); }

static i64 do_open(int dirfd, u64 path, u64 flags, u64 mode, u32 resolve) {
  const char *name;
  i64 error = path_arg(path, &name);
  struct file *f = error != 0 ? NULL : open_at(dirfd, name, (u32)flags, (u32)mode, resolve, &error);
  return f == NULL ? error : fd_install(f, 0, flags & O_CLOEXEC);
}

i64 sys_open(const u64 *a) { return do_open(AT_FDCWD, a[0], a[1], a[2], 0); }

i64 sys_openat(const u64 *a) { return do_open((int)a[0], a[1], a[2], a[3], 0); }

i64 sys_creat(const u64 *a) { return do_open(AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1], 0); }

struct open_how { /* openat2(2), its first version */
  u64 flags, mode, resolve;
};

static i64 check_how(const struct open_how *how) {
  enum { FLAGS = 037777703, MODES = 07777, RESOLVE = 0x1f, BENEATH = 8, IN_ROOT = 16 };
  bool creates = how->flags & O_CREAT || (how->flags & O_TMPFILE) == O_TMPFILE;
  if ((how->flags & ~(u64)FLAGS) || (how->resolve & ~(u64)RESOLVE)) return -EINVAL;
  if (how->mode & ~(u64)MODES || (how->mode != 0 && !creates)) return -EINVAL;
  bool path = how->flags & O_PATH;
  if (path && (how->flags & ~(u64)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))) return -EINVAL;
  return (how->resolve & BENEATH) && (how->resolve & IN_ROOT) ? -EINVAL : 0;
}

/* RESOLVE_* in the order of the WALK_* bits. */
i64 sys_openat2(const u64 *a) {
  enum { RESOLVE_SHIFT = 3 };
  _Static_assert(WALK_ONE_DEVICE == 1 << RESOLVE_SHIFT && WALK_IN_ROOT == 16 << RESOLVE_SHIFT, "RESOLVE_*");
  if (a[3] < sizeof(struct open_how)) return -EINVAL;
  if (a[3] > PAGE) return -E2BIG;
  if (!user_readable(a[2], a[3])) return -EFAULT;
  for (u64 i = sizeof(struct open_how); i < a[3]; i++)
    if (((const u8 *)a[2])[i] != 0) return -E2BIG;
  struct open_how how = *(const struct open_how *)a[2];
  i64 error = check_how(&how);
  return error != 0 ? error : do_open((int)a[0], a[1], how.flags, how.mode, (u32)how.resolve << RESOLVE_SHIFT);
}

i64 sys_close(const u64 *a) { return fd_close((int)a[0]); }

i64 sys_close_range(const u64 *a) {
  enum { CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4 };
  u32 first = (u32)a[0], last = (u32)a[1];
  if (first > last || (a[2] & ~(u64)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))) return -EINVAL;
  if (first >= FD_MAX) return 0;
  for (int fd = fd_next((int)first); fd >= 0 && (u32)fd <= last; fd = fd_next(fd + 1)) {
    if (a[2] & CLOSE_RANGE_CLOEXEC) fd_set_cloexec(fd, true);
    else fd_close(fd);
  }
  return 0;
}

i64 sys_dup(const u64 *a) {
  struct file *f = fd_get((int)a[0]);
  if (f == NULL) return -EBADF;
  file_ref(f);
  return fd_install(f, 0, false);
}

static i64 do_dup(u64 from, u64 to, bool cloexec) {
  struct file *f = fd_get((int)from);
  if (f == NULL) return -EBADF;
  file_ref(f);
  return fd_replace((int)to, f, cloexec);
}

i64 sys_dup2(const u64 *a) {
  if ((int)a[0] == (int)a[1]) return fd_get((int)a[0]) == NULL ? -EBADF : (int)a[0];
  return do_dup(a[0], a[1], false);
}

i64 sys_dup3(const u64 *a) {
  if ((int)a[0] == (int)a[1] || (a[2] & ~(u64)O_CLOEXEC)) return -EINVAL;
  return do_dup(a[0], a[1], a[2] & O_CLOEXEC);
}

static i64 do_pipe(u64 address, u64 flags) {
  struct file *ends[2];
  int *fds = (int *)address;
  enum { O_DIRECT = 040000 };
  if (flags & ~(u64)(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) return -EINVAL;
  if (!user_writable(address, 2 * sizeof(*fds))) return -EFAULT;
  i64 error = pipe_new((u32)flags, ends);
  if (error != 0) return error;
  int reader = fd_install(ends[0], 0, flags & O_CLOEXEC);
  if (reader < 0) {
    file_put(ends[1]);
    return reader;
  }
  int writer = fd_install(ends[1], 0, flags & O_CLOEXEC);
  if (writer < 0) {
    fd_close(reader);
    return writer;
  }
  fds[0] = reader;
  fds[1] = writer;
  return 0;
}

i64 sys_pipe(const u64 *a) { return do_pipe(a[0], 0); }

i64 sys_pipe2(const u64 *a) { return do_pipe(a[0], a[1]); }

i64 sys_memfd_create(const u64 *a) {
  enum { MFD_CLOEXEC = 1, MFD_KNOWN = 0x1f, NAME_LIMIT = 249 };
  char name[NAME_MAX + 1];
  ssize_t n = user_strlen(a[0], NAME_LIMIT);
  i64 error;
  if (n < 0) return n == -ENAMETOOLONG ? -EINVAL : n;
  if (a[1] & ~(u64)MFD_KNOWN) return -EINVAL;
  snprint(name, sizeof(name), "/memfd:%s", (const char *)a[0]);
  struct file *f = open_anonymous(DEV_ANONYMOUS, name, O_RDWR, 0777, &error);
  return f == NULL ? error : fd_install(f, 0, a[1] & MFD_CLOEXEC);
}

static i64 do_inotify(u64 flags) {
  if (flags & ~(u64)(O_CLOEXEC | O_NONBLOCK)) return -EINVAL;
  struct file *f = inotify_new((u32)flags);
  return f == NULL ? -ENOMEM : fd_install(f, 0, flags & O_CLOEXEC);
}

i64 sys_inotify_init(const u64 *a) { return do_inotify(0); }

i64 sys_inotify_init1(const u64 *a) { return do_inotify(a[0]); }

i64 sys_inotify_add_watch(const u64 *a) {
  struct target t;
  struct file *f = open_file(a[0]);
  if (f == NULL) return -EBADF;
  i64 error = target_find((u64)AT_FDCWD, a[1], 0, WALK_FOLLOW, &t);
  if (error != 0) return error;
  target_put(&t);
  return inotify_watch(f);
}

i64 sys_inotify_rm_watch(const u64 *a) { return open_file(a[0]) == NULL ? -EBADF : 0; }
