/* fs/xattr.c: extended attributes: bytes under a name, kept with the inode. Those of images are not read. */
#include "inode.h"

struct xattr {
  struct list link;
  size_t name_size, size; /* the name without its NUL */
  char bytes[];           /* the name, a NUL, the value */
};

static const u8 *value_of(const struct xattr *x) { return (const u8 *)x->bytes + x->name_size + 1; }

static struct xattr *find(const struct inode *inode, const char *name) {
  if (!list_linked(&inode->xattrs)) return NULL;
  LIST_EACH(&inode->xattrs, item) {
    struct xattr *x = CONTAINER(item, struct xattr, link);
    if (strcmp(x->bytes, name) == 0) return x;
  }
  return NULL;
}

static void drop(struct xattr *x) {
  list_remove(&x->link);
  kfree(x);
}

static struct xattr *make(const char *name, const void *value, size_t size) {
  size_t name_size = strlen(name);
  struct xattr *x = kmalloc(sizeof(*x) + name_size + 1 + size);
  if (x == NULL) return NULL;
  x->name_size = name_size;
  x->size = size;
  memcpy(x->bytes, name, name_size + 1);
  memcpy(x->bytes + name_size + 1, value, size);
  return x;
}

i64 xattr_set(struct inode *inode, const char *name, const void *value, size_t size, u32 flags) {
  struct xattr *old = find(inode, name);
  if (old != NULL && (flags & XATTR_CREATE)) return -EEXIST;
  if (old == NULL && (flags & XATTR_REPLACE)) return -ENODATA;
  struct xattr *x = make(name, value, size);
  if (x == NULL) return -ENOSPC;
  if (!list_linked(&inode->xattrs)) list_init(&inode->xattrs);
  if (old != NULL) drop(old);
  list_push(&inode->xattrs, &x->link);
  inode_changed(inode);
  return 0;
}

i64 xattr_get(const struct inode *inode, const char *name, const void **value) {
  const struct xattr *x = find(inode, name);
  if (x == NULL) return -ENODATA;
  *value = value_of(x);
  return (i64)x->size;
}

i64 xattr_remove(struct inode *inode, const char *name) {
  struct xattr *x = find(inode, name);
  if (x == NULL) return -ENODATA;
  drop(x);
  inode_changed(inode);
  return 0;
}

void xattr_list(const struct inode *inode, struct text *out) {
  if (!list_linked(&inode->xattrs)) return;
  LIST_EACH(&inode->xattrs, item) {
    const struct xattr *x = CONTAINER(item, struct xattr, link);
    text_add(out, x->bytes, x->name_size + 1);
  }
}

void xattr_free(struct inode *inode) {
  if (!list_linked(&inode->xattrs)) return;
  while (!list_empty(&inode->xattrs)) drop(CONTAINER(inode->xattrs.next, struct xattr, link));
}
