/* openat2's restrictions, and chroot. The same on Linux. */
#include "call.h"
#include <linux/openat2.h>
#define BAD ((void *)8)

static void open_with(const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags, .resolve = resolve};
  long dir = CALL(open, "top", O_DIRECTORY, 0), fd = CALL(openat2, dir, path, &how, sizeof how);
  printf("%s %lx: ", path, resolve);
  show("openat2", fd < 0 ? fd : 0);
  if (fd >= 0) CALL(close, fd);
  CALL(close, dir);
}

static void resolving(void) {
  static const uint64_t ways[] = {
      0, RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT};
  static const char *paths[] = {"file",     "sub/inner", "sub/../file", "../outside", "link",          "sub/up",
                                "absolute", "away",      "/file",       "missing",    "/proc/self/cwd"};
  for (size_t p = 0; p < sizeof paths / sizeof *paths; p++)
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
      if (paths[p][1] == 'p' && ways[w] == RESOLVE_IN_ROOT) continue;
      if (paths[p][0] == 'a' && ways[w] == RESOLVE_NO_XDEV) continue; /* the root may be another device */
      open_with(paths[p], O_RDONLY, ways[w]);
    }
  open_with("link", O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
  open_with("file", 1ull << 40, 0);
  open_with("file", O_RDONLY, 1 << 20);
  open_with("file", O_PATH | O_TRUNC, 0);
  open_with("file", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT);
}

static void arguments(void) {
  struct {
    struct open_how how;
    uint64_t more;
  } big = {.how.flags = O_RDONLY};
  SHOW(openat2, AT_FDCWD, "top/file", &big, 16);
  SHOW(openat2, AT_FDCWD, "top/file", &big, 100000);
  long fd = CALL(openat2, AT_FDCWD, "top/file", &big, sizeof big);
  printf("%d\n", fd >= 0);
  CALL(close, fd);
  big.more = 1;
  SHOW(openat2, AT_FDCWD, "top/file", &big, sizeof big);
  big.how.mode = 0644;
  SHOW(openat2, AT_FDCWD, "top/file", &big, 24);
  big.how.flags = O_CREAT | O_WRONLY;
  big.how.mode = 0100644;
  SHOW(openat2, AT_FDCWD, "top/new", &big, 24);
  big.how.mode = 0600;
  fd = CALL(openat2, AT_FDCWD, "top/new", &big, 24);
  printf("%d\n", fd >= 0);
  CALL(close, fd);
  SHOW(openat2, AT_FDCWD, "top/file", BAD, 24);
  SHOW(openat2, AT_FDCWD, BAD, &big, 24);
}

static void changed_root(void) {
  char path[4096];
  struct stat s;
  SHOW(chroot, "missing");
  SHOW(chroot, "top/file");
  SHOW(chroot, BAD);
  SHOW(chdir, "top");
  SHOW(chroot, ".");
  SHOW(getcwd, path, sizeof path);
  printf("%s\n", path);
  SHOW(stat, "/file", &s);
  SHOW(stat, "/../../file", &s);
  SHOW(stat, "/outside", &s);
  SHOW(stat, "../outside", &s);
  SHOW(stat, "absolute", &s);
  SHOW(chdir, "sub");
  SHOW(getcwd, path, sizeof path);
  printf("%s\n", path);
  SHOW(rmdir, "/");
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  CALL(umask, 022);
  CALL(chdir, argc > 1 ? argv[1] : "/tmp");
  CALL(mkdir, "top", 0755);
  CALL(mkdir, "top/sub", 0755);
  CALL(close, CALL(open, "outside", O_CREAT | O_WRONLY, 0644));
  CALL(close, CALL(open, "top/file", O_CREAT | O_WRONLY, 0644));
  CALL(close, CALL(open, "top/sub/inner", O_CREAT | O_WRONLY, 0644));
  CALL(symlink, "file", "top/link");
  CALL(symlink, "../file", "top/sub/up");
  CALL(symlink, "/file", "top/absolute");
  CALL(symlink, "../outside", "top/away");
  resolving();
  arguments();
  changed_root();
  return 0;
}
