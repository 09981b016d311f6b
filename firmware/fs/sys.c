/* fs/sys.c: the few files of /sys that run-time systems read to count processors and memory. */
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
  tree_text(cpu, "offline", "\n");
  tree_text(cpu, "isolated", "\n");
  tree_text(cpu, "kernel_max", "0\n");
  struct dentry *topology = MAKE_PATH("sys", "devices", "system", "cpu", "cpu0", "topology");
  tree_text(topology, "core_id", "0\n");
  tree_text(topology, "physical_package_id", "0\n");
  tree_text(topology, "thread_siblings", "1\n");
  tree_text(topology, "thread_siblings_list", "0\n");
  tree_text(topology, "core_siblings_list", "0\n");
  struct dentry *nodes = MAKE_PATH("sys", "devices", "system", "node");
  tree_text(nodes, "online", "0\n");
  tree_text(nodes, "possible", "0\n");
  tree_text(nodes, "has_memory", "0\n");
  struct dentry *node = MAKE_PATH("sys", "devices", "system", "node", "node0");
  tree_text(node, "cpulist", "0\n");
  tree_text(node, "cpumap", "1\n");
  tree_text(node, "distance", "10\n");
  tree_text(MAKE_PATH("sys", "kernel", "mm", "transparent_hugepage"), "enabled", "always [madvise] never\n");
  tree_text(MAKE_PATH("sys", "kernel", "mm", "transparent_hugepage"), "hpage_pmd_size", "2097152\n");
  struct dentry *huge = MAKE_PATH("sys", "kernel", "mm", "hugepages", "hugepages-2048kB");
  tree_text(huge, "nr_hugepages", "0\n");
  tree_text(huge, "free_hugepages", "0\n");
  /* The machine is the limit: its memory and its processor are what meminfo and cpuinfo tell. */
  struct dentry *cgroup = MAKE_PATH("sys", "fs", "cgroup");
  tree_text(cgroup, "cgroup.controllers", "cpu memory pids\n");
  tree_text(cgroup, "cpu.max", "max 100000\n");
  tree_text(cgroup, "memory.max", "max\n");
  tree_text(cgroup, "memory.high", "max\n");
  tree_text(cgroup, "memory.swap.max", "0\n");
  tree_text(cgroup, "pids.max", "max\n");
  tree_text(cgroup, "cpuset.cpus.effective", "0\n");
}
