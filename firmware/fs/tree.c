/* fs/tree.c: directories and files that no image has: building blocks of /proc, /dev and /sys. They
 * are made at boot, when running out of memory is the end. */
#include "inode.h"

const struct inode_ops fixed_dir_ops = {.frozen = true};

static void generate_fixed(struct inode *inode, struct text *out) {
  const char *content = inode->special.data;
  text_add(out, content, strlen(content));
}

static const struct inode_ops fixed_text_ops = {.file = &text_file_ops, .generate = generate_fixed};

/* A name over whatever the images have there. The tree keeps the only reference. */
static struct dentry *attach_new(struct dentry *parent, const char *name, struct inode *inode) {
  ASSERT(inode != NULL);
  struct dentry *old = dentry_find(parent->inode, name, strlen(name));
  if (old != NULL) dentry_detach(old);
  struct dentry *d = dentry_new(parent, name, strlen(name), inode);
  ASSERT(d != NULL);
  dentry_attach(d);
  dentry_put(d);
  if (is_dir(inode)) parent->inode->nlink++;
  return d;
}

struct dentry *tree_dir(struct dentry *parent, const char *name, u32 dev, const struct inode_ops *ops) {
  return attach_new(parent, name, inode_new(dev, S_IFDIR | (ops->frozen ? 0555 : 0755), ops));
}

struct dentry *tree_file(struct dentry *parent, const char *name, u32 mode, const struct inode_ops *ops) {
  return attach_new(parent, name, inode_new(parent->inode->dev, mode, ops));
}

struct dentry *tree_text(struct dentry *parent, const char *name, const char *text) {
  struct dentry *d = tree_file(parent, name, S_IFREG | 0444, &fixed_text_ops);
  d->inode->special.data = (void *)(uintptr_t)text;
  return d;
}

struct dentry *tree_link(struct dentry *parent, const char *name, const char *target) {
  return attach_new(parent, name, inode_link(parent->inode->dev, target, strlen(target)));
}

bool parse_number(const char *s, size_t n, u64 *value) {
  if (n == 0 || n > 10 || (n > 1 && s[0] == '0')) return false;
  *value = 0;
  for (size_t i = 0; i < n; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    *value = *value * 10 + (u64)(s[i] - '0');
  }
  return true;
}
