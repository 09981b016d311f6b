/* Extended attributes. The same on Linux, where memory file systems have them. */
#include "call.h"
#include <sys/xattr.h>
#define BAD ((void *)8)

static char buffer[70000];

static void on_files(void) {
  char name[300];
  long fd = CALL(open, "file", O_CREAT | O_RDWR, 0644);
  SHOW(listxattr, "file", buffer, 100);
  SHOW(getxattr, "file", "user.one", buffer, 100);
  SHOW(setxattr, "file", "user.one", "value", 5, XATTR_REPLACE);
  SHOW(setxattr, "file", "user.one", "value", 5, XATTR_CREATE);
  SHOW(setxattr, "file", "user.one", "again", 5, XATTR_CREATE);
  SHOW(getxattr, "file", "user.one", buffer, 100);
  printf("%.5s\n", buffer);
  SHOW(getxattr, "file", "user.one", NULL, 0);
  SHOW(getxattr, "file", "user.one", buffer, 3);
  SHOW(fsetxattr, fd, "user.one", "longer than before", 18, 0);
  SHOW(fgetxattr, fd, "user.one", buffer, 100);
  printf("%.18s\n", buffer);
  SHOW(setxattr, "file", "user.empty", "", 0, 0);
  SHOW(getxattr, "file", "user.empty", buffer, 10);
  SHOW(listxattr, "file", NULL, 0);
  SHOW(listxattr, "file", buffer, 5);
  SHOW(flistxattr, fd, buffer, 100);
  SHOW(removexattr, "file", "user.empty");
  SHOW(removexattr, "file", "user.empty");
  SHOW(setxattr, "file", "strange", "x", 1, 0);
  SHOW(setxattr, "file", "", "x", 1, 0);
  SHOW(setxattr, "file", "user.one", "x", 1, 8);
  SHOW(setxattr, "file", "user.big", buffer, 65537, 0);
  SHOW(setxattr, "missing", "user.one", "x", 1, 0);
  memset(name, 'n', sizeof name);
  memcpy(name, "user.", 5);
  name[299] = '\0';
  SHOW(setxattr, "file", name, "x", 1, 0);
  name[255] = '\0';
  SHOW(setxattr, "file", name, "x", 1, 0);
  SHOW(fremovexattr, fd, name);
  SHOW(fremovexattr, 99, name);
  SHOW(setxattr, "file", BAD, "x", 1, 0);
  SHOW(setxattr, "file", "user.bad", BAD, 1, 0);
  SHOW(getxattr, "file", "user.one", BAD, 100);
  SHOW(listxattr, BAD, buffer, 100);
  SHOW(rename, "file", "renamed");
  SHOW(getxattr, "renamed", "user.one", buffer, 100);
  SHOW(unlink, "renamed");
  SHOW(fgetxattr, fd, "user.one", buffer, 100);
}

static void on_others(void) {
  CALL(mkdir, "dir", 0755);
  SHOW(setxattr, "dir", "user.one", "x", 1, 0);
  SHOW(getxattr, "dir", "user.one", buffer, 10);
  CALL(symlink, "dir", "link");
  SHOW(getxattr, "link", "user.one", buffer, 10);
  SHOW(lgetxattr, "link", "user.one", buffer, 10);
  SHOW(lsetxattr, "link", "user.one", "x", 1, 0);
  SHOW(lsetxattr, "link", "trusted.one", "x", 1, 0);
  SHOW(lgetxattr, "link", "trusted.one", buffer, 10);
  SHOW(llistxattr, "link", NULL, 0);
  SHOW(lremovexattr, "link", "trusted.one");
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  CALL(umask, 022);
  CALL(chdir, argc > 1 ? argv[1] : "/tmp");
  on_files();
  on_others();
  return 0;
}
