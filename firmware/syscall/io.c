/* syscall/io.c: reading and writing. */
#include "path.h"
#include "syscall.h"

enum { VECTORS_ON_STACK = 8 };

bool seekable(const struct file *f) {
  u32 type = f->inode == NULL ? 0 : f->inode->mode & S_IFMT;
  return type == S_IFREG || type == S_IFDIR || type == S_IFCHR;
}

/* Files without an inode (pipes, sockets ...) say what they cannot do by a missing operation. */
bool open_for_reading(const struct file *f) {
  return (f->flags & O_ACCMODE) != O_WRONLY || (f->inode == NULL && f->ops->read != NULL);
}

bool open_for_writing(const struct file *f) {
  return (f->flags & O_ACCMODE) != O_RDONLY || (f->inode == NULL && f->ops->write != NULL);
}

/* Programs may pass a buffer shorter than n when they know that the file is short. */
static u64 bytes_to_come(const struct file *f, u64 n, off_t pos) {
  if (f->inode == NULL || f->inode->ops != &regular_ops) return n;
  return (u64)pos >= f->inode->size ? 0 : MIN(n, f->inode->size - (u64)pos);
}

i64 read_file(struct file *f, u64 buf, u64 n, off_t *pos) {
  if (f->ops->read == NULL) return -EINVAL;
  n = bytes_to_come(f, MIN(n, TRANSFER_MAX), *pos);
  if (!user_writable(buf, n)) return -EFAULT;
  current->held = &(struct held){&(struct span){(u8 *)buf, n}, 1, true};
  i64 result = f->ops->read(f, (void *)buf, n, pos);
  current->held = NULL;
  return result;
}

i64 write_file(struct file *f, u64 buf, u64 n, off_t *pos) {
  if (f->ops->write == NULL) return -EINVAL;
  n = MIN(n, TRANSFER_MAX);
  if (!user_readable(buf, n)) return -EFAULT;
  current->held = &(struct held){&(struct span){(u8 *)buf, n}, 1, false};
  i64 result = f->ops->write(f, (const void *)buf, n, pos);
  current->held = NULL;
  return result;
}

struct file *file_for(u64 fd, transfer_fn *fn) {
  struct file *f = open_file(fd);
  if (f == NULL || !(fn == read_file ? open_for_reading(f) : open_for_writing(f))) return NULL;
  return f;
}

/* At the file's own position. A transfer may sleep, so the file is held. */
static i64 transfer(u64 fd, u64 buf, u64 n, transfer_fn *fn) {
  struct file *f = file_for(fd, fn);
  if (f == NULL) return -EBADF;
  file_ref(f);
  i64 result = fn(f, buf, n, &f->pos);
  file_put(f);
  return result;
}

static i64 transfer_at(u64 fd, u64 buf, u64 n, u64 offset, transfer_fn *fn) {
  off_t pos = (off_t)offset;
  if (pos < 0) return -EINVAL;
  struct file *f = file_for(fd, fn);
  if (f == NULL) return -EBADF;
  if (!seekable(f)) return -ESPIPE;
  file_ref(f);
  i64 result = fn(f, buf, n, &pos);
  file_put(f);
  return result;
}

i64 sys_read(const u64 *a) { return transfer(a[0], a[1], a[2], read_file); }

i64 sys_write(const u64 *a) { return transfer(a[0], a[1], a[2], write_file); }

i64 sys_pread64(const u64 *a) { return transfer_at(a[0], a[1], a[2], a[3], read_file); }

i64 sys_pwrite64(const u64 *a) { return transfer_at(a[0], a[1], a[2], a[3], write_file); }

/* ---- Vectors -------------------------------------------------------------------------------- */

static i64 check_vectors(const struct iovec *v, u64 count) {
  u64 total = 0;
  for (u64 i = 0; i < count; i++) {
    if (v[i].size > FILE_SIZE_MAX - total) return -EINVAL;
    total += v[i].size;
  }
  return 0;
}

/* A reader that already has something must not sleep for the next buffer. */
static bool would_sleep(struct file *f, transfer_fn *fn) {
  return fn == read_file && f->ops->poll != NULL && !(f->ops->poll(f) & (POLLIN | POLLHUP | POLLERR));
}

static i64 transfer_each(struct file *f, const struct iovec *v, u64 count, off_t *pos, transfer_fn *fn) {
  i64 done = check_vectors(v, count);
  if (done != 0) return done;
  file_ref(f);
  for (u64 i = 0; i < count && (u64)done < TRANSFER_MAX; i++) {
    u64 size = MIN(v[i].size, TRANSFER_MAX - (u64)done);
    if (size == 0) continue;
    if (done > 0 && would_sleep(f, fn)) break;
    i64 part = fn(f, v[i].base, size, pos);
    if (part < 0 && done == 0) done = part;
    if (part < 0) break;
    done += part;
    if ((u64)part < size) break;
  }
  file_put(f);
  return done;
}

/* Works on a copy: the program's other threads may change or unmap the vectors while this one sleeps. */
static i64 transfer_vectors(struct file *f, u64 address, u64 count, off_t *pos, transfer_fn *fn) {
  struct iovec few[VECTORS_ON_STACK], *v = few;
  if (count > IOV_MAX) return -EINVAL;
  if (!user_readable(address, count * sizeof *v)) return -EFAULT;
  if (count > VECTORS_ON_STACK && (v = kmalloc(count * sizeof *v)) == NULL) return -ENOMEM;
  memcpy(v, (const void *)address, count * sizeof *v);
  i64 result = transfer_each(f, v, count, pos, fn);
  if (v != few) kfree(v);
  return result;
}

static i64 vectored(const u64 *a, transfer_fn *fn) {
  struct file *f = file_for(a[0], fn);
  return f == NULL ? -EBADF : transfer_vectors(f, a[1], (u32)a[2], &f->pos, fn);
}

static i64 vectored_at(const u64 *a, transfer_fn *fn) {
  off_t pos = (off_t)a[3];
  if (pos < 0) return -EINVAL;
  struct file *f = file_for(a[0], fn);
  if (f == NULL) return -EBADF;
  return seekable(f) ? transfer_vectors(f, a[1], (u32)a[2], &pos, fn) : -ESPIPE;
}

/* preadv2 and pwritev2: position -1 is the file's own. Files are memory, so the flags about waiting for a disk say
 * nothing; NOWAIT and APPEND are as if the file had been opened so. */
static i64 vectored_at2(const u64 *a, transfer_fn *fn) {
  enum { RWF_HIPRI = 1, RWF_DSYNC = 2, RWF_SYNC = 4, RWF_NOWAIT = 8, RWF_APPEND = 16 };
  u32 flags = (u32)a[5];
  if (flags & ~(u32)(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND)) return -EOPNOTSUPP;
  if (flags & RWF_APPEND && fn == read_file) return -EOPNOTSUPP;
  struct file *f = file_for(a[0], fn);
  if (f == NULL) return -EBADF;
  u32 added = (flags & RWF_NOWAIT ? O_NONBLOCK : 0) | (flags & RWF_APPEND ? O_APPEND : 0), own = f->flags & added;
  file_ref(f);
  f->flags |= added;
  i64 result = a[3] == ~0ull ? vectored(a, fn) : vectored_at(a, fn);
  f->flags = (f->flags & ~added) | own;
  file_put(f);
  return result;
}

i64 sys_readv(const u64 *a) { return vectored(a, read_file); }

i64 sys_writev(const u64 *a) { return vectored(a, write_file); }

i64 sys_preadv(const u64 *a) { return vectored_at(a, read_file); }

i64 sys_pwritev(const u64 *a) { return vectored_at(a, write_file); }

i64 sys_preadv2(const u64 *a) { return vectored_at2(a, read_file); }

i64 sys_pwritev2(const u64 *a) { return vectored_at2(a, write_file); }
