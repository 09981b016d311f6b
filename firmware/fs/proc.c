/* fs/proc.c: /proc apart from the process: what programs read to learn about the machine. */
#include "arch.h"
#include "inode.h"
#include "mm.h"

static const char release_text[] = "6.1.0-mayfly\n";

static void cpu_model(char model[49]) {
  u32 *words = (u32 *)(void *)model, top[4];
  memset(model, 0, 49);
  cpuid(0x80000000, 0, top);
  for (u32 i = 0; top[0] >= 0x80000004 && i < 3; i++) cpuid(0x80000002 + i, 0, words + 4 * i);
}

static void cpu_flags(struct text *out) {
  static const struct {
    u8 leaf, reg, bit;
    const char *name;
  } flags[] = {
      {1, 3, 0, "fpu"},     {1, 3, 4, "tsc"},      {1, 3, 8, "cx8"},     {1, 3, 15, "cmov"},   {1, 3, 23, "mmx"},
      {1, 3, 24, "fxsr"},   {1, 3, 25, "sse"},     {1, 3, 26, "sse2"},   {1, 2, 0, "pni"},     {1, 2, 1, "pclmulqdq"},
      {1, 2, 9, "ssse3"},   {1, 2, 12, "fma"},     {1, 2, 19, "sse4_1"}, {1, 2, 20, "sse4_2"}, {1, 2, 22, "movbe"},
      {1, 2, 23, "popcnt"}, {1, 2, 25, "aes"},     {1, 2, 26, "xsave"},  {1, 2, 28, "avx"},    {1, 2, 29, "f16c"},
      {1, 2, 30, "rdrand"}, {7, 1, 0, "fsgsbase"}, {7, 1, 3, "bmi1"},    {7, 1, 5, "avx2"},    {7, 1, 8, "bmi2"},
      {7, 1, 9, "erms"},    {7, 1, 16, "avx512f"}, {7, 1, 29, "sha_ni"},
  };
  u32 regs[8][4] = {{0}};
  cpuid(1, 0, regs[1]);
  cpuid(7, 0, regs[7]);
  text_print(out, "flags\t\t:");
  for (u32 i = 0; i < COUNT(flags); i++)
    if (regs[flags[i].leaf][flags[i].reg] >> flags[i].bit & 1) text_print(out, " %s", flags[i].name);
  text_print(out, "\n");
}

static void generate_cpuinfo(struct inode *inode, struct text *out) {
  _Alignas(4) char model[52], vendor[13] = {0};
  u32 id[4], version[4];
  cpuid(0, 0, id);
  cpuid(1, 0, version);
  memcpy(vendor, &id[1], 4);
  memcpy(vendor + 4, &id[3], 4);
  memcpy(vendor + 8, &id[2], 4);
  cpu_model(model);
  u32 family = version[0] >> 8 & 15, number = version[0] >> 4 & 15;
  if (family == 6 || family == 15) number |= version[0] >> 12 & 0xf0;
  if (family == 15) family += version[0] >> 20 & 0xff;
  text_print(out, "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", vendor, family, number);
  text_print(out, "model name\t: %s\nstepping\t: %u\n", model, version[0] & 15);
  text_print(out, "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nfpu\t\t: yes\n");
  cpu_flags(out);
  text_print(out, "\n");
}

static void generate_meminfo(struct inode *inode, struct text *out) {
  const struct {
    const char *name;
    u64 bytes;
  } rows[] = {{"MemTotal:", frames_total()},
              {"MemFree:", frames_free()},
              {"MemAvailable:", frames_free()},
              {"Buffers:", 0},
              {"Cached:", 0},
              {"SwapCached:", 0},
              {"SwapTotal:", 0},
              {"SwapFree:", 0},
              {"Shmem:", 0},
              {"SReclaimable:", 0}};
  for (u32 i = 0; i < COUNT(rows); i++) text_print(out, "%s\t%lu kB\n", rows[i].name, (u64)(rows[i].bytes / KiB));
}

/* Clock ticks of USER_HZ = 100 since the boot. */
static u64 ticks(void) { return clock_mono() / (NS_PER_SEC / 100); }

static void generate_stat(struct inode *inode, struct text *out) {
  u64 now = ticks();
  text_print(out, "cpu  %lu 0 0 0 0 0 0 0 0 0\ncpu0 %lu 0 0 0 0 0 0 0 0 0\n", now, now);
  text_print(out, "intr 0\nctxt 0\nbtime %lu\n", (u64)((clock_wall() - clock_mono()) / NS_PER_SEC));
  text_print(out, "processes 1\nprocs_running 1\nprocs_blocked 0\n");
}

static void generate_uptime(struct inode *inode, struct text *out) {
  u64 now = ticks();
  text_print(out, "%lu.%02lu 0.00\n", now / 100, now % 100);
}

static void generate_loadavg(struct inode *inode, struct text *out) {
  text_print(out, "0.00 0.00 0.00 1/%d %d\n", thread_count(), process_id());
}

static void generate_hostname(struct inode *inode, struct text *out) {
  const char *name = (const char *)BOOT->hostname;
  text_add(out, name, strnlen(name, sizeof(BOOT->hostname)));
  text_add(out, "\n", 1);
}

static void generate_file_nr(struct inode *inode, struct text *out) {
  int count = 0;
  for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) count++;
  text_print(out, "%d\t0\t%d\n", count, FD_MAX);
}

#define GENERATED(name) static const struct inode_ops name##_ops = {.file = &text_file_ops, .generate = generate_##name}
GENERATED(cpuinfo);
GENERATED(meminfo);
GENERATED(stat);
GENERATED(uptime);
GENERATED(loadavg);
GENERATED(file_nr);
GENERATED(hostname);

static const struct {
  const char *name;
  const struct inode_ops *ops;
} files[] = {{"cpuinfo", &cpuinfo_ops},
             {"meminfo", &meminfo_ops},
             {"stat", &stat_ops},
             {"uptime", &uptime_ops},
             {"loadavg", &loadavg_ops}};

static void mount_settings(struct dentry *proc) {
  u32 text = S_IFREG | 0444;
  struct dentry *sys = tree_dir(proc, "sys", DEV_PROC, &fixed_dir_ops);
  struct dentry *kernel = tree_dir(sys, "kernel", DEV_PROC, &fixed_dir_ops);
  tree_text(kernel, "osrelease", release_text);
  tree_text(kernel, "ostype", "Linux\n");
  tree_text(kernel, "version", "#1 Mayfly\n");
  tree_file(kernel, "hostname", text, &hostname_ops);
  tree_text(kernel, "pid_max", "4194304\n");
  tree_text(kernel, "ngroups_max", "65536\n");
  tree_text(kernel, "randomize_va_space", "0\n");
  tree_text(kernel, "perf_event_paranoid", "3\n");
  tree_text(kernel, "core_pattern", "core\n");
  tree_text(kernel, "sched_rr_timeslice_ms", "4\n");
  tree_text(tree_dir(kernel, "yama", DEV_PROC, &fixed_dir_ops), "ptrace_scope", "1\n");
  tree_text(kernel, "threads-max", "4096\n");
  tree_text(kernel, "cap_last_cap", "40\n");
  struct dentry *random = tree_dir(kernel, "random", DEV_PROC, &fixed_dir_ops);
  tree_file(random, "boot_id", text, &boot_id_ops);
  tree_file(random, "uuid", text, &random_uuid_ops);
  tree_text(random, "entropy_avail", "256\n");
  struct dentry *vm = tree_dir(sys, "vm", DEV_PROC, &fixed_dir_ops);
  tree_text(vm, "overcommit_memory", "1\n");
  tree_text(vm, "overcommit_ratio", "50\n");
  tree_text(vm, "max_map_count", "65530\n");
  tree_text(vm, "mmap_min_addr", "65536\n");
  tree_text(vm, "nr_hugepages", "0\n");
  tree_text(vm, "swappiness", "0\n");
  struct dentry *fs = tree_dir(sys, "fs", DEV_PROC, &fixed_dir_ops);
  tree_text(fs, "pipe-max-size", "65536\n");
  tree_text(fs, "file-max", "4096\n");
  tree_text(fs, "nr_open", "4096\n");
  struct dentry *inotify = tree_dir(fs, "inotify", DEV_PROC, &fixed_dir_ops);
  tree_text(inotify, "max_user_instances", "128\n");
  tree_text(inotify, "max_user_watches", "65536\n");
  tree_text(inotify, "max_queued_events", "16384\n");
  tree_file(fs, "file-nr", text, &file_nr_ops);
  struct dentry *net = tree_dir(sys, "net", DEV_PROC, &fixed_dir_ops);
  struct dentry *core = tree_dir(net, "core", DEV_PROC, &fixed_dir_ops);
  tree_text(core, "somaxconn", "4096\n");
  tree_text(core, "rmem_max", "212992\n");
  tree_text(core, "wmem_max", "212992\n");
  struct dentry *ipv4 = tree_dir(net, "ipv4", DEV_PROC, &fixed_dir_ops);
  tree_text(ipv4, "ip_local_port_range", "32768\t60999\n");
  tree_text(ipv4, "tcp_max_syn_backlog", "4096\n");
}

void proc_mount(void) {
  struct dentry *proc = tree_dir(root_dentry, "proc", DEV_PROC, &proc_ops);
  for (u32 i = 0; i < COUNT(files); i++) tree_file(proc, files[i].name, S_IFREG | 0444, files[i].ops);
  tree_text(proc, "version", "Linux version 6.1.0-mayfly (mayfly) #1 Mayfly\n");
  tree_text(proc, "filesystems", "nodev\tproc\nnodev\ttmpfs\n\terofs\n");
  tree_text(proc, "swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  tree_text(proc, "partitions", "major minor  #blocks  name\n\n");
  tree_text(proc, "devices", "Character devices:\n  1 mem\n  5 /dev/tty\n 10 misc\n\nBlock devices:\n");
  tree_text(proc, "diskstats", "");
  tree_text(proc, "cmdline", "\n");
  tree_link(proc, "mounts", "self/mounts");
  mount_settings(proc);
  proc_self_mount(proc);
}
