/* Files of /proc that well-known programs read: that they are there, and of the shape that is expected. */
#include "call.h"
#include <ctype.h>
#include <dirent.h>
#include <sys/eventfd.h>

static char text[1 << 20];

static const char *contents(const char *path) {
  int fd = open(path, O_RDONLY);
  ssize_t n = 0, got;
  while (fd >= 0 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0) n += got;
  text[n] = 0;
  if (fd < 0) printf("%s is not there\n", path);
  else close(fd);
  return text;
}

static int words(const char *s) {
  int count = 0;
  for (; *s != 0; s++) count += !isspace(*s) && (s[1] == 0 || isspace(s[1]));
  return count;
}

static int has_line(const char *s, const char *start) {
  size_t n = strlen(start);
  for (; s != NULL && *s != 0; s = strchr(s, '\n') == NULL ? NULL : strchr(s, '\n') + 1)
    if (strncmp(s, start, n) == 0) return 1;
  return 0;
}

static void keys(const char *path, const char *list) {
  char copy[2000], *rest;
  strcpy(copy, list);
  contents(path);
  printf("%s:", path);
  for (char *key = strtok_r(copy, " ", &rest); key != NULL; key = strtok_r(NULL, " ", &rest))
    if (!has_line(text, key)) printf(" no %s", key);
  puts("");
}

static void settings(void) {
  static const char *const names[] = {
      "fs/aio-max-nr", "fs/file-max", "fs/file-nr", "fs/inotify/max_user_watches", "fs/nr_open", "fs/pipe-max-size",
      "kernel/cap_last_cap", "kernel/core_pattern", "kernel/domainname", "kernel/hostname", "kernel/ngroups_max", "kernel/osrelease",
      "kernel/ostype", "kernel/pid_max", "kernel/random/boot_id", "kernel/random/entropy_avail", "kernel/random/uuid",
      "kernel/randomize_va_space", "kernel/tainted", "kernel/threads-max", "net/core/rmem_max", "net/core/somaxconn",
      "net/core/wmem_default", "net/ipv4/ip_local_port_range", "net/ipv4/tcp_fin_timeout", "net/ipv4/tcp_keepalive_time",
      "net/ipv4/tcp_rmem", "vm/max_map_count", "vm/overcommit_memory", "vm/overcommit_ratio", "vm/swappiness"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[100];
    snprintf(path, sizeof path, "/proc/sys/%s", names[i]);
    contents(path);
    printf("%s: %d words, ends with a line %d\n", names[i], words(text), text[0] != 0 && text[strlen(text) - 1] == '\n');
  }
}

static void of_descriptors(void) {
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  char path[64];
  lseek(file, 100, SEEK_SET);
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
  keys(path, "pos:\t100 flags:\t0 mnt_id: ino:");
  close(file);
  DIR *d = opendir("/proc/self/task");
  int count = 0;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    static const char *const names[] = {"stat", "status", "comm", "statm", "io", "schedstat", "wchan", "children", "cgroup", "maps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
      snprintf(path, sizeof path, "/proc/self/task/%s/%s", e->d_name, names[i]);
      printf("task %s: %d\n", names[i], access(path, R_OK));
    }
    count++;
  }
  closedir(d);
  printf("tasks %d\n", count);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  keys("/proc/self/status",
       "Name: Umask: State: Tgid: Ngid: Pid: PPid: TracerPid: Uid: Gid: FDSize: Groups: VmPeak: VmSize: VmLck: VmPin: VmHWM: VmRSS: RssAnon: "
       "RssFile: RssShmem: VmData: VmStk: VmExe: VmLib: VmPTE: VmSwap: Threads: SigQ: SigPnd: ShdPnd: SigBlk: SigIgn: SigCgt: CapInh: CapPrm: "
       "CapEff: CapBnd: CapAmb: NoNewPrivs: Seccomp: Cpus_allowed: Cpus_allowed_list: Mems_allowed_list: voluntary_ctxt_switches: "
       "nonvoluntary_ctxt_switches:");
  keys("/proc/meminfo",
       "MemTotal: MemFree: MemAvailable: Buffers: Cached: SwapCached: Active: Inactive: SwapTotal: SwapFree: Dirty: AnonPages: Mapped: Shmem: "
       "Slab: SReclaimable: SUnreclaim: PageTables: CommitLimit: Committed_AS: VmallocTotal:");
  keys("/proc/self/io", "rchar: wchar: syscr: syscw: read_bytes: write_bytes: cancelled_write_bytes:");
  keys("/proc/self/limits", "Limit Max\040cpu");
  keys("/proc/stat", "cpu cpu0 intr ctxt btime processes procs_running procs_blocked");
  keys("/proc/vmstat", "nr_free_pages pswpin pswpout pgfault pgmajfault");
  keys("/proc/self/smaps_rollup", "Rss: Pss: Private_Clean: Private_Dirty: Swap:");
  keys("/proc/cpuinfo", "processor vendor_id cpu model flags cache bogomips address clflush fpu");
  keys("/proc/filesystems", "nodev\tproc nodev\ttmpfs");
  keys("/proc/swaps", "Filename");
  static const struct {
    const char *path;
    int words;
  } counted[] = {{"/proc/self/stat", 52}, {"/proc/self/statm", 7}, {"/proc/loadavg", 5}, {"/proc/uptime", 2},
                 {"/proc/self/schedstat", 3}, {"/proc/self/comm", 1}, {"/proc/self/oom_score_adj", 1}, {"/proc/self/personality", 1},
                 {"/proc/self/timerslack_ns", 1}, {"/proc/self/loginuid", 1}, {"/proc/self/uid_map", 3}, {"/proc/self/wchan", 1}};
  for (size_t i = 0; i < sizeof counted / sizeof *counted; i++)
    printf("%s: %d\n", counted[i].path, words(contents(counted[i].path)) == counted[i].words);
  contents("/proc/self/mountinfo");
  printf("mountinfo: %d\n", strstr(text, " / / ") != NULL && strstr(text, " - ") != NULL);
  contents("/proc/self/smaps");
  printf("smaps: %d %d\n", strstr(text, "[stack]") != NULL, strstr(text, "Rss:  ") != NULL);
  settings();
  of_descriptors();
  return 0;
}
