/* syscall/path.h: what the system calls on files share. */
#pragma once
#include "../fs/inode.h"
#include "mm.h"

/* A path argument, checked. */
static inline i64 path_arg(u64 address, const char **path) {
  ssize_t n = user_strlen(address, PATH_MAX - 1);
  *path = (const char *)address;
  return n < 0 ? n : 0;
}

/* The file of a descriptor that is open for real (not O_PATH), or NULL = EBADF. */
static inline struct file *open_file(u64 fd) {
  struct file *f = fd_get((int)fd);
  return f == NULL || (f->flags & O_PATH) ? NULL : f;
}

enum { AT_SYMLINK_FOLLOW = 0x400, AT_NO_AUTOMOUNT = 0x800, AT_STATX_SYNC = 0x6000 };

/* What a call of the *at family means by (dirfd, path, flags): a dentry (a reference), or with
 * AT_EMPTY_PATH the descriptor's own file. Exactly one of the two is set on success. */
struct target {
  struct dentry *dentry;
  struct file *file; /* borrowed: a file without a name, like a pipe */
};
i64 target_find(u64 dirfd, u64 path, u64 flags, u32 how, struct target *out);
void target_put(struct target *t);
/* The inode, NULL for a file without one. */
static inline struct inode *target_inode(const struct target *t) { return t->dentry != NULL ? t->dentry->inode : NULL; }

/* syscall/lock.c: fcntl's, of the struct flock at address */
i64 fcntl_lock_ask(struct file *f, u64 address, bool open_file);
i64 fcntl_lock_set(u64 fd, u64 address, bool open_file, bool wait);

/* syscall/io.c */
#define TRANSFER_MAX 0x7ffff000ull /* Linux moves no more in one call */
typedef i64 transfer_fn(struct file *f, u64 buf, u64 n, off_t *pos);
transfer_fn read_file, write_file;
struct file *file_for(u64 fd, transfer_fn *fn); /* open for that; NULL = EBADF */
bool seekable(const struct file *f);
bool open_for_reading(const struct file *f);
bool open_for_writing(const struct file *f);
