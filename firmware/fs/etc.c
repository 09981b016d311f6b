/* fs/etc.c: files of /etc that the machine decides on, and those that programs take for granted. */
#include "inode.h"

/* NET_DNS_IP. The guest has no domain, and no other server answers: not even for localhost, which is why that needs a file. */
static const char resolv_conf[] = "nameserver 169.254.77.53\n";
static const char hosts[] = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
static const char group[] = "root:x:0:\nnogroup:x:65534:\n";

/* A file as any other, written and sized: c-ares asks for its size before it reads. */
static void put(struct dentry *etc, const char *name, const char *text) {
  size_t size = strlen(text);
  struct dentry *d = tree_file(etc, name, S_IFREG | 0644, &regular_ops);
  ssize_t written = content_write(d->inode, text, size, 0);
  ASSERT(written == (ssize_t)size);
}

/* Archives of containers have these empty, for the runtime to fill; folders of unpacked packages have none. */
static void put_missing(struct dentry *etc, const char *name, const char *text) {
  i64 error;
  struct dentry *d = directory_lookup(etc, name, strlen(name), &error);
  bool empty = d == NULL || (is_regular(d->inode) && d->inode->size == 0);
  dentry_put(d);
  if (empty) put(etc, name, text);
}

/* Over what the images have there: an image is shared by all machines. */
void etc_mount(void) {
  i64 error;
  struct dentry *etc = directory_lookup(root_dentry, "etc", 3, &error);
  if (etc == NULL) etc = dentry_get(tree_dir(root_dentry, "etc", DEV_ROOT, &directory_ops));
  if (is_dir(etc->inode)) {
    tree_file(etc, "machine-id", S_IFREG | 0444, &machine_id_ops);
    put(etc, "resolv.conf", resolv_conf);
    put_missing(etc, "hosts", hosts);
    put_missing(etc, "passwd", passwd);
    put_missing(etc, "group", group);
  }
  dentry_put(etc);
}
