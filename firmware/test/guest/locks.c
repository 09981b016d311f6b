/* Locks on files between open files of one program: flock, ranges of open files, ranges of the process; and who waits for them. */
#include "call.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/mman.h>
#include <time.h>

static const char *const types[] = {"read", "write", "none"};

static int reopen(void) { return open("/tmp/file", O_RDWR | O_CREAT, 0644); }

static const char *outcome(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

static void set(int fd, int command, int type, long start, long length) {
  struct flock l = {.l_type = type, .l_start = start, .l_len = length};
  printf("set %s %ld+%ld: %s\n", types[type], start, length, outcome(fcntl(fd, command, &l)));
}

static void ask(int fd, int command, int type, long start, long length) {
  struct flock l = {.l_type = type, .l_start = start, .l_len = length};
  long result = fcntl(fd, command, &l);
  if (result < 0) printf("ask: %s\n", outcome(result));
  else if (l.l_type == F_UNLCK) printf("ask %s %ld+%ld: free\n", types[type], start, length);
  else printf("ask %s %ld+%ld: %s %ld+%ld of %s\n", types[type], start, length, types[l.l_type], l.l_start, l.l_len, l.l_pid == getpid() ? "us" : l.l_pid == -1 ? "a file" : "?");
}

static void whole_files(void) {
  int a = reopen(), b = reopen(), c = dup(a);
  printf("%s\n", outcome(flock(a, LOCK_EX)));
  printf("%s\n", outcome(flock(b, LOCK_EX | LOCK_NB)));
  printf("%s\n", outcome(flock(b, LOCK_SH | LOCK_NB)));
  printf("the same: %s\n", outcome(flock(c, LOCK_EX | LOCK_NB)));
  close(a);
  printf("a copy holds it: %s\n", outcome(flock(b, LOCK_SH | LOCK_NB)));
  printf("shared: %s\n", outcome(flock(c, LOCK_SH)));
  printf("%s\n", outcome(flock(b, LOCK_SH | LOCK_NB)));
  printf("no upgrade: %s\n", outcome(flock(b, LOCK_EX | LOCK_NB)));
  printf("which lost what it had: %s\n", outcome(flock(c, LOCK_EX | LOCK_NB)));
  printf("given back: %s\n", outcome(flock(c, LOCK_UN)));
  printf("%s\n", outcome(flock(b, LOCK_EX | LOCK_NB)));
  close(c);
  a = open("/tmp/file", O_RDONLY);
  printf("%s\n", outcome(flock(a, LOCK_SH | LOCK_NB)));
  close(b);
  printf("at close: %s\n", outcome(flock(a, LOCK_EX | LOCK_NB)));
  set(a, F_SETLK, F_RDLCK, 0, 0);
  printf("kinds do not meet: %s\n", outcome(flock(a, LOCK_SH | LOCK_NB)));
  close(a);
  printf("%s\n", outcome(flock(99, LOCK_SH)));
  int path = open("/tmp/file", O_PATH), pair[2];
  printf("%s\n", outcome(flock(path, LOCK_SH)));
  close(path);
  pipe(pair);
  printf("%s\n", outcome(flock(pair[0], LOCK_EX)));
  close(pair[0]), close(pair[1]);
  int dir = open("/tmp", O_RDONLY), again = open("/tmp", O_RDONLY);
  printf("%s\n", outcome(flock(dir, LOCK_EX)));
  printf("%s\n", outcome(flock(again, LOCK_EX | LOCK_NB)));
  close(dir), close(again);
}

static void ranges_of_files(void) {
  int a = reopen(), b = reopen();
  set(a, F_OFD_SETLK, F_WRLCK, 10, 20);
  for (int at = 0; at < 40; at += 10) {
    ask(b, F_OFD_GETLK, F_RDLCK, at, 10);
    ask(a, F_OFD_GETLK, F_WRLCK, at, 10);
  }
  set(b, F_OFD_SETLK, F_RDLCK, 29, 5);
  set(b, F_OFD_SETLK, F_RDLCK, 30, 5);
  set(b, F_OFD_SETLK, F_WRLCK, 0, 10);
  /* Cut in two, then mended. */
  set(a, F_OFD_SETLK, F_UNLCK, 15, 5);
  ask(b, F_OFD_GETLK, F_WRLCK, 15, 5);
  ask(b, F_OFD_GETLK, F_WRLCK, 14, 1);
  ask(b, F_OFD_GETLK, F_WRLCK, 20, 1);
  set(a, F_OFD_SETLK, F_RDLCK, 12, 2);
  ask(b, F_OFD_GETLK, F_RDLCK, 12, 2);
  ask(b, F_OFD_GETLK, F_WRLCK, 12, 2);
  ask(b, F_OFD_GETLK, F_WRLCK, 14, 1);
  set(a, F_OFD_SETLK, F_WRLCK, 11, 17);
  ask(b, F_OFD_GETLK, F_WRLCK, 20, 1);
  set(b, F_OFD_SETLK, F_RDLCK, 100, 0);
  set(b, F_OFD_SETLK, F_RDLCK, 35, 65);
  ask(a, F_OFD_GETLK, F_WRLCK, 1000, 1);
  set(a, F_OFD_SETLK, F_RDLCK, 50, 10);
  set(b, F_OFD_SETLK, F_WRLCK, 50, 1);
  set(b, F_OFD_SETLK, F_UNLCK, 0, 0);
  set(a, F_OFD_SETLK, F_WRLCK, 0, 0);
  ask(b, F_OFD_GETLK, F_RDLCK, 7, 1);
  ftruncate(a, 100);
  struct flock end = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = -20};
  set(a, F_OFD_SETLK, F_UNLCK, 0, 0);
  printf("%s\n", outcome(fcntl(a, F_OFD_SETLK, &end)));
  ask(b, F_OFD_GETLK, F_RDLCK, 0, 0);
  lseek(a, 5, SEEK_SET);
  struct flock here = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 1, .l_len = 2};
  printf("%s\n", outcome(fcntl(a, F_OFD_SETLK, &here)));
  ask(b, F_OFD_GETLK, F_RDLCK, 0, 20);
  set(a, F_OFD_SETLK, F_WRLCK, INT64_MAX, 1);
  set(a, F_OFD_SETLK, F_WRLCK, INT64_MAX, 2);
  set(a, F_OFD_SETLK, F_WRLCK, 3, -4);
  set(a, F_OFD_SETLK, F_WRLCK, 3, -3);
  ask(b, F_OFD_GETLK, F_RDLCK, 0, 3);
  close(a);
  ask(b, F_OFD_GETLK, F_WRLCK, 0, 0);
  int reader = open("/tmp/file", O_RDONLY), writer = open("/tmp/file", O_WRONLY);
  set(reader, F_OFD_SETLK, F_WRLCK, 0, 1);
  set(writer, F_OFD_SETLK, F_RDLCK, 0, 1);
  set(writer, F_SETLK, F_RDLCK, 0, 1);
  close(reader), close(writer), close(b);
}

static void ranges_of_the_process(void) {
  int a = reopen(), b = reopen();
  set(a, F_SETLK, F_WRLCK, 0, 10);
  set(b, F_SETLK, F_WRLCK, 5, 10);
  ask(b, F_GETLK, F_WRLCK, 0, 0);
  ask(b, F_OFD_GETLK, F_WRLCK, 0, 0);
  set(b, F_OFD_SETLK, F_RDLCK, 3, 1);
  set(b, F_OFD_SETLK, F_RDLCK, 15, 5);
  ask(a, F_GETLK, F_WRLCK, 0, 0);
  set(a, F_SETLK, F_WRLCK, 14, 2);
  close(reopen());
  puts("any close gives them back");
  ask(b, F_OFD_GETLK, F_WRLCK, 0, 15);
  set(a, F_SETLK, F_WRLCK, 0, 10);
  dup2(2, a);
  ask(b, F_OFD_GETLK, F_WRLCK, 0, 15);
  close(a), close(b);
}

static int held = -1;
static volatile int got;
enum { FLOCK, FILE_RANGE, PROCESS_RANGE };

static void *wait_for(void *how) {
  int fd = reopen();
  long result;
  struct flock l = {.l_type = F_WRLCK};
  if ((long)how == FLOCK) result = flock(fd, LOCK_EX);
  else result = fcntl(fd, (long)how == FILE_RANGE ? F_OFD_SETLKW : F_SETLKW, &l);
  printf("waited: %s\n", outcome(result));
  got++;
  close(fd);
  return NULL;
}

static void nap(void) { nanosleep(&(struct timespec){0, 20000000}, NULL); }
static void nothing(int signal) {}

static void take(long how) {
  held = reopen();
  struct flock l = {.l_type = F_WRLCK};
  if (how == FLOCK) flock(held, LOCK_EX);
  else fcntl(held, F_OFD_SETLK, &l);
}

static void waiting(void) {
  pthread_t t, more[3];
  for (long how = FLOCK; how <= PROCESS_RANGE; how++) {
    got = 0;
    take(how);
    pthread_create(&t, NULL, wait_for, (void *)how);
    nap();
    printf("not yet: %d\n", got);
    close(held);
    pthread_join(t, NULL);
    take(how);
    pthread_create(&t, NULL, wait_for, (void *)how);
    do { /* again when it had not begun to wait */
      nap();
      pthread_kill(t, SIGUSR1); /* no SA_RESTART */
      nap();
    } while (pthread_tryjoin_np(t, NULL) != 0);
    pthread_create(&t, NULL, wait_for, (void *)how);
    nap();
    pthread_kill(t, SIGUSR2); /* goes on waiting */
    nap();
    printf("still not: %d\n", got);
    struct flock l = {.l_type = F_UNLCK};
    if (how == FLOCK) flock(held, LOCK_UN);
    else fcntl(held, F_OFD_SETLK, &l);
    pthread_join(t, NULL);
    take(how);
    for (int i = 0; i < 3; i++) pthread_create(&more[i], NULL, wait_for, (void *)how);
    nap();
    close(held);
    for (int i = 0; i < 3; i++) pthread_join(more[i], NULL);
    printf("all: %d\n", got);
  }
}

/* Lines of /proc/locks about a file, without their numbers and in an order of their own. */
static int by_text(const void *a, const void *b) { return strcmp(a, b); }

static void listed(void) {
  char lines[10][200], line[200], device[60];
  int count = 0, one = reopen(), two = reopen(), three = reopen();
  struct stat st;
  fstat(one, &st);
  struct flock range = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5}, rest = {.l_type = F_RDLCK, .l_start = 100};
  flock(one, LOCK_SH);
  fcntl(two, F_OFD_SETLK, &range);
  fcntl(three, F_OFD_SETLK, &rest);
  range.l_start = 50;
  fcntl(two, F_SETLK, &range);
  snprintf(device, sizeof device, ":%lu ", (unsigned long)st.st_ino);
  FILE *f = fopen("/proc/locks", "r");
  while (fgets(line, sizeof line, f)) {
    char kind[20], mode[20], type[20], where[60], start[30], end[30];
    int pid, n = sscanf(line, "%*d: %19s %19s %19s %d %59s %29s %29s", kind, mode, type, &pid, where, start, end);
    if (n == 7 && strstr(line, device) && count < 10)
      sprintf(lines[count++], "%s %s %s %s %s %s", kind, mode, type, pid == getpid() ? "own" : pid == -1 ? "-1" : "?", start, end);
  }
  fclose(f);
  qsort(lines, count, sizeof lines[0], by_text);
  for (int i = 0; i < count; i++) puts(lines[i]);
  snprintf(line, sizeof line, "%02x:%02x:%lu", major(st.st_dev), minor(st.st_dev), (unsigned long)st.st_ino);
  f = fopen("/proc/locks", "r");
  while (fgets(lines[0], sizeof lines[0], f))
    if (strstr(lines[0], line)) count--;
  printf("others' devices: %d\n", count);
  fclose(f);
  close(one), close(two), close(three);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  struct sigaction once = {.sa_handler = nothing}, restarts = {.sa_handler = nothing, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &once, NULL);
  sigaction(SIGUSR2, &restarts, NULL);
  whole_files();
  ranges_of_files();
  ranges_of_the_process();
  waiting();
  listed();
  return 0;
}
