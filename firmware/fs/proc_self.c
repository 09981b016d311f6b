/* fs/proc_self.c: /proc/PID, /proc/self and /proc/thread-self. There is one process, whose number
 * changes with each clone: the directory takes its name when it is looked up. */
#include "inode.h"
#include "thread.h"

static struct dentry *process_dentry, *program_dentry;

/* ---- Links ---------------------------------------------------------------------------------- */

static struct dentry *get_or_missing(struct dentry *d, i64 *error) {
  *error = d == NULL ? -ENOENT : 0;
  return d == NULL ? NULL : dentry_get(d);
}

static void read_exe(struct inode *inode, struct text *out) {
  if (program_dentry != NULL) dentry_text(program_dentry, out);
}
static void read_cwd(struct inode *inode, struct text *out) { dentry_text(cwd_dentry(), out); }
static void read_root(struct inode *inode, struct text *out) { text_print(out, "/"); }
static void read_self(struct inode *inode, struct text *out) { text_print(out, "%d", process_id()); }
static void read_thread_self(struct inode *inode, struct text *out) {
  text_print(out, "%d/task/%d", process_id(), current->tid);
}

/* The process's directory, under the number that it has in this generation. */
static struct dentry *process_get(i64 *error) {
  char name[16];
  int n = snprint(name, sizeof(name), "%d", process_id());
  if (strcmp(process_dentry->name, name) != 0 && !dentry_set_name(process_dentry, name, (size_t)n)) {
    *error = -ENOMEM;
    return NULL;
  }
  *error = 0;
  return dentry_get(process_dentry);
}

static struct dentry *follow_exe(struct inode *inode, i64 *error) { return get_or_missing(program_dentry, error); }
static struct dentry *follow_cwd(struct inode *inode, i64 *error) { return get_or_missing(cwd_dentry(), error); }
static struct dentry *follow_root(struct inode *inode, i64 *error) { return get_or_missing(process_root(), error); }
static struct dentry *follow_self(struct inode *inode, i64 *error) { return process_get(error); }
static struct dentry *task_get(struct dentry *dir, int tid, i64 *error);
static struct dentry *follow_thread_self(struct inode *inode, i64 *error);

#define LINK(name) static const struct inode_ops name##_ops = {.readlink = read_##name, .follow = follow_##name}
LINK(exe);
LINK(cwd);
LINK(root);
LINK(self);
LINK(thread_self);

static void read_fd(struct inode *inode, struct text *out) {
  const struct file *f = fd_get((int)inode->special.number);
  if (f != NULL) file_name(f, out);
}

static struct dentry *follow_fd(struct inode *inode, i64 *error) {
  struct file *f = fd_get((int)inode->special.number);
  *error = f == NULL ? -ENOENT : 0;
  return f == NULL ? NULL : dentry_of_file(f, error);
}
LINK(fd);

/* ---- Directories ----------------------------------------------------------------------------- */

/* A dentry outside the tree: these names come and go. */
static struct dentry *made_entry(struct dentry *dir, const char *name, size_t n, u32 mode, const struct inode_ops *ops,
                                 u64 number, i64 *error) {
  struct inode *inode = inode_new(DEV_PROC, mode, ops);
  *error = -ENOMEM;
  if (inode == NULL) return NULL;
  if (!is_dir(inode)) inode->special.number = number;
  else inode->rdev = number; /* a directory's own fields hold its names */
  return dentry_new(dir, name, n, inode);
}

static struct dentry *fd_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  u64 fd;
  if (!parse_number(name, n, &fd) || fd >= FD_MAX || fd_get((int)fd) == NULL) return NULL;
  return made_entry(dir, name, n, S_IFLNK | 0700, &fd_ops, fd, error);
}

static i64 fd_list(struct inode *dir, struct listing *out) {
  for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
    char name[16];
    int n = snprint(name, sizeof(name), "%d", fd);
    if (!listing_add(out, name, (size_t)n, (u64)fd + 1, S_IFLNK)) break;
  }
  return 0;
}

static struct dentry *fdinfo_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  u64 fd;
  if (!parse_number(name, n, &fd) || fd >= FD_MAX || fd_get((int)fd) == NULL) return NULL;
  return made_entry(dir, name, n, S_IFREG | 0444, &proc_fdinfo_ops, fd, error);
}

static const struct {
  const char *name;
  const struct inode_ops *ops;
} thread_files[] = {
    {"stat", &proc_stat_ops},         {"status", &proc_status_ops},     {"comm", &proc_comm_ops},
    {"maps", &proc_maps_ops},         {"statm", &proc_statm_ops},       {"io", &proc_io_ops},
    {"wchan", &proc_wchan_ops},       {"schedstat", &proc_schedstat_ops}, {"children", &proc_children_ops},
    {"cgroup", &proc_cgroup_ops},     {"oom_score", &proc_oom_ops},     {"oom_score_adj", &proc_oom_ops},
    {"cmdline", &proc_cmdline_ops},   {"environ", &proc_environ_ops},   {"limits", &proc_limits_ops},
    {"mounts", &proc_mounts_ops},     {"mountinfo", &proc_mountinfo_ops}, {"smaps", &proc_smaps_ops},
    {"auxv", &proc_auxv_ops},
};

static struct dentry *thread_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  for (u32 i = 0; i < COUNT(thread_files); i++)
    if (strlen(thread_files[i].name) == n && memcmp(thread_files[i].name, name, n) == 0)
      return made_entry(dir, name, n, S_IFREG | 0644, thread_files[i].ops, dir->inode->rdev, error);
  return NULL;
}

static i64 thread_list(struct inode *dir, struct listing *out) {
  for (u32 i = 0; i < COUNT(thread_files); i++)
    if (!listing_add(out, thread_files[i].name, strlen(thread_files[i].name), i + 1, S_IFREG)) break;
  return 0;
}

static const struct inode_ops thread_ops = {.lookup = thread_lookup, .list = thread_list, .frozen = true};

static struct dentry *task_get(struct dentry *dir, int tid, i64 *error) {
  char name[16];
  int n = snprint(name, sizeof(name), "%d", tid);
  return made_entry(dir, name, (size_t)n, S_IFDIR | 0555, &thread_ops, (u64)tid, error);
}

static struct dentry *task_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  u64 tid;
  if (!parse_number(name, n, &tid) || tid > 0x7fffffff || thread_find((int)tid) == NULL) return NULL;
  return task_get(dir, (int)tid, error);
}

static i64 task_list(struct inode *dir, struct listing *out) {
  const struct list *threads = leader()->all.prev; /* the head of the list, which the leader comes first in */
  LIST_EACH(threads, item) {
    char name[16];
    int n = snprint(name, sizeof(name), "%d", CONTAINER(item, struct thread, all)->tid);
    if (!listing_add(out, name, (size_t)n, (u64)n, S_IFDIR)) break;
  }
  return 0;
}

static struct dentry *follow_thread_self(struct inode *inode, i64 *error) {
  struct dentry *process = process_get(error);
  if (process == NULL) return NULL;
  struct dentry *tasks = directory_lookup(process, "task", 4, error);
  struct dentry *task = tasks == NULL ? NULL : task_get(tasks, current->tid, error);
  dentry_put(tasks);
  dentry_put(process);
  if (task != NULL) *error = 0;
  return task;
}

static struct dentry *proc_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  u64 pid;
  if (!parse_number(name, n, &pid) || pid != (u64)process_id()) return NULL;
  return process_get(error);
}

static i64 proc_list(struct inode *dir, struct listing *out) {
  char name[16];
  int n = snprint(name, sizeof(name), "%d", process_id());
  listing_add(out, name, (size_t)n, process_dentry->inode->ino, S_IFDIR);
  return 0;
}

static const struct inode_ops fd_dir_ops = {.lookup = fd_lookup, .list = fd_list, .frozen = true};
static const struct inode_ops fdinfo_dir_ops = {.lookup = fdinfo_lookup, .list = fd_list, .frozen = true};
static const struct inode_ops task_dir_ops = {.lookup = task_lookup, .list = task_list, .frozen = true};
const struct inode_ops proc_ops = {.lookup = proc_lookup, .list = proc_list, .frozen = true};

static const struct {
  const char *name;
  u32 mode;
  const struct inode_ops *ops;
} process_files[] = {
    {"cmdline", S_IFREG | 0444, &proc_cmdline_ops},
    {"environ", S_IFREG | 0400, &proc_environ_ops},
    {"maps", S_IFREG | 0444, &proc_maps_ops},
    {"stat", S_IFREG | 0444, &proc_stat_ops},
    {"statm", S_IFREG | 0444, &proc_statm_ops},
    {"status", S_IFREG | 0444, &proc_status_ops},
    {"mounts", S_IFREG | 0444, &proc_mounts_ops},
    {"mountinfo", S_IFREG | 0444, &proc_mountinfo_ops},
    {"cgroup", S_IFREG | 0444, &proc_cgroup_ops},
    {"limits", S_IFREG | 0444, &proc_limits_ops},
    {"comm", S_IFREG | 0644, &proc_comm_ops},
    {"oom_score", S_IFREG | 0444, &proc_oom_ops},
    {"oom_score_adj", S_IFREG | 0644, &proc_oom_ops},
    {"auxv", S_IFREG | 0400, &proc_auxv_ops},
    {"smaps", S_IFREG | 0444, &proc_smaps_ops},
    {"smaps_rollup", S_IFREG | 0444, &proc_smaps_rollup_ops},
    {"wchan", S_IFREG | 0444, &proc_wchan_ops},
    {"schedstat", S_IFREG | 0444, &proc_schedstat_ops},
    {"personality", S_IFREG | 0400, &proc_personality_ops},
    {"timerslack_ns", S_IFREG | 0644, &proc_timerslack_ops},
    {"coredump_filter", S_IFREG | 0644, &proc_coredump_ops},
    {"setgroups", S_IFREG | 0644, &proc_setgroups_ops},
    {"cpuset", S_IFREG | 0444, &proc_cpuset_ops},
    {"mountstats", S_IFREG | 0400, &proc_mountstats_ops},
    {"sessionid", S_IFREG | 0444, &proc_loginuid_ops},
    {"oom_adj", S_IFREG | 0644, &proc_oom_ops},
    {"io", S_IFREG | 0400, &proc_io_ops},
    {"loginuid", S_IFREG | 0644, &proc_loginuid_ops},
    {"uid_map", S_IFREG | 0644, &proc_id_map_ops},
    {"gid_map", S_IFREG | 0644, &proc_id_map_ops},
    {"exe", S_IFLNK | 0777, &exe_ops},
    {"cwd", S_IFLNK | 0777, &cwd_ops},
    {"root", S_IFLNK | 0777, &root_ops},
};

void proc_set_program(struct dentry *d) {
  struct dentry *old = program_dentry;
  program_dentry = d == NULL ? NULL : dentry_get(d);
  dentry_put(old);
}

bool inode_runs(const struct inode *inode) { return program_dentry != NULL && program_dentry->inode == inode; }

void proc_own(void) {
  process_dentry->inode->uid = user_ids.effective;
  process_dentry->inode->gid = group_ids.effective;
  LIST_EACH(&process_dentry->inode->dir.children, item) {
    struct inode *inode = CONTAINER(item, struct dentry, siblings)->inode;
    inode->uid = user_ids.effective;
    inode->gid = group_ids.effective;
  }
}

ssize_t proc_program(char *path, size_t size) {
  return program_dentry == NULL ? -ENOENT : dentry_path(program_dentry, path, size);
}

void proc_self_mount(struct dentry *proc) {
  struct inode *inode = inode_new(DEV_PROC, S_IFDIR | 0555, &fixed_dir_ops);
  ASSERT(inode != NULL);
  proc_start();
  process_dentry = dentry_new(proc, "", 0, inode);
  ASSERT(process_dentry != NULL);
  for (u32 i = 0; i < COUNT(process_files); i++)
    tree_file(process_dentry, process_files[i].name, process_files[i].mode, process_files[i].ops);
  tree_dir(process_dentry, "fd", DEV_PROC, &fd_dir_ops);
  tree_dir(process_dentry, "fdinfo", DEV_PROC, &fdinfo_dir_ops);
  tree_dir(process_dentry, "task", DEV_PROC, &task_dir_ops);
  proc_net_mount(process_dentry);
  tree_file(proc, "self", S_IFLNK | 0777, &self_ops);
  tree_file(proc, "thread-self", S_IFLNK | 0777, &thread_self_ops);
}
