/* Bytes: reading, writing, seeking, truncating, holes, vectors, copies. The same on Linux. */
#include "call.h"
#include <sys/uio.h>

static char buffer[300000];

/* A digest of a whole file. */
static void digest(const char *path) {
  long fd = CALL(open, path, O_RDONLY), n, total = 0;
  uint64_t hash = 14695981039346656037ull;
  while ((n = CALL(read, fd, buffer, 7777)) > 0) {
    total += n;
    for (long i = 0; i < n; i++) hash = (hash ^ (unsigned char)buffer[i]) * 1099511628211ull;
  }
  CALL(close, fd);
  printf("%s: %ld bytes, %016lx\n", path, total, (unsigned long)hash);
}

static void fill(int seed, size_t n) {
  for (size_t i = 0; i < n; i++) buffer[i] = (char)(seed + i * 31 + (i >> 8));
}

static void basics(void) {
  long fd = SHOW(open, "f", O_CREAT | O_RDWR, 0644);
  fill(1, 100000);
  SHOW(write, fd, buffer, 100000);
  digest("f");
  SHOW(lseek, fd, 0, SEEK_CUR);
  SHOW(lseek, fd, -10, SEEK_END);
  SHOW(read, fd, buffer, 100);
  SHOW(read, fd, buffer, 100);
  SHOW(lseek, fd, -1, SEEK_SET);
  SHOW(lseek, fd, 0, 17);
  SHOW(lseek, fd, -200000, SEEK_CUR);
  SHOW(pread64, fd, buffer, 10, 99995);
  SHOW(pread64, fd, buffer, 10, 200000);
  SHOW(pread64, fd, buffer, 10, -1);
  SHOW(pwrite64, fd, "patch", 5, 4094);
  digest("f");
  SHOW(write, fd, (char *)8, 5);
  SHOW(read, fd, (char *)8, 5);
  SHOW(lseek, fd, 0, SEEK_SET);
  SHOW(read, fd, (char *)8, 5);
  SHOW(write, fd, buffer, 0);
  SHOW(close, fd);
  SHOW(write, fd, buffer, 1);
  fd = SHOW(open, "f", O_RDONLY);
  SHOW(write, fd, buffer, 1);
  SHOW(ftruncate, fd, 1);
  SHOW(close, fd);
  fd = SHOW(open, "f", O_WRONLY | O_APPEND);
  SHOW(read, fd, buffer, 1);
  SHOW(write, fd, "tail", 4);
  SHOW(lseek, fd, 0, SEEK_CUR);
  SHOW(lseek, fd, 10, SEEK_SET);
  SHOW(write, fd, "more", 4);
  SHOW(close, fd);
  digest("f");
  fd = SHOW(open, "f", O_PATH);
  SHOW(read, fd, buffer, 1);
  SHOW(fchmod, fd, 0600);
  SHOW(fcntl, fd, F_GETFD, 0);
  SHOW(lseek, fd, 0, SEEK_SET);
  SHOW(close, fd);
  fd = SHOW(open, ".", O_RDONLY);
  SHOW(read, fd, buffer, 10);
  SHOW(write, fd, buffer, 10);
  SHOW(pread64, fd, buffer, 10, 0);
  SHOW(ftruncate, fd, 10);
  SHOW(close, fd);
}

static void sizes(void) {
  struct stat s;
  SHOW(truncate, "f", 5000);
  digest("f");
  SHOW(truncate, "f", 20000);
  digest("f");
  SHOW(truncate, "f", 0);
  SHOW(truncate, "f", -1);
  SHOW(truncate, "none", 1);
  SHOW(truncate, ".", 1);
  digest("f");
  long fd = SHOW(open, "f", O_RDWR);
  SHOW(pwrite64, fd, "x", 1, 1000000);
  SHOW(ftruncate, fd, 1000001);
  digest("f");
  SHOW(ftruncate, fd, 999000);
  SHOW(ftruncate, fd, 1000200);
  digest("f");
  SHOW(ftruncate, fd, 0);
  SHOW(pwrite64, fd, "deep", 4, 1l << 33);
  SHOW(fstat, fd, &s);
  printf("size %ld, sparse %d\n", (long)s.st_size, s.st_blocks < 100);
  SHOW(pread64, fd, buffer, 10, (1l << 33) - 4);
  printf("%d %.4s\n", buffer[0], buffer + 4);
  SHOW(ftruncate, fd, 0);
  fill(3, 50000);
  SHOW(pwrite64, fd, buffer, 50000, 100);
  SHOW(fallocate, fd, 3, 5000, 20000);
  digest("f");
  SHOW(fallocate, fd, 0, 50000, 10000);
  digest("f");
  SHOW(fallocate, fd, 1, 70000, 10000);
  digest("f");
  SHOW(fallocate, fd, 0, 0, 0);
  SHOW(fallocate, fd, 0, -1, 5);
  SHOW(fallocate, fd, 2, 0, 5);
  SHOW(close, fd);
  fd = SHOW(open, "f", O_RDWR | O_TRUNC);
  digest("f");
  SHOW(close, fd);
}

static void vectors(void) {
  struct iovec v[3] = {{(char *)"abc", 3}, {(char *)"", 0}, {(char *)"defgh", 5}};
  char one[4] = {0}, two[10] = {0};
  struct iovec r[2] = {{one, 3}, {two, 9}};
  long fd = SHOW(open, "v", O_CREAT | O_RDWR, 0644);
  SHOW(writev, fd, v, 3);
  SHOW(lseek, fd, 1, SEEK_SET);
  SHOW(readv, fd, r, 2);
  printf("%s %s\n", one, two);
  SHOW(preadv, fd, r, 2, 4);
  printf("%s\n", one);
  SHOW(pwritev, fd, v, 3, 100);
  digest("v");
  SHOW(readv, fd, r, 2000);
  SHOW(readv, fd, r, 0);
  SHOW(readv, fd, (void *)8, 1);
  v[2].iov_len = (size_t)-5;
  SHOW(writev, fd, v, 3);
  v[2] = (struct iovec){(char *)8, 5};
  SHOW(pwritev, fd, v, 3, 0);
  SHOW(close, fd);
}

static void copies(void) {
  long in = SHOW(open, "in", O_CREAT | O_RDWR, 0644), out = SHOW(open, "out", O_CREAT | O_RDWR, 0644);
  fill(9, 200000);
  SHOW(write, in, buffer, 200000);
  long offset = 1000, to = 50;
  SHOW(sendfile, out, in, &offset, 150000);
  printf("offset %ld\n", offset);
  SHOW(sendfile, out, in, 0, 10);
  SHOW(lseek, in, 0, SEEK_SET);
  SHOW(sendfile, out, in, 0, 10);
  SHOW(lseek, in, 0, SEEK_CUR);
  digest("out");
  offset = 190000;
  SHOW(copy_file_range, in, &offset, out, &to, 50000, 0);
  printf("offset %ld to %ld\n", offset, to);
  SHOW(copy_file_range, in, &offset, out, &to, 50000, 0);
  SHOW(copy_file_range, in, 0, out, 0, 50000, 1);
  digest("out");
  offset = 0, to = 100;
  SHOW(copy_file_range, in, &offset, in, &to, 200, 0);
  SHOW(sendfile, out, 77, 0, 10);
  SHOW(close, in);
  SHOW(close, out);
}

static void attributes(void) {
  struct stat s;
  long times[4] = {1000000001, 5, 1000000002, 999999999};
  SHOW(chmod, "in", 04751);
  SHOW(stat, "in", &s);
  printf("%o\n", s.st_mode);
  SHOW(chown, "in", 12, 34);
  SHOW(stat, "in", &s);
  printf("%o %u %u\n", s.st_mode, s.st_uid, s.st_gid);
  SHOW(lchown, "in", -1, 0);
  SHOW(stat, "in", &s);
  printf("%u %u\n", s.st_uid, s.st_gid);
  SHOW(utimensat, AT_FDCWD, "in", times, 0);
  SHOW(stat, "in", &s);
  printf("%ld.%09ld %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  times[1] = UTIME_OMIT;
  times[2] = -7, times[3] = 3;
  SHOW(utimensat, AT_FDCWD, "in", times, 0);
  SHOW(stat, "in", &s);
  printf("%ld.%09ld %ld.%09ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  times[3] = 1000000000;
  SHOW(utimensat, AT_FDCWD, "in", times, 0);
  SHOW(utimensat, 77, 0, times, 0);
  SHOW(utime, "none", 0);
  SHOW(umask, 077);
  SHOW(open, "masked", O_CREAT, 0666);
  SHOW(stat, "masked", &s);
  printf("%o\n", s.st_mode);
  SHOW(umask, 022);
  struct statx x;
  SHOW(statx, AT_FDCWD, "in", 0, 0x7ff, &x);
  printf("%o %u %lu\n", x.stx_mode, x.stx_uid, (unsigned long)x.stx_size);
  SHOW(statx, AT_FDCWD, "in", 0x8000000, 0x7ff, &x);
  SHOW(newfstatat, AT_FDCWD, "", &s, AT_EMPTY_PATH);
  printf("%d\n", S_ISDIR(s.st_mode));
  SHOW(newfstatat, AT_FDCWD, "", &s, 0);
  SHOW(faccessat2, AT_FDCWD, "in", X_OK, 0);
  SHOW(getxattr, "in", "user.none", buffer, 10);
  SHOW(close, 3);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  CALL(umask, 022);
  const char *dir = argc > 1 ? argv[1] : "/tmp/file_data";
  CALL(mkdir, dir, 0755);
  if (CALL(chdir, dir) != 0) return 1;
  basics();
  sizes();
  vectors();
  copies();
  attributes();
  return 0;
}
