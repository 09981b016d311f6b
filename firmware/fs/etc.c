/* fs/etc.c: files of /etc that the machine decides on. */
#include "inode.h"

/* NET_DNS_IP. The guest has no domain, and no other server answers. */
static const char resolv_conf[] = "nameserver 169.254.77.53\n";

/* Over what the images have there: an image is shared by all machines. One without /etc has no use for them. */
void etc_mount(void) {
  i64 error;
  struct dentry *etc = directory_lookup(root_dentry, "etc", 3, &error);
  if (etc == NULL) return;
  if (is_dir(etc->inode)) {
    tree_file(etc, "machine-id", S_IFREG | 0444, &machine_id_ops);
    tree_text(etc, "resolv.conf", resolv_conf);
  }
  dentry_put(etc);
}
