/* splice, tee, vmsplice, holes, and the flags of preadv2. The same on Linux. */
#include "call.h"
#include <sys/uio.h>
#define BAD ((void *)8)

static char buffer[200000];

static void fill(char *to, size_t n, int seed) {
  for (size_t i = 0; i < n; i++) to[i] = (char)('a' + (i * 7 + (size_t)seed) % 26);
}

static unsigned sum(const char *bytes, long n) {
  unsigned value = 0;
  for (long i = 0; i < n; i++) value = value * 31 + (unsigned char)bytes[i];
  return value;
}

static void splices(void) {
  int a[2], b[2];
  long offset = 100, file = SHOW(open, "from", O_CREAT | O_RDWR, 0644), to = SHOW(open, "to", O_CREAT | O_RDWR, 0644);
  fill(buffer, 20000, 1);
  SHOW(write, file, buffer, 20000);
  CALL(pipe2, a, O_NONBLOCK);
  CALL(pipe2, b, O_NONBLOCK);
  SHOW(splice, file, &offset, a[1], NULL, 10000, 0);
  printf("%ld\n", offset);
  SHOW(lseek, file, 19990, SEEK_SET);
  SHOW(splice, file, NULL, a[1], NULL, 100, 0);
  SHOW(splice, file, NULL, a[1], NULL, 100, 0);
  SHOW(lseek, file, 0, SEEK_CUR);
  SHOW(tee, a[0], b[1], 10, 0);
  long n = SHOW(read, b[0], buffer, 100);
  printf("%u\n", sum(buffer, n));
  SHOW(splice, a[0], NULL, b[1], NULL, 5000, 0);
  offset = 3;
  SHOW(splice, b[0], NULL, to, &offset, 5000, 0);
  printf("%ld\n", offset);
  SHOW(splice, a[0], NULL, to, NULL, 100000, 0);
  SHOW(splice, a[0], NULL, to, NULL, 100000, 2);
  n = SHOW(pread64, to, buffer, sizeof buffer, 0);
  printf("%u\n", sum(buffer, n));
  SHOW(splice, file, NULL, to, NULL, 10, 0);
  SHOW(splice, a[0], NULL, a[1], NULL, 10, 0);
  SHOW(splice, a[0], &offset, to, NULL, 10, 0);
  SHOW(splice, a[1], NULL, to, NULL, 10, 0);
  SHOW(splice, 99, NULL, a[1], NULL, 10, 0);
  SHOW(splice, file, NULL, a[1], NULL, 10, 64);
  SHOW(splice, file, BAD, a[1], NULL, 10, 0);
  SHOW(splice, 99, NULL, 99, NULL, 0, 0);
  SHOW(tee, file, a[1], 10, 0);
  SHOW(tee, a[0], a[1], 10, 0);
  SHOW(tee, a[0], b[1], 10, 2);
  struct iovec v[2] = {{"hello ", 6}, {"world", 5}}, in = {buffer, 50};
  SHOW(vmsplice, a[1], v, 2, 0);
  SHOW(vmsplice, a[0], &in, 1, 0);
  printf("%.11s\n", buffer);
  SHOW(vmsplice, file, v, 2, 0);
  SHOW(vmsplice, a[1], BAD, 2, 0);
  SHOW(close, b[0]);
  SHOW(close, a[1]);
  SHOW(splice, a[0], NULL, to, NULL, 10, 0);
}

static void holes(void) {
  long fd = SHOW(open, "sparse", O_CREAT | O_RDWR, 0644);
  SHOW(lseek, fd, 0, SEEK_DATA);
  SHOW(lseek, fd, 0, SEEK_HOLE);
  SHOW(ftruncate, fd, 1 << 20);
  SHOW(lseek, fd, 0, SEEK_DATA);
  SHOW(lseek, fd, 0, SEEK_HOLE);
  SHOW(pwrite64, fd, "x", 1, 40960);
  SHOW(pwrite64, fd, "x", 1, 600000);
  SHOW(lseek, fd, 0, SEEK_DATA);
  SHOW(lseek, fd, 40970, SEEK_DATA);
  SHOW(lseek, fd, 40970, SEEK_HOLE);
  SHOW(lseek, fd, 45056, SEEK_DATA);
  SHOW(lseek, fd, 600000, SEEK_HOLE);
  SHOW(lseek, fd, 700000, SEEK_DATA);
  SHOW(lseek, fd, 1 << 20, SEEK_DATA);
  SHOW(lseek, fd, (1 << 20) - 1, SEEK_HOLE);
  SHOW(lseek, fd, -1, SEEK_HOLE);
}

static void flags(void) {
  struct iovec v = {buffer, 10};
  int fds[2];
  CALL(pipe, fds);
  long fd = CALL(open, "flags", O_CREAT | O_RDWR, 0644);
  fill(buffer, 20, 3);
  SHOW(pwritev2, fd, &v, 1, 0, 0, RWF_DSYNC);
  SHOW(pwritev2, fd, &v, 1, 0, 0, RWF_APPEND);
  SHOW(pwritev2, fd, &v, 1, -1, -1, RWF_SYNC);
  SHOW(pwritev2, fd, &v, 1, 5, 0, 1 << 20);
  SHOW(preadv2, fd, &v, 1, 0, 0, RWF_HIPRI);
  SHOW(fcntl, fd, F_GETFL, 0);
  SHOW(preadv2, fds[0], &v, 1, -1, -1, RWF_NOWAIT);
  SHOW(fcntl, fds[0], F_GETFL, 0);
  SHOW(preadv2, fd, BAD, 1, 0, 0, 0);
  SHOW(lseek, fd, 0, SEEK_END);
}

static void locks(void) {
  long fd = CALL(open, "locked", O_CREAT | O_RDWR, 0644), reader = CALL(open, "locked", O_RDONLY, 0);
  struct flock lock = {.l_type = F_RDLCK}, asked = {.l_type = F_WRLCK};
  SHOW(fcntl, fd, F_SETLK, &lock);
  SHOW(fcntl, fd, F_GETLK, &asked);
  printf("%d\n", asked.l_type);
  lock.l_type = F_WRLCK;
  SHOW(fcntl, reader, F_SETLK, &lock);
  lock.l_type = 9;
  SHOW(fcntl, fd, F_SETLK, &lock);
  lock = (struct flock){.l_type = F_WRLCK, .l_whence = 7};
  SHOW(fcntl, fd, F_SETLKW, &lock);
  lock = (struct flock){.l_type = F_WRLCK, .l_start = -5};
  SHOW(fcntl, fd, F_SETLK, &lock);
  lock = (struct flock){.l_type = F_WRLCK, .l_pid = 5};
  SHOW(fcntl, fd, F_OFD_SETLK, &lock);
  lock = (struct flock){.l_type = F_UNLCK};
  SHOW(fcntl, fd, F_SETLK, &lock);
  lock.l_type = F_WRLCK;
  SHOW(fcntl, fd, F_OFD_SETLK, &lock);
  SHOW(fcntl, fd, F_SETLK, BAD);
  SHOW(fcntl, fd, F_GETLEASE, 0);
  SHOW(flock, fd, 0);
  SHOW(flock, fd, 2 | 4);
  SHOW(flock, fd, 8);
  SHOW(flock, 99, 2);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  CALL(chdir, argc > 1 ? argv[1] : "/tmp");
  splices();
  holes();
  flags();
  locks();
  return 0;
}
