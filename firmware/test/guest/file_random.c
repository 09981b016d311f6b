/* Random operations on a few names, each result told; the same on Linux.
 * Arguments: DIRECTORY [SEED [merged]] */
#include "call.h"

static uint64_t state = 88172645463325252ull;

static unsigned next(unsigned limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned)(state >> 11) % limit;
}

/* Up to three components of few names, so that operations meet. */
static const char *path(int which) {
  static const char *const names[] = {"a", "b", "c", "d", "..", "l"};
  static char paths[2][64];
  char *to = paths[which];
  unsigned depth = 1 + next(3);
  *to = 0;
  for (unsigned i = 0; i < depth; i++) {
    if (i > 0) strcat(to, "/");
    unsigned k = next(20);
    strcat(to, k == 0 && i > 0 ? names[4] : k < 4 ? names[5] : names[k % 4]);
  }
  if (next(25) == 0) strcat(to, "/");
  return to;
}

static char buffer[20000];

static void write_some(const char *p) {
  long fd = SHOW(open, p, O_RDWR | (next(3) ? O_CREAT : 0) | (next(8) ? 0 : O_TRUNC), 0644);
  if (fd < 0) return;
  unsigned n = next(20000), at = next(30000);
  memset(buffer, (int)next(256), n);
  SHOW(pwrite64, fd, buffer, n, at);
  if (next(4) == 0) SHOW(ftruncate, fd, next(40000));
  if (next(6) == 0) SHOW(fallocate, fd, 3, next(30000), 1 + next(20000));
  CALL(close, fd);
}

static void read_all(const char *p) {
  long fd = CALL(open, p, O_RDONLY), n;
  if (fd < 0) {
    show("read", fd);
    return;
  }
  unsigned long hash = 0;
  while ((n = CALL(read, fd, buffer, 5000)) > 0)
    for (long i = 0; i < n; i++) hash = hash * 31 + (unsigned char)buffer[i];
  printf("read %s: %ld %lx\n", p, n, hash);
  CALL(close, fd);
}

static int merged; /* directories of several layers do not count their links */

static void tell(const char *p) {
  struct stat s;
  long error = CALL(lstat, p, &s);
  if (error != 0) show("lstat", error);
  else
    printf("%s %o %ld %ld\n", p, s.st_mode, merged && S_ISDIR(s.st_mode) ? 0 : (long)s.st_nlink,
           S_ISDIR(s.st_mode) ? 0 : (long)s.st_size);
}

static int count_names(const char *p) {
  long fd = CALL(open, p, O_RDONLY | O_DIRECTORY), n;
  int count = 0;
  while (fd >= 0 && (n = CALL(getdents64, fd, buffer, 100)) > 0)
    for (long at = 0; at < n; at += *(unsigned short *)(buffer + at + 16)) count++;
  CALL(close, fd);
  return count;
}

static void act(void) {
  const char *a = path(0), *b = path(1);
  switch (next(14)) {
    case 0: SHOW(mkdir, a, 0755); break;
    case 1: SHOW(rmdir, a); break;
    case 2: SHOW(unlink, a); break;
    case 3: SHOW(rename, a, b); break;
    case 4: SHOW(link, a, b); break;
    case 5: SHOW(symlink, b, a); break;
    case 6: SHOW(renameat2, AT_FDCWD, a, AT_FDCWD, b, next(3)); break;
    case 7: SHOW(truncate, a, next(30000)); break;
    case 8: tell(a); break;
    case 9: printf("%s: %d names\n", a, count_names(a)); break;
    case 10: read_all(a); break;
    case 11:
      SHOW(open, a, O_CREAT | O_EXCL | O_RDONLY, 0600);
      CALL(close, 3);
      break;
    case 12: SHOW(access, a, F_OK); break;
    default: write_some(a); break;
  }
}

int main(int argc, char **argv) {
  CALL(umask, 022);
  CALL(close_range, 3, -1, 0);
  if (argc < 2 || CALL(chdir, argv[1]) != 0) return 1;
  /* Links may lead out of the directory, so it becomes the root; "/" is for guests of our own. */
  if (strcmp(argv[1], "/") != 0 && CALL(chroot, ".") != 0) return 1;
  merged = argc > 3;
  CALL(mkdir, "root", 0755);
  CALL(chdir, "root");
  if (argc > 2) state ^= strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < 20000; i++) {
    printf("%d ", i);
    act();
  }
  return 0;
}
