/* fs/etc.c: files of /etc that the machine decides on. */
#include "inode.h"

/* NET_DNS_IP. The guest has no domain, and no other server answers. */
static const char resolv_conf[] = "nameserver 169.254.77.53\n";

/* A file as any other: c-ares asks for its size before it reads. */
static void resolv_conf_mount(struct dentry *etc) {
  size_t size = sizeof(resolv_conf) - 1;
  struct dentry *d = tree_file(etc, "resolv.conf", S_IFREG | 0644, &regular_ops);
  ssize_t written = content_write(d->inode, resolv_conf, size, 0);
  ASSERT(written == (ssize_t)size);
}

/* Over what the images have there: an image is shared by all machines. One without /etc has no use for them. */
void etc_mount(void) {
  i64 error;
  struct dentry *etc = directory_lookup(root_dentry, "etc", 3, &error);
  if (etc == NULL) return;
  if (is_dir(etc->inode)) {
    tree_file(etc, "machine-id", S_IFREG | 0444, &machine_id_ops);
    resolv_conf_mount(etc);
  }
  dentry_put(etc);
}
