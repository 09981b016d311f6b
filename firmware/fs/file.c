/* fs/file.c: open files, counted. */
#include "inode.h"

struct file *file_new(const struct file_ops *ops, void *state, u32 flags, const char *kind) {
  struct file *f = kzalloc(sizeof(*f));
  if (f == NULL) return NULL;
  f->refs = 1;
  f->flags = flags;
  f->ops = ops;
  f->state = state;
  f->kind = kind;
  return f;
}

void file_ref(struct file *f) { f->refs++; }

static void close_opening(struct file *f) {
  struct opening *o = f->state;
  inode_put(f->inode);
  dentry_put(o->dentry);
  kfree(o->text.data);
  kfree(o);
}

void file_put(struct file *f) {
  if (f == NULL || --f->refs > 0) return;
  epoll_forget(f);
  locks_file_closed(f);
  if (f->ops->close != NULL) f->ops->close(f);
  if (f->inode != NULL) close_opening(f);
  kfree(f);
}
