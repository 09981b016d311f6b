/* syscall/copy.c: from file to file within the kernel. */
#include "path.h"
#include "syscall.h"

/* Up to n bytes at pos: where they lie, if they lie in memory, or read into page. */
static ssize_t next_bytes(struct file *in, off_t pos, u64 n, void *page, const void **bytes) {
  u64 size = in->inode->size, part = (u64)pos >= size ? 0 : MIN(n, MIN(size - (u64)pos, 16 * PAGE));
  *bytes = in->ops->data == NULL ? NULL : in->ops->data(in, (u64)pos, part);
  if (*bytes != NULL) return (ssize_t)part;
  *bytes = page;
  return in->ops->read(in, page, MIN(n, PAGE), &pos);
}

/* The positions advance by what was written. */
static i64 copy(struct file *in, off_t *from, struct file *out, off_t *to, u64 n) {
  void *page = page_alloc(0);
  i64 done = 0, error = page == NULL ? -ENOMEM : 0;
  file_ref(in);
  file_ref(out);
  while (error == 0 && (u64)done < n) {
    const void *bytes;
    ssize_t got = next_bytes(in, *from, n - (u64)done, page, &bytes);
    ssize_t put = got <= 0 ? got : out->ops->write(out, bytes, (size_t)got, to);
    error = MIN(put, 0);
    done += MAX(put, 0);
    *from += MAX(put, 0);
    if (put <= 0 || put < got) break;
  }
  file_put(in);
  file_put(out);
  if (page != NULL) page_free(page, 0);
  return done > 0 ? done : error;
}

static bool copyable(const struct file *in) {
  return in->inode != NULL && is_regular(in->inode) && in->ops->read != NULL;
}

/* A position argument: a copy of the user's variable, or the file's own when there is none. */
struct position {
  off_t *at, copy;
  u64 user;
};

static i64 position_read(u64 address, struct file *f, struct position *p) {
  *p = (struct position){.at = address == 0 ? &f->pos : &p->copy, .user = address};
  if (address != 0 && !user_writable(address, sizeof(off_t))) return -EFAULT;
  if (address != 0) p->copy = *(const off_t *)address;
  return *p->at < 0 ? -EINVAL : 0;
}

/* The call's result. It may have slept, so the variable is looked at again. */
static i64 position_write(const struct position *p, i64 result) {
  if (p->user == 0 || result < 0) return result;
  if (!user_writable(p->user, sizeof(off_t))) return -EFAULT;
  *(off_t *)p->user = p->copy;
  return result;
}

i64 sys_sendfile(const u64 *a) {
  struct file *out = file_for(a[0], write_file), *in = file_for(a[1], read_file);
  struct position from;
  if (in == NULL || out == NULL) return -EBADF;
  if (!copyable(in) || out->ops->write == NULL) return -EINVAL;
  i64 error = position_read(a[2], in, &from);
  if (error != 0) return error;
  return position_write(&from, copy(in, from.at, out, &out->pos, MIN(a[3], TRANSFER_MAX)));
}

static i64 check_copy(const struct file *in, const struct file *out, off_t from, off_t to, u64 n) {
  if ((in->inode != NULL && is_dir(in->inode)) || (out->inode != NULL && is_dir(out->inode))) return -EISDIR;
  if (!copyable(in) || !copyable(out)) return -EINVAL;
  if (out->flags & O_APPEND) return -EBADF;
  bool overlap = in->inode == out->inode && (u64)from < (u64)to + n && (u64)to < (u64)from + n;
  return overlap ? -EINVAL : 0;
}

i64 sys_copy_file_range(const u64 *a) {
  struct file *in = file_for(a[0], read_file), *out = file_for(a[2], write_file);
  struct position from, to;
  u64 n = MIN(a[4], TRANSFER_MAX);
  if (in == NULL || out == NULL) return -EBADF;
  i64 error = a[5] != 0 ? -EINVAL : position_read(a[1], in, &from);
  if (error == 0) error = position_read(a[3], out, &to);
  if (error == 0) error = check_copy(in, out, *from.at, *to.at, n);
  if (error != 0) return error;
  return position_write(&to, position_write(&from, copy(in, from.at, out, to.at, n)));
}

/* ---- Pipes ----------------------------------------------------------------------------------- */

enum { SPLICE_NONBLOCK = 2, SPLICE_KNOWN = 15 };

/* One round of splice: at most a page, so that nothing is taken that cannot be given. */
static ssize_t splice_page(struct file *in, off_t *from, struct file *out, off_t *to, size_t n, void *page,
                           bool nonblock) {
  if (pipe_end(out) == PIPE_WRITE_END) {
    ssize_t fits = pipe_wait_room(out, nonblock);
    if (fits < 0) return fits;
    n = MIN(n, (size_t)fits);
  }
  if (pipe_end(in) == PIPE_READ_END) {
    ssize_t there = pipe_wait_data(in, nonblock);
    if (there <= 0) return there;
    ssize_t put = out->ops->write(out, page, pipe_peek(in, page, n), to);
    if (put > 0) pipe_discard(in, (size_t)put);
    return put;
  }
  ssize_t got = in->ops->read(in, page, n, from);
  return got <= 0 ? got : out->ops->write(out, page, (size_t)got, to);
}

/* Whether a further round would have to wait: a call that moved something does not. */
static bool splice_waits(struct file *in) { return in->ops->poll != NULL && !(in->ops->poll(in) & POLLIN); }

static i64 splice(struct file *in, off_t *from, struct file *out, off_t *to, u64 n, bool nonblock) {
  void *page = page_alloc(0);
  i64 done = 0, moved = page == NULL ? -ENOMEM : 0;
  file_ref(in);
  file_ref(out);
  while (page != NULL && (u64)done < n && (done == 0 || !splice_waits(in))) {
    moved = splice_page(in, from, out, to, MIN(n - (u64)done, PAGE), page, nonblock || done > 0);
    if (moved <= 0) break;
    done += moved;
  }
  file_put(in);
  file_put(out);
  if (page != NULL) page_free(page, 0);
  return done > 0 ? done : moved;
}

/* Pipes have no positions. */
static i64 splice_position(u64 address, struct file *f, struct position *p) {
  if (address != 0 && pipe_end(f) != PIPE_NEITHER) return -ESPIPE;
  if (address != 0 && !seekable(f)) return -EINVAL;
  return position_read(address, f, p);
}

i64 sys_splice(const u64 *a) {
  struct position from, to;
  if (a[4] == 0) return 0;
  if (a[5] & ~(u64)SPLICE_KNOWN) return -EINVAL;
  struct file *in = file_for(a[0], read_file), *out = file_for(a[2], write_file);
  if (in == NULL || out == NULL) return -EBADF;
  if (pipe_end(in) == PIPE_NEITHER && pipe_end(out) == PIPE_NEITHER) return -EINVAL;
  i64 error = splice_position(a[1], in, &from);
  if (error == 0) error = splice_position(a[3], out, &to);
  if (error != 0) return error;
  bool pipes = pipe_end(in) != PIPE_NEITHER && pipe_end(out) != PIPE_NEITHER;
  if ((pipes && pipe_same(in, out)) || (out->flags & O_APPEND) || in->ops->read == NULL || out->ops->write == NULL)
    return -EINVAL;
  i64 result = splice(in, from.at, out, to.at, MIN(a[4], TRANSFER_MAX), a[5] & SPLICE_NONBLOCK);
  return position_write(&to, position_write(&from, result));
}

i64 sys_tee(const u64 *a) {
  if (a[3] & ~(u64)SPLICE_KNOWN) return -EINVAL;
  if (a[2] == 0) return 0;
  struct file *in = file_for(a[0], read_file), *out = file_for(a[1], write_file);
  if (in == NULL || out == NULL) return -EBADF;
  bool pipes = pipe_end(in) == PIPE_READ_END && pipe_end(out) == PIPE_WRITE_END;
  if (!pipes || pipe_same(in, out)) return -EINVAL;
  void *page = page_alloc(0);
  if (page == NULL) return -ENOMEM;
  file_ref(in);
  file_ref(out);
  bool nonblock = a[3] & SPLICE_NONBLOCK;
  i64 fits = pipe_wait_room(out, nonblock), result = fits < 0 ? fits : pipe_wait_data(in, nonblock);
  off_t none = 0;
  if (result > 0) result = out->ops->write(out, page, pipe_peek(in, page, MIN(MIN(a[2], (u64)fits), PAGE)), &none);
  file_put(in);
  file_put(out);
  page_free(page, 0);
  return result;
}

/* The program's memory is copied: a gift of pages would save nothing here. */
i64 sys_vmsplice(const u64 *a) {
  if (a[3] & ~(u64)SPLICE_KNOWN) return -EINVAL;
  struct file *f = open_file(a[0]);
  if (f == NULL || pipe_end(f) == PIPE_NEITHER) return -EBADF;
  return pipe_end(f) == PIPE_WRITE_END ? sys_writev(a) : sys_readv(a);
}
