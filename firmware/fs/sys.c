/* fs/sys.c: the few files of /sys that run-time systems read to count processors. */
#include "inode.h"

static struct dentry *make_path(const char *const *names, u32 count) {
  struct dentry *d = root_dentry;
  for (u32 i = 0; i < count; i++) {
    struct dentry *next = dentry_find(d->inode, names[i], strlen(names[i]));
    bool make = next == NULL || next->inode == NULL || next->inode->dev != DEV_SYS;
    d = make ? tree_dir(d, names[i], DEV_SYS, &fixed_dir_ops) : next;
  }
  return d;
}

#define MAKE_PATH(...) make_path((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

void sysfs_mount(void) {
  struct dentry *cpu = MAKE_PATH("sys", "devices", "system", "cpu");
  tree_text(cpu, "online", "0\n");
  tree_text(cpu, "possible", "0\n");
  tree_text(cpu, "present", "0\n");
  MAKE_PATH("sys", "devices", "system", "cpu", "cpu0");
  tree_text(MAKE_PATH("sys", "kernel", "mm", "transparent_hugepage"), "enabled", "always [madvise] never\n");
  MAKE_PATH("sys", "fs", "cgroup");
}
