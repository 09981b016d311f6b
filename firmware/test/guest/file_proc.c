/* /proc, as far as it is the same everywhere. */
#include "call.h"

static char text[100000], again[100000];

static long read_text(const char *path) {
  long fd = CALL(open, path, O_RDONLY), n, total = 0;
  if (fd < 0) return fd;
  while ((n = CALL(read, fd, text + total, sizeof text - 1 - (size_t)total)) > 0) total += n;
  CALL(close, fd);
  text[total] = 0;
  return n < 0 ? n : total;
}

/* The words of a file, as its readers split it. */
static int words(const char *path) {
  if (read_text(path) <= 0) return -1;
  int count = 0;
  for (char *word = strtok(text, " \n"); word != NULL; word = strtok(NULL, " \n")) count++;
  return count;
}

static void process(void) {
  struct stat s;
  char link[5000] = {0}, here[5000] = {0}, path[6000];
  printf("stat has %d words\n", words("/proc/self/stat"));
  printf("statm has %d words\n", words("/proc/self/statm"));
  printf("thread's stat has %d words\n", words("/proc/thread-self/stat"));
  CALL(readlink, "/proc/self/cwd", link, sizeof link - 1);
  CALL(getcwd, here, sizeof here);
  printf("cwd %d\n", strcmp(link, here) == 0);
  long n = CALL(readlink, "/proc/self", link, sizeof link - 1);
  link[n] = 0;
  snprintf(path, sizeof path, "/proc/%s/stat", link);
  SHOW(access, path, F_OK);
  snprintf(path, sizeof path, "/proc/self/task/%s/comm", link);
  printf("%d\n", read_text(path) > 1 && text[strlen(text) - 1] == '\n');
  printf("%d\n",
         read_text("/proc/self/status") > 100 && strncmp(text, "Name:\t", 6) == 0 && strstr(text, "\nVmRSS:") != NULL);
  SHOW(stat, "/proc/self/fd", &s);
  printf("%o\n", s.st_mode & S_IFMT);
  SHOW(lstat, "/proc/self/exe", &s);
  printf("%o\n", s.st_mode & S_IFMT);
  SHOW(access, "/proc/1000000000", F_OK);
  SHOW(access, "/proc/self/root/proc/self/root/proc", F_OK);
  SHOW(readlink, "/proc/self/root", link, 100);
  SHOW(open, "/proc/self/fd", O_WRONLY);
  SHOW(mkdir, "/proc/self/new", 0755);
  SHOW(read, -1, text, 1);
}

static void descriptors(void) {
  long fd = SHOW(open, "named", O_CREAT | O_RDWR, 0644);
  char link[5000] = {0}, path[100];
  SHOW(write, fd, "hello", 5);
  snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  CALL(readlink, path, link, sizeof link - 1);
  puts(strrchr(link, '/'));
  long other = SHOW(open, path, O_RDONLY);
  SHOW(read, other, text, 10);
  SHOW(unlink, "named");
  memset(link, 0, sizeof link);
  CALL(readlink, path, link, sizeof link - 1);
  puts(strrchr(link, '/'));
  SHOW(close, other);
  snprintf(path, sizeof path, "/dev/fd/%ld", fd);
  other = SHOW(open, path, O_WRONLY | O_APPEND);
  SHOW(write, other, "!", 1);
  SHOW(pread64, fd, text, 10, 0);
  SHOW(close, other);
  SHOW(close, fd);
  SHOW(access, path, F_OK);
  int fds[2];
  SHOW(pipe, fds);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fds[1]);
  memset(link, 0, sizeof link);
  SHOW(readlink, path, link, 6);
  puts(link);
  other = SHOW(open, path, O_WRONLY);
  SHOW(write, other, "through", 7);
  SHOW(read, fds[0], text, 100);
  SHOW(close, other);
  SHOW(close, fds[0]);
  SHOW(close, fds[1]);
}

/* The lines of a file that begin so, on standard output. */
static void show_lines(const char *path, const char *prefix) {
  if (read_text(path) < 0) printf("%s is missing\n", path);
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
    if (strncmp(line, prefix, strlen(prefix)) == 0) puts(line);
}

static void details(void) {
  char path[100];
  long fd = CALL(open, "info", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
  CALL(ftruncate, fd, 100);
  CALL(lseek, fd, 42, SEEK_SET);
  snprintf(path, sizeof path, "/proc/self/fdinfo/%ld", fd);
  show_lines(path, "pos");
  show_lines(path, "flags");
  CALL(fcntl, fd, F_SETFD, 0);
  show_lines(path, "flags");
  CALL(close, fd);
  SHOW(access, path, F_OK);
  SHOW(access, "/proc/self/fdinfo/x", F_OK);
  show_lines("/proc/self/smaps", "KernelPageSize:        4 kB\nMMU");
  printf("smaps %d\n", read_text("/proc/self/smaps") > 100 && strstr(text, "\nPrivate_Dirty: ") != NULL);
  printf("limits %d\n", read_text("/proc/self/limits") > 1000 && strstr(text, "\nMax open files ") != NULL);
  show_lines("/proc/self/limits", "Limit");
  show_lines("/proc/self/uid_map", "         0");
  show_lines("/proc/swaps", "Filename");
  show_lines("/proc/partitions", "major");
  show_lines("/proc/sys/kernel/ngroups_max", "");
  show_lines("/sys/devices/system/node/online", "");
  show_lines("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "");
}

static void machine(void) {
  printf("meminfo %d\n", read_text("/proc/meminfo") > 20 && strncmp(text, "MemTotal:", 9) == 0);
  printf("cpuinfo %d\n", read_text("/proc/cpuinfo") > 20 && strncmp(text, "processor\t: 0\n", 14) == 0);
  printf("uptime has %d words\n", words("/proc/uptime"));
  printf("loadavg has %d words\n", words("/proc/loadavg"));
  printf("uuid %ld\n", read_text("/proc/sys/kernel/random/uuid"));
  printf("boot_id %ld\n", read_text("/proc/sys/kernel/random/boot_id"));
  memcpy(again, text, 40);
  read_text("/proc/sys/kernel/random/boot_id");
  printf("the same %d\n", memcmp(again, text, 37) == 0);
  printf("stat %d\n", read_text("/proc/stat") > 10 && strncmp(text, "cpu ", 4) == 0);
  long fd = SHOW(open, "/proc/meminfo", O_RDONLY), n, total = 0;
  while ((n = CALL(read, fd, again + total, 7)) > 0) total += n;
  printf("in small parts %d\n", total > 50 && again[total - 1] == '\n');
  SHOW(close, fd);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  CALL(umask, 022);
  CALL(close_range, 3, -1, 0);
  const char *dir = argc > 1 ? argv[1] : "/tmp/file_proc";
  CALL(mkdir, dir, 0755);
  if (CALL(chdir, dir) != 0) return 1;
  process();
  descriptors();
  details();
  machine();
  return 0;
}
