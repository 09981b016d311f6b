/* fs/inode.c: the life of an inode. */
#include "inode.h"

static u64 next_ino = 1; /* image inodes have their layer in the high bits and never collide */

const struct inode_ops regular_ops = {.file = &regular_file_ops};
const struct inode_ops link_ops = {0};
const struct inode_ops node_ops = {0}; /* sockets, fifos and devices of images cannot be opened */

struct inode *inode_new(u32 dev, u32 mode, const struct inode_ops *ops) {
  struct inode *inode = kzalloc(sizeof(*inode));
  if (inode == NULL) return NULL;
  inode->refs = 1;
  inode->dev = dev;
  inode->mode = mode;
  inode->nlink = is_dir(inode) ? 2 : 1;
  inode->ino = next_ino++;
  inode->uid = user_ids.files;
  inode->gid = group_ids.files;
  inode->ops = ops;
  inode->atime = inode->mtime = inode->ctime = clock_wall();
  if (is_dir(inode)) list_init(&inode->dir.children);
  return inode;
}

struct inode *inode_get(struct inode *inode) {
  inode->refs++;
  return inode;
}

void inode_put(struct inode *inode) {
  if (inode == NULL || --inode->refs > 0) return;
  if (inode->ops->release != NULL) inode->ops->release(inode);
  else if (is_link(inode) && inode->ops == &link_ops) kfree(inode->target);
  else if (is_regular(inode) && inode->ops == &regular_ops) content_free(inode);
  else if (is_dir(inode)) kfree(inode->dir.sources);
  xattr_free(inode);
  locks_free(inode);
  kfree(inode);
}

void inode_changed(struct inode *inode) { inode->ctime = clock_wall(); }

void inode_modified(struct inode *inode) { inode->mtime = inode->ctime = clock_wall(); }

struct inode *inode_link(u32 dev, const char *target, size_t n) {
  struct inode *inode = inode_new(dev, S_IFLNK | 0777, &link_ops);
  char *copy = kmalloc(n + 1);
  if (inode == NULL || copy == NULL) {
    kfree(inode);
    kfree(copy);
    return NULL;
  }
  memcpy(copy, target, n);
  copy[n] = '\0';
  inode->target = copy;
  inode->size = n;
  return inode;
}
