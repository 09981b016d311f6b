/* What users other than root may do with files: mode bits, owners, groups, sticky directories, capabilities. */
#include "call.h"
#include <dirent.h>
#include <errno.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ALICE = 1000, BOB = 1001, STAFF = 50 };

static void make(const char *path, int mode, int uid, int gid) {
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
  CALL(write, fd, "#!/bin/true\n", 12);
  CALL(fchown, fd, uid, gid);
  CALL(fchmod, fd, mode);
  CALL(close, fd);
}

static void make_dir(const char *path, int mode, int uid, int gid) {
  CALL(mkdir, path, 0700);
  CALL(chown, path, uid, gid);
  CALL(chmod, path, mode);
}

/* Effective ids change, real ones stay root's. */
static void become(int uid, int gid, int group) {
  gid_t groups[] = {group};
  CALL(setresuid, -1, 0, -1);
  CALL(setgroups, group == 0 ? 0 : 1, groups);
  CALL(setresgid, -1, gid, -1);
  CALL(setresuid, -1, uid, -1);
  printf("-- %d:%d %d\n", uid, gid, group);
}

static void try_open(const char *path, int flags) {
  long fd = CALL(open, path, flags, 0644);
  printf("open(%s, %o) = %s\n", path, flags, fd < 0 ? strerrorname_np((int)-fd) : "ok");
  if (fd >= 0) CALL(close, fd);
}

static void show_owner(const char *path) {
  struct stat s;
  if (lstat(path, &s) < 0) printf("%s: %s\n", path, strerrorname_np(errno));
  else printf("%s: %o %d:%d\n", path, s.st_mode, s.st_uid, s.st_gid);
}

static void open_all(void) {
  static const char *const paths[] = {"own", "own0", "group", "other", "rootonly", "none", "closed/in", "listed/in", "through/in"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    try_open(paths[i], O_RDONLY);
    try_open(paths[i], O_WRONLY);
    try_open(paths[i], O_RDWR);
    try_open(paths[i], O_PATH);
  }
  try_open("other", O_RDONLY | O_TRUNC);
  try_open("closed", O_RDONLY | O_DIRECTORY);
  try_open("listed", O_RDONLY | O_DIRECTORY);
  try_open("through", O_RDONLY | O_DIRECTORY);
  try_open("other", O_RDONLY | O_NOATIME);
  try_open("link", O_RDONLY);
  try_open("other", O_WRONLY | O_DIRECTORY);
  try_open("closed", O_WRONLY);
}

static void change_names(void) {
  try_open("new", O_CREAT | O_WRONLY);
  try_open("sticky/mine", O_CREAT | O_WRONLY);
  try_open("sticky/bobs", O_CREAT | O_RDONLY);
  try_open("sticky", O_TMPFILE | O_RDWR);
  try_open("listed", O_TMPFILE | O_RDWR);
  SHOW(mkdir, "dir", 0755);
  SHOW(mkdir, "own", 0755);
  SHOW(mkdir, "sticky/dir", 0755);
  SHOW(symlink, "x", "listed/x");
  SHOW(symlink, "x", "sticky/x");
  SHOW(mknod, "through/x", S_IFREG | 0600, 0);
  SHOW(link, "own", "own2");
  SHOW(link, "own", "sticky/own2");
  SHOW(unlink, "sticky/bobs");
  SHOW(unlink, "sticky/mine");
  SHOW(unlink, "sticky/none");
  SHOW(unlink, "own");
  SHOW(unlink, "closed/in");
  SHOW(unlink, "closed");
  SHOW(unlink, "sticky/dir");
  SHOW(rmdir, "sticky/x");
  SHOW(rmdir, "closed");
  SHOW(rename, "sticky/bobs", "sticky/taken");
  SHOW(rename, "sticky/own2", "sticky/bobs");
  SHOW(rename, "sticky/own2", "sticky/own3");
  SHOW(rename, "sticky/bobdir", "wide/bobdir");
  SHOW(rename, "wide/rootdir", "wide/moved");
  SHOW(rename, "wide/moved", "wide/rootdir");
  SHOW(rename, "wide/rootdir", "sticky/moved");
  SHOW(rename, "own", "sticky/own4");
  SHOW(renameat2, AT_FDCWD, "sticky/own3", AT_FDCWD, "sticky/bobs", 2);
  SHOW(renameat2, AT_FDCWD, "sticky/own3", AT_FDCWD, "own", 2);
  SHOW(unlink, "sticky/own3");
  SHOW(rmdir, "sticky/dir");
  SHOW(unlink, "sticky/x");
}

static void change_attributes(void) {
  struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, then[2] = {{1, 0}, {2, 0}}, omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  SHOW(chmod, "own", 0640);
  SHOW(chmod, "other", 0640);
  SHOW(chmod, "group", 0640);
  SHOW(chmod, "ownstaff", 02750);
  show_owner("ownstaff");
  SHOW(chown, "own", BOB, -1);
  SHOW(chown, "own", ALICE, -1);
  SHOW(chown, "own", -1, STAFF);
  SHOW(chown, "own", -1, ALICE);
  SHOW(chown, "own", -1, 77);
  SHOW(chown, "other", -1, ALICE);
  SHOW(chown, "other", -1, -1);
  show_owner("own");
  SHOW(utimensat, AT_FDCWD, "own", then, 0);
  SHOW(utimensat, AT_FDCWD, "other", then, 0);
  SHOW(utimensat, AT_FDCWD, "other", now, 0);
  SHOW(utimensat, AT_FDCWD, "other", NULL, 0);
  SHOW(utimensat, AT_FDCWD, "wide/all", now, 0);
  SHOW(utimensat, AT_FDCWD, "wide/all", then, 0);
  SHOW(utimensat, AT_FDCWD, "other", omit, 0);
  SHOW(truncate, "other", 0);
  SHOW(truncate, "own", 12);
  SHOW(truncate, "closed", 0);
  SHOW(setxattr, "other", "user.a", "1", 1, 0);
  SHOW(setxattr, "own", "user.a", "1", 1, 0);
  SHOW(setxattr, "own", "trusted.a", "1", 1, 0);
  SHOW(getxattr, "rootonly", "user.a", NULL, 0);
}

static void go_places(void) {
  SHOW(chdir, "closed");
  SHOW(chdir, "listed");
  SHOW(chdir, "through");
  SHOW(chdir, "..");
  SHOW(chroot, ".");
  int fd = open("listed", O_RDONLY | O_DIRECTORY);
  SHOW(fchdir, fd);
  if (fd >= 0) close(fd);
  char *args[] = {"x", NULL};
  SHOW(execve, "rootonly", args, NULL);
  SHOW(execve, "other", args, NULL);
}

static void ask(void) {
  static const char *const paths[] = {"own", "group", "other", "rootonly", "none", "run", "closed", "through", "closed/in", "missing"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    printf("%s:", paths[i]);
    for (int mode = 0; mode < 8; mode++) printf(" %ld/%ld", CALL(access, paths[i], mode), CALL(faccessat2, AT_FDCWD, paths[i], mode, AT_EACCESS));
    printf("\n");
  }
}

static int connect_to(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strcpy(name.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  printf("connect(%s): %s\n", path, connect(fd, (void *)&name, sizeof name) == 0 ? "ok" : strerrorname_np(errno));
  return close(fd);
}

static int bind_at(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strcpy(name.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  printf("bind(%s): %s\n", path, bind(fd, (void *)&name, sizeof name) == 0 ? "ok" : strerrorname_np(errno));
  listen(fd, 5);
  return fd;
}

static void set_up(void) {
  CALL(umask, 022);
  make("own", 0600, ALICE, ALICE);
  make("own0", 0077, ALICE, ALICE);
  make("ownstaff", 0640, ALICE, STAFF);
  make("group", 0460, BOB, STAFF);
  make("other", 0644, BOB, BOB);
  make("rootonly", 0600, 0, 0);
  make("none", 0, 0, 0);
  make("run", 0711, 0, 0);
  make_dir("closed", 0700, 0, 0);
  make("closed/in", 0666, 0, 0);
  make_dir("listed", 0744, 0, 0);
  make("listed/in", 0666, 0, 0);
  make_dir("through", 0711, 0, 0);
  make("through/in", 0666, 0, 0);
  make_dir("sticky", 01777, 0, 0);
  make("sticky/bobs", 0666, BOB, BOB);
  make_dir("sticky/bobdir", 0777, BOB, BOB);
  make_dir("wide", 0777, 0, 0);
  make("wide/all", 0666, BOB, BOB);
  make_dir("wide/rootdir", 0755, 0, 0);
  make_dir("teams", 02775, BOB, STAFF);
  CALL(symlink, "rootonly", "link");
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  CALL(mkdir, "/tmp/p", 0755);
  CALL(chdir, "/tmp/p");
  set_up();
  int sockets[] = {bind_at("socket"), bind_at("wide/socket")};
  CALL(chmod, "wide/socket", 0777);
  static const int who[][3] = {{0, 0, 0}, {ALICE, ALICE, 0}, {ALICE, ALICE, STAFF}, {BOB, STAFF, 0}};
  for (size_t i = 0; i < sizeof who / sizeof *who; i++) {
    become(who[i][0], who[i][1], who[i][2]);
    if (i > 0) open_all();
    ask();
    connect_to("socket");
    connect_to("wide/socket");
  }
  become(ALICE, ALICE, 0);
  CALL(close, bind_at("socket2"));
  CALL(close, bind_at("wide/socket2"));
  change_names();
  change_attributes();
  go_places();
  become(0, 0, 0);
  CALL(chdir, "/tmp/p");
  become(ALICE, ALICE, STAFF);
  try_open("teams/new", O_CREAT | O_WRONLY);
  SHOW(mkdir, "teams/dir", 0755);
  SHOW(symlink, "x", "teams/link");
  show_owner("teams/new");
  show_owner("teams/dir");
  show_owner("teams/link");
  become(0, 0, 0);
  printf("fsuid %d\n", setfsuid(ALICE));
  try_open("rootonly", O_RDONLY);
  try_open("own", O_RDONLY);
  printf("fsuid %d\n", setfsuid(0));
  try_open("rootonly", O_RDONLY);
  /* For good: real ids, too. */
  CALL(setgroups, 0, NULL);
  CALL(setresgid, ALICE, ALICE, ALICE);
  CALL(setresuid, ALICE, ALICE, ALICE);
  ask();
  SHOW(setresuid, 0, 0, 0);
  SHOW(setgroups, 0, NULL);
  try_open("/proc/self/status", O_RDONLY);
  try_open("/dev/null", O_RDWR);
  try_open("/proc/sys/kernel/hostname", O_WRONLY);
  SHOW(mkdir, "/proc/x", 0700);
  DIR *d = opendir("/proc/self/task");
  printf("task %d\n", d != NULL);
  return 0;
}
