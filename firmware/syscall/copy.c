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

/* A position argument: the user's variable, or the file's own when it is NULL. */
static i64 position_arg(u64 address, struct file *f, off_t **pos) {
  *pos = address == 0 ? &f->pos : (off_t *)address;
  if (address != 0 && !user_writable(address, sizeof(off_t))) return -EFAULT;
  return **pos < 0 ? -EINVAL : 0;
}

i64 sys_sendfile(const u64 *a) {
  struct file *out = file_for(a[0], write_file), *in = file_for(a[1], read_file);
  off_t *pos;
  if (in == NULL || out == NULL) return -EBADF;
  if (!copyable(in) || out->ops->write == NULL) return -EINVAL;
  i64 error = position_arg(a[2], in, &pos);
  return error != 0 ? error : copy(in, pos, out, &out->pos, MIN(a[3], TRANSFER_MAX));
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
  off_t *from, *to;
  u64 n = MIN(a[4], TRANSFER_MAX);
  if (in == NULL || out == NULL) return -EBADF;
  i64 error = a[5] != 0 ? -EINVAL : position_arg(a[1], in, &from);
  if (error == 0) error = position_arg(a[3], out, &to);
  if (error == 0) error = check_copy(in, out, *from, *to, n);
  return error != 0 ? error : copy(in, from, out, to, n);
}
