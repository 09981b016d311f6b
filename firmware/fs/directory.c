/* fs/directory.c: looking names up, and listing them. */
#include "inode.h"

struct dentry *directory_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  struct inode *inode = dir->inode;
  if (!is_dir(inode)) {
    *error = -ENOTDIR;
    return NULL;
  }
  *error = -ENOENT;
  struct dentry *d = dentry_find(inode, name, n);
  if (d != NULL) return d->inode == NULL ? NULL : dentry_get(d);
  return inode->ops->lookup == NULL ? NULL : inode->ops->lookup(dir, name, n, error);
}

bool listing_add(struct listing *l, const char *name, size_t n, u64 ino, u32 mode) {
  struct __attribute__((packed)) {
    u64 ino;
    i64 next;
    u16 size;
    u8 type;
  } record;
  _Static_assert(sizeof(record) == 19, "linux_dirent64");
  static const char zeroes[8];
  l->found = true;
  if (l->text == NULL) return false;
  u64 size = ALIGN_UP(sizeof(record) + n + 1, 8);
  record.ino = ino;
  record.next = (i64)(l->text->size + size);
  record.size = (u16)size;
  record.type = (u8)(mode >> 12 & 15);
  text_add(l->text, &record, sizeof(record));
  text_add(l->text, name, n);
  text_add(l->text, zeroes, size - sizeof(record) - n);
  return !l->text->failed;
}

static i64 list_names(struct inode *dir, struct listing *l) {
  LIST_EACH(&dir->dir.children, item) {
    const struct dentry *d = CONTAINER(item, struct dentry, siblings);
    if (d->inode != NULL && !listing_add(l, d->name, d->name_size, d->inode->ino, d->inode->mode)) return 0;
  }
  return dir->ops->list == NULL ? 0 : dir->ops->list(dir, l);
}

bool directory_empty(struct inode *dir) {
  struct listing l = {0};
  return list_names(dir, &l) == 0 && !l.found;
}

/* The listing is made when reading starts (and again after a rewind), so that names which come and
 * go meanwhile cannot be told twice or shift others. */
static i64 make_listing(struct opening *o) {
  struct dentry *d = o->dentry;
  struct listing l = {.text = &o->text};
  if (d->inode->nlink == 0) return -ENOENT;
  o->text.size = 0;
  listing_add(&l, ".", 1, d->inode->ino, S_IFDIR);
  listing_add(&l, "..", 2, d->parent->inode->ino, S_IFDIR);
  i64 error = list_names(d->inode, &l);
  if (error == 0 && o->text.failed) error = -ENOMEM;
  o->text.failed = false;
  if (error != 0) o->text.size = 0;
  return error;
}

ssize_t directory_getdents(struct file *f, void *buf, size_t n) {
  struct opening *o = f->state;
  if (f->pos == 0 || o->text.size == 0) {
    i64 error = make_listing(o);
    if (error != 0) return error;
  }
  u64 start = (u64)f->pos, end = start;
  if (start >= o->text.size) return 0;
  while (end < o->text.size) {
    u16 size;
    if (o->text.size - end < 19) break; /* a position that no record starts at */
    memcpy(&size, o->text.data + end + 16, sizeof(size));
    if (size < 19 || size > o->text.size - end || end + size - start > n) break;
    end += size;
  }
  if (end == start) return -EINVAL;
  memcpy(buf, o->text.data + start, end - start);
  f->pos = (off_t)end;
  return (ssize_t)(end - start);
}
