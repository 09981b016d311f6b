/* Descriptors and pipes. The same on Linux. */
#include "call.h"
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static char buffer[200000];

static void duplicates(void) {
  long fd = SHOW(open, "f", O_CREAT | O_RDWR, 0644);
  SHOW(write, fd, "0123456789", 10);
  SHOW(dup, fd);
  SHOW(dup2, fd, 20);
  SHOW(dup2, fd, fd);
  SHOW(dup2, 99, 99);
  SHOW(dup2, fd, -1);
  SHOW(dup2, fd, 1000000);
  SHOW(dup3, fd, fd, 0);
  SHOW(dup3, fd, 21, O_CLOEXEC);
  SHOW(dup3, fd, 21, 7);
  SHOW(lseek, 20, 3, SEEK_SET);
  SHOW(read, 4, buffer, 2);
  printf("%.2s\n", buffer);
  SHOW(lseek, fd, 0, SEEK_CUR);
  SHOW(fcntl, fd, F_DUPFD, 20);
  SHOW(fcntl, fd, F_DUPFD_CLOEXEC, 5);
  SHOW(fcntl, fd, F_DUPFD, -1);
  SHOW(fcntl, 5, F_GETFD, 0);
  SHOW(fcntl, 21, F_GETFD, 0);
  SHOW(fcntl, 21, F_SETFD, 0);
  SHOW(fcntl, 21, F_GETFD, 0);
  SHOW(fcntl, fd, F_GETFL, 0);
  SHOW(fcntl, fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY);
  SHOW(fcntl, 20, F_GETFL, 0);
  SHOW(fcntl, fd, 12345, 0);
  SHOW(fcntl, 99, F_GETFD, 0);
  SHOW(fcntl, fd, F_SETFL, 0);
  struct flock lock = {.l_type = F_WRLCK};
  SHOW(fcntl, fd, F_SETLK, &lock);
  SHOW(fcntl, fd, F_GETLK, &lock);
  printf("%d\n", lock.l_type == F_UNLCK);
  SHOW(flock, fd, 2);
  int value = 0;
  SHOW(lseek, fd, 4, SEEK_SET);
  SHOW(ioctl, fd, FIONREAD, &value);
  printf("%d\n", value);
  SHOW(ioctl, fd, TCGETS, buffer);
  SHOW(ioctl, fd, FIOCLEX, 0);
  SHOW(fcntl, fd, F_GETFD, 0);
  SHOW(close_range, 4, 21, 0);
  SHOW(fcntl, 20, F_GETFD, 0);
  SHOW(fcntl, 22, F_GETFD, 0);
  SHOW(close_range, 22, -1, 4);
  SHOW(fcntl, 22, F_GETFD, 0);
  SHOW(close_range, 3, -1, 0);
  SHOW(close_range, 5, 4, 0);
  SHOW(close, fd);
  SHOW(fsync, fd);
}

static void pipes(void) {
  int fds[2], value;
  struct stat s;
  SHOW(pipe2, fds, 0x12345);
  SHOW(pipe2, (int *)8, 0);
  SHOW(pipe2, fds, O_NONBLOCK | O_CLOEXEC);
  printf("%d %d\n", fds[0], fds[1]);
  SHOW(fcntl, fds[0], F_GETFL, 0);
  SHOW(fcntl, fds[1], F_GETFL, 0);
  SHOW(fcntl, fds[1], F_GETPIPE_SZ, 0);
  SHOW(fstat, fds[0], &s);
  printf("%o\n", s.st_mode);
  SHOW(read, fds[0], buffer, 10);
  SHOW(read, fds[1], buffer, 10);
  SHOW(write, fds[0], buffer, 10);
  SHOW(lseek, fds[0], 0, SEEK_SET);
  SHOW(pread64, fds[0], buffer, 10, 0);
  SHOW(write, fds[1], "hello", 5);
  SHOW(ioctl, fds[0], FIONREAD, &value);
  printf("%d\n", value);
  struct iovec v[2] = {{buffer, 3}, {buffer + 3, 10}};
  SHOW(readv, fds[0], v, 2);
  printf("%.5s\n", buffer);
  SHOW(write, fds[1], buffer, 100000);
  SHOW(write, fds[1], buffer, 1);
  SHOW(read, fds[0], buffer, 4096);
  SHOW(write, fds[1], buffer, 4096);
  SHOW(write, fds[1], buffer, 4096);
  SHOW(read, fds[0], buffer, 200000);
  SHOW(read, fds[0], buffer, 0);
  for (int i = 0; i < 1000; i++) {
    memset(buffer, i, 3000);
    if (CALL(write, fds[1], buffer, 3000) != 3000 || CALL(read, fds[0], buffer, 3000) != 3000 || buffer[0] != (char)i ||
        buffer[2999] != (char)i)
      printf("bad round %d\n", i);
  }
  SHOW(close, fds[1]);
  SHOW(read, fds[0], buffer, 10);
  SHOW(close, fds[0]);
  SHOW(pipe, fds);
  SHOW(write, fds[1], "left", 4);
  SHOW(close, fds[1]);
  SHOW(read, fds[0], buffer, 10);
  SHOW(read, fds[0], buffer, 10);
  SHOW(close, fds[0]);
  signal(SIGPIPE, SIG_IGN);
  SHOW(pipe, fds);
  SHOW(close, fds[0]);
  SHOW(write, fds[1], "x", 1);
  SHOW(close, fds[1]);
}

static void memory_files(void) {
  long fd = SHOW(memfd_create, "name", 1);
  struct stat s;
  SHOW(write, fd, "memory", 6);
  SHOW(fstat, fd, &s);
  printf("%o %ld %ld\n", s.st_mode & S_IFMT, (long)s.st_nlink, (long)s.st_size);
  char path[64], target[64] = {0};
  snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  SHOW(readlink, path, target, 63);
  puts(target);
  long again = SHOW(open, path, O_RDONLY);
  SHOW(read, again, buffer, 10);
  SHOW(close, again);
  SHOW(close, fd);
  SHOW(open, path, O_RDONLY);
  SHOW(memfd_create, "name", 0x1000);
  fd = SHOW(open, ".", O_TMPFILE | O_RDWR, 0600);
  SHOW(write, fd, "named later", 11);
  snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  SHOW(linkat, AT_FDCWD, path, AT_FDCWD, "later", AT_SYMLINK_FOLLOW);
  SHOW(close, fd);
  SHOW(stat, "later", &s);
  printf("%ld\n", (long)s.st_size);
}

static void special(void) {
  struct stat s;
  long fd = SHOW(open, "/dev/null", O_RDWR);
  SHOW(read, fd, buffer, 10);
  SHOW(write, fd, buffer, 10);
  SHOW(lseek, fd, 100, SEEK_SET);
  SHOW(fstat, fd, &s);
  printf("%o %lx\n", s.st_mode, s.st_rdev);
  SHOW(close, fd);
  fd = SHOW(open, "/dev/zero", O_RDONLY);
  buffer[0] = 1;
  SHOW(read, fd, buffer, 10);
  printf("%d\n", buffer[0]);
  SHOW(close, fd);
  fd = SHOW(open, "/dev/full", O_WRONLY);
  SHOW(write, fd, buffer, 10);
  SHOW(close, fd);
  fd = SHOW(open, "/dev/urandom", O_RDONLY);
  SHOW(read, fd, buffer, 10);
  SHOW(close, fd);
  fd = SHOW(open, "/dev/null", O_WRONLY | O_TRUNC | O_CREAT, 0644);
  SHOW(close, fd);
  fd = SHOW(open, "/proc/self/maps", O_RDONLY);
  printf("%d\n", CALL(read, fd, buffer, 1000) > 10);
  SHOW(lseek, fd, 0, SEEK_SET);
  SHOW(close, fd);
  SHOW(access, "/proc/self/fd/99", F_OK);
  SHOW(open, "/proc/none", O_CREAT | O_WRONLY, 0644);
  SHOW(inotify_init1, O_NONBLOCK);
  SHOW(read, 3, buffer, 100);
  SHOW(inotify_add_watch, 3, ".", 2);
  SHOW(close, 3);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  CALL(umask, 022);
  CALL(close_range, 3, -1, 0);
  const char *dir = argc > 1 ? argv[1] : "/tmp/file_descriptors";
  CALL(mkdir, dir, 0755);
  if (CALL(chdir, dir) != 0) return 1;
  duplicates();
  pipes();
  memory_files();
  special();
  return 0;
}
