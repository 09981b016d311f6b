/* Names: walking, making, removing, linking, renaming. Prints one line a call; the same on Linux.
 */
#include "call.h"

static void show_stat(const char *path) {
  struct stat s;
  long error = CALL(lstat, path, &s);
  if (error != 0) {
    show(path, error);
    return;
  }
  printf("%s: mode %o nlink %ld size %ld\n", path, s.st_mode, (long)s.st_nlink,
         S_ISDIR(s.st_mode) ? 0 : (long)s.st_size);
}

static void make(const char *path, const char *text) {
  long fd = CALL(open, path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (fd < 0 || CALL(write, fd, text, strlen(text)) < 0) printf("cannot make %s\n", path);
  CALL(close, fd);
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void show_dir(const char *path) {
  static char buf[65536];
  char *lines[512];
  int count = 0;
  long fd = SHOW(open, path, O_RDONLY | O_DIRECTORY), n;
  while ((n = CALL(getdents64, fd, buf, 200)) > 0)
    for (long at = 0; at < n; at += *(unsigned short *)(buf + at + 16)) {
      char line[300];
      snprintf(line, sizeof line, "%d %s", buf[at + 18], buf + at + 19);
      lines[count++] = strdup(line);
    }
  qsort(lines, (size_t)count, sizeof *lines, compare);
  for (int i = 0; i < count; i++) {
    printf("  %s\n", lines[i]);
    free(lines[i]);
  }
  show("end", n);
  CALL(close, fd);
}

static void walking(void) {
  SHOW(mkdir, "d", 0777);
  SHOW(mkdir, "d", 0777);
  SHOW(mkdir, "d/e/", 0700);
  SHOW(mkdir, "x/y", 0777);
  make("d/f", "hello");
  SHOW(mkdir, "d/f", 0777);
  SHOW(mkdir, "d/f/g", 0777);
  SHOW(mkdir, "", 0777);
  SHOW(mkdir, "/", 0777);
  SHOW(mkdir, ".", 0777);
  SHOW(open, "d/f/", O_RDONLY);
  SHOW(open, "d/new/", O_CREAT | O_WRONLY, 0644);
  SHOW(open, "d", O_WRONLY);
  SHOW(open, "d", O_CREAT | O_RDONLY, 0644);
  SHOW(open, "d/f", O_RDONLY | O_DIRECTORY);
  SHOW(open, "d/f", O_CREAT | O_EXCL | O_WRONLY, 0644);
  SHOW(open, "d/none", O_RDONLY);
  SHOW(open, (char *)8, O_RDONLY);
  SHOW(access, "d/../d/./e/../f", R_OK);
  SHOW(access, "d/f", X_OK);
  SHOW(access, "d/f", 8);
  SHOW(access, "d/f/..", F_OK);
  SHOW(access, "../../../../../../..", F_OK);
  char longname[300], longpath[5000];
  memset(longname, 'n', 299);
  longname[299] = 0;
  SHOW(access, longname, F_OK);
  memset(longpath, '/', 4999);
  longpath[4999] = 0;
  SHOW(access, longpath, F_OK);
  longname[255] = 0;
  SHOW(mkdir, longname, 0755);
  SHOW(rmdir, longname);
  show_stat("d");
  show_stat("d/e");
  show_stat("d/f");
  show_stat("d/f/");
}

static void links(void) {
  char buf[100] = {0};
  SHOW(symlink, "f", "d/l");
  SHOW(symlink, "d/e", "le");
  SHOW(symlink, "loop2", "loop1");
  SHOW(symlink, "loop1", "loop2");
  SHOW(symlink, "nowhere", "dangling");
  SHOW(symlink, "", "empty");
  SHOW(symlink, "x", "d/l");
  SHOW(symlink, "x", "slash/");
  SHOW(readlink, "d/l", buf, 100);
  SHOW(readlink, "d/l", buf, 0);
  SHOW(readlink, "d/f", buf, 100);
  SHOW(readlink, "dangling", buf, 3);
  printf("%.3s\n", buf);
  SHOW(access, "d/l", F_OK);
  SHOW(access, "loop1", F_OK);
  SHOW(access, "loop1/x", F_OK);
  SHOW(access, "le/../f", F_OK);
  SHOW(access, "d/l/", F_OK);
  SHOW(open, "d/l", O_RDONLY | O_NOFOLLOW);
  SHOW(open, "le/", O_RDONLY | O_NOFOLLOW);
  CALL(close, 3);
  SHOW(open, "dangling", O_CREAT | O_EXCL | O_WRONLY, 0644);
  SHOW(open, "dangling", O_CREAT | O_WRONLY, 0600);
  CALL(close, 3);
  show_stat("nowhere");
  SHOW(unlink, "le/");
  SHOW(rmdir, "le");
  SHOW(rmdir, "le/");
  show_stat("le");
  show_stat("le/");
  char name[16], target[16] = "d/f";
  for (int i = 0; i < 42; i++) {
    snprintf(name, sizeof name, "c%d", i);
    CALL(symlink, target, name);
    strcpy(target, name);
  }
  SHOW(access, "c38", F_OK);
  SHOW(access, "c39", F_OK);
  SHOW(access, "c40", F_OK);
  SHOW(access, "c41", F_OK);
  for (int i = 0; i < 42; i++) {
    snprintf(name, sizeof name, "c%d", i);
    CALL(unlink, name);
  }

  SHOW(link, "d/f", "d/h");
  SHOW(link, "d/f", "d/h");
  SHOW(link, "d", "d2");
  SHOW(link, "d/none", "d2");
  SHOW(link, "d/l", "l2");
  show_stat("l2");
  SHOW(linkat, AT_FDCWD, "d/l", AT_FDCWD, "h2", AT_SYMLINK_FOLLOW);
  show_stat("h2");
  show_stat("d/h");
  SHOW(unlink, "d/f");
  show_stat("d/h");
  SHOW(access, "d/l", F_OK);
  SHOW(lstat, "d/l", (char *)8);
  SHOW(rename, "d/h", "d/f");
  show_dir("d");
}

static void removing(void) {
  SHOW(unlink, "d");
  SHOW(unlink, "d/none");
  SHOW(unlink, "d/f/");
  SHOW(unlink, ".");
  SHOW(rmdir, "d");
  SHOW(rmdir, "d/f");
  SHOW(rmdir, "d/e/.");
  SHOW(rmdir, "d/e/..");
  SHOW(rmdir, "none");
  SHOW(rmdir, "/");
  SHOW(unlinkat, AT_FDCWD, "d/e", AT_REMOVEDIR);
  SHOW(unlinkat, AT_FDCWD, "d/e", 0x4000);
  SHOW(unlinkat, 99, "e", 0);
  show_stat("d");
  SHOW(mkdir, "gone", 0755);
  long fd = SHOW(open, "gone", O_RDONLY);
  SHOW(chdir, "gone");
  SHOW(rmdir, "../gone");
  char cwd[4096];
  SHOW(getcwd, cwd, sizeof cwd);
  SHOW(openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0644);
  SHOW(mkdirat, fd, "new", 0755);
  SHOW(getdents64, fd, cwd, sizeof cwd);
  SHOW(chdir, "..");
  SHOW(close, fd);
  SHOW(chdir, "d/f");
  SHOW(chdir, "none");
  make("open", "still here");
  fd = SHOW(open, "open", O_RDWR);
  SHOW(unlink, "open");
  memset(cwd, 0, sizeof cwd);
  SHOW(read, fd, cwd, 100);
  puts(cwd);
  struct stat s;
  SHOW(fstat, fd, &s);
  printf("nlink %ld size %ld\n", (long)s.st_nlink, (long)s.st_size);
  SHOW(close, fd);
}

static void renaming(void) {
  CALL(mkdir, "a", 0755);
  CALL(mkdir, "a/b", 0755);
  CALL(mkdir, "a/full", 0755);
  CALL(mkdir, "empty", 0755);
  make("a/full/x", "x");
  make("f1", "one");
  make("f2", "two!");
  SHOW(rename, "a", "a/b/c");
  SHOW(rename, "a", "a");
  SHOW(rename, "f1", "f1");
  SHOW(rename, "a/b", "a/full");
  SHOW(rename, "a/full", "a/b");
  show_stat("a");
  show_stat("a/b/x");
  SHOW(rename, "f1", "a/b");
  SHOW(rename, "a/b", "f1");
  SHOW(rename, "a", "empty/");
  SHOW(rename, "f1", "new/");
  SHOW(rename, "f1", "f2");
  show_stat("f2");
  SHOW(rename, "f1", "f3");
  SHOW(rename, "none", "f3");
  SHOW(rename, ".", "f3");
  SHOW(rename, "f2", "..");
  SHOW(rename, "f2", "f2/x");
  SHOW(rename, "f2", "none/x");
  SHOW(link, "f2", "same");
  SHOW(rename, "f2", "same");
  show_stat("f2");
  SHOW(unlink, "same");
  make("f4", "four");
  SHOW(renameat2, AT_FDCWD, "f2", AT_FDCWD, "f4", 1);
  SHOW(renameat2, AT_FDCWD, "f2", AT_FDCWD, "f5", 1);
  SHOW(renameat2, AT_FDCWD, "f5", AT_FDCWD, "empty", 2);
  SHOW(renameat2, AT_FDCWD, "f5", AT_FDCWD, "none", 2);
  SHOW(renameat2, AT_FDCWD, "f5", AT_FDCWD, "empty", 3);
  show_dir(".");
  show_dir("empty");
  show_dir("f5");
  SHOW(rename, "f5/b", "f5/f5");
  long fd = SHOW(open, "f5/f5", O_RDONLY);
  SHOW(rename, "f5", "top");
  SHOW(openat, fd, "x", O_RDONLY);
  SHOW(openat, fd, "../f5/x", O_RDONLY);
  SHOW(fchdir, fd);
  char cwd[4096], *last;
  SHOW(getcwd, cwd, 2);
  CALL(getcwd, cwd, sizeof cwd);
  last = strstr(cwd, "top");
  puts(last == NULL ? cwd : last);
  SHOW(chdir, "../..");
  SHOW(getcwd, cwd, 0);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  CALL(umask, 022);
  const char *dir = argc > 1 ? argv[1] : "/tmp/file_names";
  CALL(mkdir, dir, 0755);
  if (CALL(chdir, dir) != 0) return 1;
  walking();
  links();
  removing();
  renaming();
  return 0;
}
