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
  enum { EXTENDED = 0 }; /* leaf 0x80000001 */
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
      {1, 2, 13, "cx16"},   {7, 1, 17, "avx512dq"}, {7, 1, 18, "rdseed"}, {7, 1, 19, "adx"}, {7, 1, 28, "avx512cd"},
      {7, 1, 30, "avx512bw"}, {7, 1, 31, "avx512vl"}, {7, 2, 8, "gfni"}, {7, 2, 9, "vaes"}, {7, 2, 10, "vpclmulqdq"},
      {EXTENDED, 3, 11, "syscall"}, {EXTENDED, 3, 20, "nx"}, {EXTENDED, 3, 26, "pdpe1gb"}, {EXTENDED, 3, 27, "rdtscp"},
      {EXTENDED, 3, 29, "lm"}, {EXTENDED, 2, 0, "lahf_lm"}, {EXTENDED, 2, 5, "abm"}, {EXTENDED, 2, 6, "sse4a"},
  };
  u32 regs[8][4] = {{0}};
  cpuid(0x80000001, 0, regs[EXTENDED]);
  cpuid(1, 0, regs[1]);
  cpuid(7, 0, regs[7]);
  text_print(out, "flags\t\t:");
  for (u32 i = 0; i < COUNT(flags); i++)
    if (regs[flags[i].leaf][flags[i].reg] >> flags[i].bit & 1) text_print(out, " %s", flags[i].name);
  text_print(out, "\n");
}

/* The rate of the time-stamp counter stands for the processor's, which nobody tells. */
static u64 cpu_khz(void) {
  return SHARED->tsc_mult == 0 ? 0 : (1000000ull << SHARED->tsc_shift) / SHARED->tsc_mult;
}

static void generate_cpuinfo(struct inode *inode, struct text *out) {
  _Alignas(4) char model[52], vendor[13] = {0};
  u32 id[4], version[4], level2[4], sizes[4];
  cpuid(0, 0, id);
  cpuid(1, 0, version);
  cpuid(0x80000006, 0, level2);
  cpuid(0x80000008, 0, sizes);
  memcpy(vendor, &id[1], 4);
  memcpy(vendor + 4, &id[3], 4);
  memcpy(vendor + 8, &id[2], 4);
  cpu_model(model);
  u32 family = version[0] >> 8 & 15, number = version[0] >> 4 & 15;
  if (family == 6 || family == 15) number |= version[0] >> 12 & 0xf0;
  if (family == 15) family += version[0] >> 20 & 0xff;
  text_print(out, "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\n", vendor, family, number);
  text_print(out, "model name\t: %s\nstepping\t: %u\n", model, version[0] & 15);
  u64 khz = cpu_khz();
  text_print(out, "cpu MHz\t\t: %lu.%03lu\ncache size\t: %u KB\n", khz / 1000, khz % 1000, level2[2] >> 16);
  text_print(out, "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\nfpu\t\t: yes\n");
  text_print(out, "fpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\n", id[0]);
  cpu_flags(out);
  text_print(out, "bogomips\t: %lu.%02lu\nclflush size\t: 64\ncache_alignment\t: 64\n", khz / 500, khz / 5 % 100);
  text_print(out, "address sizes\t: %u bits physical, %u bits virtual\n\n", sizes[0] & 255, sizes[0] >> 8 & 255);
}

static void generate_meminfo(struct inode *inode, struct text *out) {
  u64 used = frames_total() - frames_free();
  const struct {
    const char *name;
    u64 bytes;
  } rows[] = {{"MemTotal:", frames_total()},
              {"MemFree:", frames_free()},
              {"MemAvailable:", frames_free()},
              {"Buffers:", 0},
              {"Cached:", 0},
              {"SwapCached:", 0},
              {"Active:", used},
              {"Inactive:", 0},
              {"Active(anon):", used},
              {"Inactive(anon):", 0},
              {"Active(file):", 0},
              {"Inactive(file):", 0},
              {"Unevictable:", 0},
              {"Mlocked:", 0},
              {"SwapTotal:", 0},
              {"SwapFree:", 0},
              {"Dirty:", 0},
              {"Writeback:", 0},
              {"AnonPages:", used},
              {"Mapped:", 0},
              {"Shmem:", 0},
              {"Slab:", 0},
              {"SReclaimable:", 0},
              {"SUnreclaim:", 0},
              {"PageTables:", 0},
              {"CommitLimit:", frames_total()},
              {"Committed_AS:", used},
              {"VmallocTotal:", 0},
              {"AnonHugePages:", 0}};
  for (u32 i = 0; i < COUNT(rows); i++) text_print(out, "%s\t%lu kB\n", rows[i].name, (u64)(rows[i].bytes / KiB));
}

/* Clock ticks of USER_HZ = 100 since the boot. */
static u64 ticks(void) { return clock_mono() / (NS_PER_SEC / 100); }

static void generate_stat(struct inode *inode, struct text *out) {
  u64 now = ticks();
  text_print(out, "cpu  %lu 0 0 0 0 0 0 0 0 0\ncpu0 %lu 0 0 0 0 0 0 0 0 0\n", now, now);
  text_print(out, "intr 0\nctxt %lu\nbtime %lu\n", SHARED->stat_switches, (u64)((clock_wall() - clock_mono()) / NS_PER_SEC));
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

static void generate_domainname(struct inode *inode, struct text *out) { text_print(out, "%s\n", domain_name); }

/* Faults and swapping are not counted. */
static void generate_vmstat(struct inode *inode, struct text *out) {
  static const char *const zeroes[] = {"nr_dirty", "nr_writeback", "nr_mapped", "pgpgin", "pgpgout",   "pswpin",
                                       "pswpout",  "pgfault",      "pgmajfault", "oom_kill", "thp_fault_alloc"};
  text_print(out, "nr_free_pages %lu\nnr_anon_pages %lu\n", (u64)(frames_free() / PAGE), (u64)((frames_total() - frames_free()) / PAGE));
  for (u32 i = 0; i < COUNT(zeroes); i++) text_print(out, "%s 0\n", zeroes[i]);
}

static void generate_file_nr(struct inode *inode, struct text *out) {
  int count = 0;
  for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) count++;
  text_print(out, "%d\t0\t%d\n", count, FD_MAX);
}

static bool open_below(int fd, const struct inode *inode) {
  for (int below = fd_next(0); below < fd; below = fd_next(below + 1))
    if (fd_get(below)->inode == inode) return true;
  return false;
}

/* Those of files that have a descriptor. */
static void generate_locks(struct inode *inode, struct text *out) {
  int number = 0;
  for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
    const struct inode *open = fd_get(fd)->inode;
    if (open != NULL && open->locks != NULL && !open_below(fd, open)) locks_print(open, &number, out);
  }
}

#define GENERATED(name) static const struct inode_ops name##_ops = {.file = &text_file_ops, .generate = generate_##name}
GENERATED(cpuinfo);
GENERATED(meminfo);
GENERATED(stat);
GENERATED(uptime);
GENERATED(loadavg);
GENERATED(locks);
GENERATED(file_nr);
GENERATED(hostname);
GENERATED(domainname);
GENERATED(vmstat);

static const struct {
  const char *name;
  const struct inode_ops *ops;
} files[] = {{"cpuinfo", &cpuinfo_ops},
             {"meminfo", &meminfo_ops},
             {"stat", &stat_ops},
             {"uptime", &uptime_ops},
             {"loadavg", &loadavg_ops},
             {"locks", &locks_ops},
             {"vmstat", &vmstat_ops}};

/* Files below /proc/sys: what programs read to size and set themselves up. Nothing follows from writing to one. */
static const struct {
  const char *path, *text;
} settings[] = {
    {"fs/aio-max-nr", "65536\n"},
    {"fs/aio-nr", "0\n"},
    {"fs/epoll/max_user_watches", "65536\n"},
    {"fs/file-max", "4096\n"},
    {"fs/inotify/max_queued_events", "16384\n"},
    {"fs/inotify/max_user_instances", "128\n"},
    {"fs/inotify/max_user_watches", "65536\n"},
    {"fs/nr_open", "4096\n"},
    {"fs/overflowgid", "65534\n"},
    {"fs/overflowuid", "65534\n"},
    {"fs/pipe-max-size", "65536\n"},
    {"fs/protected_hardlinks", "0\n"},
    {"fs/protected_symlinks", "0\n"},
    {"fs/suid_dumpable", "0\n"},
    {"kernel/cap_last_cap", "40\n"},
    {"kernel/core_pattern", "core\n"},
    {"kernel/core_uses_pid", "0\n"},
    {"kernel/dmesg_restrict", "1\n"},
    {"kernel/kptr_restrict", "1\n"},
    {"kernel/msgmax", "8192\n"},
    {"kernel/ngroups_max", "65536\n"},
    {"kernel/numa_balancing", "0\n"},
    {"kernel/osrelease", release_text},
    {"kernel/ostype", "Linux\n"},
    {"kernel/overflowgid", "65534\n"},
    {"kernel/overflowuid", "65534\n"},
    {"kernel/perf_event_paranoid", "3\n"},
    {"kernel/pid_max", "4194304\n"},
    {"kernel/random/entropy_avail", "256\n"},
    {"kernel/random/poolsize", "256\n"},
    {"kernel/randomize_va_space", "0\n"},
    {"kernel/sched_rr_timeslice_ms", "4\n"},
    {"kernel/seccomp/actions_avail", "\n"},
    {"kernel/sem", "0\t0\t0\t0\n"},
    {"kernel/shmall", "18446744073692774399\n"},
    {"kernel/shmmax", "18446744073692774399\n"},
    {"kernel/shmmni", "4096\n"},
    {"kernel/tainted", "0\n"},
    {"kernel/threads-max", "4096\n"},
    {"kernel/version", "#1 Mayfly\n"},
    {"kernel/yama/ptrace_scope", "1\n"},
    {"net/core/default_qdisc", "pfifo_fast\n"},
    {"net/core/netdev_max_backlog", "1000\n"},
    {"net/core/optmem_max", "20480\n"},
    {"net/core/rmem_default", "212992\n"},
    {"net/core/rmem_max", "212992\n"},
    {"net/core/somaxconn", "4096\n"},
    {"net/core/wmem_default", "212992\n"},
    {"net/core/wmem_max", "212992\n"},
    {"net/ipv4/ip_default_ttl", "64\n"},
    {"net/ipv4/ip_forward", "0\n"},
    {"net/ipv4/ip_local_port_range", "32768\t60999\n"},
    {"net/ipv4/ip_local_reserved_ports", "\n"},
    {"net/ipv4/ip_unprivileged_port_start", "0\n"},
    {"net/ipv4/ping_group_range", "1\t0\n"},
    {"net/ipv4/tcp_available_congestion_control", "reno cubic\n"},
    {"net/ipv4/tcp_congestion_control", "cubic\n"},
    {"net/ipv4/tcp_fastopen", "0\n"},
    {"net/ipv4/tcp_fin_timeout", "60\n"},
    {"net/ipv4/tcp_keepalive_intvl", "75\n"},
    {"net/ipv4/tcp_keepalive_probes", "9\n"},
    {"net/ipv4/tcp_keepalive_time", "7200\n"},
    {"net/ipv4/tcp_max_syn_backlog", "4096\n"},
    {"net/ipv4/tcp_mem", "22302\t29739\t44604\n"},
    {"net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"},
    {"net/ipv4/tcp_syn_retries", "6\n"},
    {"net/ipv4/tcp_timestamps", "1\n"},
    {"net/ipv4/tcp_tw_reuse", "2\n"},
    {"net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"},
    {"net/ipv6/bindv6only", "0\n"},
    {"net/ipv6/conf/all/disable_ipv6", "0\n"},
    {"net/ipv6/conf/default/disable_ipv6", "0\n"},
    {"net/ipv6/conf/lo/disable_ipv6", "0\n"},
    {"net/unix/max_dgram_qlen", "512\n"},
    {"user/max_user_namespaces", "0\n"},
    {"vm/dirty_background_ratio", "10\n"},
    {"vm/dirty_ratio", "20\n"},
    {"vm/max_map_count", "65530\n"},
    {"vm/min_free_kbytes", "0\n"},
    {"vm/mmap_min_addr", "65536\n"},
    {"vm/nr_hugepages", "0\n"},
    {"vm/nr_overcommit_hugepages", "0\n"},
    {"vm/overcommit_kbytes", "0\n"},
    {"vm/overcommit_memory", "1\n"},
    {"vm/overcommit_ratio", "50\n"},
    {"vm/swappiness", "0\n"},
    {"vm/vfs_cache_pressure", "100\n"},
    {"vm/zone_reclaim_mode", "0\n"},
};

/* The directory that is left of the last slash, made where it is missing; *name is what is right of it. */
static struct dentry *setting_directory(struct dentry *dir, const char **name) {
  for (const char *slash; (slash = strchr(*name, '/')) != NULL; *name = slash + 1) {
    char part[NAME_MAX + 1];
    size_t n = (size_t)(slash - *name);
    memcpy(part, *name, n);
    part[n] = 0;
    struct dentry *next = dentry_find(dir->inode, part, n);
    dir = next != NULL ? next : tree_dir(dir, part, DEV_PROC, &fixed_dir_ops);
  }
  return dir;
}

static void mount_setting(struct dentry *sys, const char *path, const struct inode_ops *ops) {
  struct dentry *dir = setting_directory(sys, &path);
  tree_file(dir, path, S_IFREG | 0444, ops);
}

static void mount_settings(struct dentry *proc) {
  struct dentry *sys = tree_dir(proc, "sys", DEV_PROC, &fixed_dir_ops);
  for (u32 i = 0; i < COUNT(settings); i++) {
    const char *name = settings[i].path;
    struct dentry *dir = setting_directory(sys, &name);
    tree_text(dir, name, settings[i].text);
  }
  mount_setting(sys, "fs/file-nr", &file_nr_ops);
  mount_setting(sys, "kernel/domainname", &domainname_ops);
  mount_setting(sys, "kernel/hostname", &hostname_ops);
  mount_setting(sys, "kernel/random/boot_id", &boot_id_ops);
  mount_setting(sys, "kernel/random/uuid", &random_uuid_ops);
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
  tree_text(proc, "modules", "");
  tree_text(proc, "interrupts", "           CPU0       \n");
  tree_text(proc, "cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
  tree_link(proc, "mounts", "self/mounts");
  tree_link(proc, "net", "self/net");
  mount_settings(proc);
  proc_self_mount(proc);
}
