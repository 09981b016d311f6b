/* fs/entries.c: adding names to directories, removing them, moving them. */
#include "inode.h"

static i64 may_change(const struct dentry *dir) {
  if (dir->inode->ops->frozen) return -EPERM;
  return dir->hashed || dir == root_dentry ? 0 : -ENOENT; /* a removed directory takes no names */
}

/* Merged directories have link count 1, "not counted", as in Linux's overlay file system. */
static void count_subdir(struct dentry *dir, const struct inode *child, int by) {
  if (is_dir(child) && dir->inode->nlink >= 2) dir->inode->nlink += (u32)by;
  inode_modified(dir->inode);
}

/* Makes room for a new dentry: drops the whiteout, if that is what is there. */
static void drop_whiteout(struct inode *dir, const char *name, size_t n) {
  struct dentry *d = dentry_find(dir, name, n);
  if (d != NULL && d->inode == NULL) dentry_detach(d);
}

i64 directory_add(struct dentry *dir, const char *name, size_t n, struct inode *inode) {
  i64 error = dir->inode->ops->frozen ? -ENOENT : may_change(dir); /* as Linux's /proc says */
  if (error != 0) return error;
  struct dentry *d = dentry_new(dir, name, n, inode_get(inode));
  if (d == NULL) return -ENOMEM;
  drop_whiteout(dir->inode, name, n);
  dentry_attach(d);
  count_subdir(dir, inode, 1);
  dentry_put(d);
  return 0;
}

/* The dentry that must stay behind when a name goes that a layer still has: NULL if none is needed.
 */
static i64 make_whiteout(const struct dentry *entry, struct dentry **out) {
  *out = NULL;
  if (!layers_have(entry->parent->inode, entry->name, entry->name_size)) return 0;
  *out = dentry_new(entry->parent, entry->name, entry->name_size, NULL);
  return *out == NULL ? -ENOMEM : 0;
}

static void leave_whiteout(struct dentry *whiteout) {
  if (whiteout == NULL) return;
  dentry_attach(whiteout);
  dentry_put(whiteout);
}

/* A removed directory forgets its layers and whiteouts, so that nothing can appear in it again. */
static void close_directory(struct inode *dir) {
  LIST_EACH(&dir->dir.children, item)
  dentry_detach(CONTAINER(item, struct dentry, siblings));
  kfree(dir->dir.sources);
  dir->dir.sources = NULL;
  dir->dir.source_count = 0;
  dir->nlink = 0;
}

static i64 may_leave(const struct dentry *entry) {
  i64 error = may_change(entry->parent);
  if (error != 0) return error;
  return entry->parent->inode->dev != entry->inode->dev && is_dir(entry->inode) ? -EBUSY : 0;
}

static void forget(struct dentry *entry) {
  struct inode *inode = entry->inode;
  count_subdir(entry->parent, inode, -1);
  inode_changed(inode);
  if (is_dir(inode)) close_directory(inode);
  else if (--inode->nlink == 0) layers_drop_shared(inode);
  dentry_detach(entry);
}

i64 directory_remove(struct dentry *entry) {
  i64 error = may_leave(entry);
  struct dentry *whiteout;
  if (error == 0 && is_dir(entry->inode) && !directory_empty(entry->inode)) error = -ENOTEMPTY;
  if (error == 0) error = make_whiteout(entry, &whiteout);
  if (error != 0) return error;
  forget(entry);
  leave_whiteout(whiteout);
  return 0;
}

static i64 may_replace(const struct dentry *entry, const struct dentry *old) {
  if (is_dir(old->inode) && !is_dir(entry->inode)) return -EISDIR;
  if (!is_dir(old->inode) && is_dir(entry->inode)) return -ENOTDIR;
  i64 error = may_leave(old);
  if (error != 0) return error;
  return is_dir(old->inode) && !directory_empty(old->inode) ? -ENOTEMPTY : 0;
}

i64 directory_rename(struct dentry *entry, struct dentry *dir, const char *name, size_t n, struct dentry *old) {
  if (dir->inode->dev != entry->inode->dev || dir->inode->dev != entry->parent->inode->dev) return -EXDEV;
  if (dentry_within(dir, entry)) return -EINVAL;
  if (old != NULL && old->inode == entry->inode) return 0;
  if (old != NULL && dentry_within(entry, old)) return -ENOTEMPTY;
  i64 error = may_change(dir);
  struct dentry *whiteout;
  if (error == 0) error = may_leave(entry);
  if (error == 0 && old != NULL) error = may_replace(entry, old);
  if (error == 0) error = make_whiteout(entry, &whiteout);
  if (error != 0) return error;

  struct dentry *parent = dentry_get(entry->parent);
  dentry_get(entry); /* the caller's name may be the old one: it must outlive the change */
  dentry_detach(entry);
  if (!dentry_set_name(entry, name, n)) {
    dentry_attach(entry);
    dentry_put(whiteout);
    error = -ENOMEM;
  } else {
    if (old != NULL) forget(old);
    drop_whiteout(dir->inode, name, n);
    dentry_set_parent(entry, dir);
    dentry_attach(entry);
    leave_whiteout(whiteout);
    count_subdir(parent, entry->inode, -1);
    count_subdir(dir, entry->inode, 1);
    inode_changed(entry->inode);
  }
  dentry_put(entry);
  dentry_put(parent);
  return error;
}

/* Two names trade what they stand for; a directory takes its parent along. */
i64 directory_exchange(struct dentry *a, struct dentry *b) {
  if (a->inode->dev != b->inode->dev || a->parent->inode->dev != b->parent->inode->dev) return -EXDEV;
  if (a->inode == b->inode) return 0;
  if (dentry_within(a, b) || dentry_within(b, a)) return -EINVAL;
  i64 error = may_leave(a);
  if (error == 0) error = may_leave(b);
  if (error != 0) return error;
  struct dentry *a_dir = dentry_get(a->parent), *b_dir = dentry_get(b->parent);
  dentry_get(a);
  dentry_get(b);
  dentry_detach(a);
  dentry_detach(b);
  char *name = a->name;
  u8 name_size = a->name_size;
  a->name = b->name;
  a->name_size = b->name_size;
  b->name = name;
  b->name_size = name_size;
  dentry_set_parent(a, b_dir);
  dentry_set_parent(b, a_dir);
  dentry_attach(a);
  dentry_attach(b);
  count_subdir(a_dir, a->inode, -1);
  count_subdir(b_dir, a->inode, 1);
  count_subdir(b_dir, b->inode, -1);
  count_subdir(a_dir, b->inode, 1);
  dentry_put(a);
  dentry_put(b);
  dentry_put(a_dir);
  dentry_put(b_dir);
  return 0;
}
