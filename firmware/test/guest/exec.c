/* execve(2): what a program hands on to the one that takes its place, and what it does not. Each step starts the next. */
#include "call.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <time.h>

extern char **environ;
static char self[4096];

static void make(const char *path, const char *text, int mode) {
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CALL(write, fd, text, strlen(text));
  CALL(fchmod, fd, mode);
  CALL(close, fd);
}

static void show_file(const char *path) {
  static char text[4096];
  int fd = open(path, O_RDONLY);
  ssize_t n = read(fd, text, sizeof text);
  close(fd);
  printf("%s:", path);
  for (ssize_t i = 0; i < n; i++) putchar(text[i] == 0 ? ' ' : text[i]);
  putchar('\n');
}

static void errors(void) {
  char *args[] = {"x", NULL};
  static char long_name[300];
  memset(long_name, 'n', sizeof long_name - 1);
  CALL(mkdir, "/tmp/dir", 0755);
  make("/tmp/text", "no program\n", 0755);
  make("/tmp/empty", "", 0755);
  make("/tmp/plain", "#!/bin/sh\n", 0644);
  make("/tmp/lost", "#!/no/such/interpreter\n", 0755);
  make("/tmp/nobody", "#!   \n", 0755);
  make("/tmp/circle", "#!/tmp/circle\n", 0755);
  make("/tmp/cut", "\177ELF\2\1\1", 0755);
  SHOW(execve, "/tmp/none", args, NULL);
  SHOW(execve, "", args, NULL);
  SHOW(execve, long_name, args, NULL);
  SHOW(execve, "/tmp/dir", args, NULL);
  SHOW(execve, "/tmp/text", args, NULL);
  SHOW(execve, "/tmp/empty", args, NULL);
  SHOW(execve, "/tmp/plain", args, NULL);
  SHOW(execve, "/tmp/lost", args, NULL);
  SHOW(execve, "/tmp/nobody", args, NULL);
  SHOW(execve, "/tmp/circle", args, NULL);
  SHOW(execve, "/tmp/cut", args, NULL);
  SHOW(execve, "/tmp/text/below", args, NULL);
  SHOW(execve, (char *)8, args, NULL);
  SHOW(open, self, O_WRONLY);
  SHOW(open, self, O_RDWR | O_TRUNC);
  SHOW(open, "/proc/self/exe", O_RDWR);
  SHOW(truncate, self, 0);
  SHOW(execve, self, (char **)8, NULL);
  SHOW(execve, self, args, (char **)8);
  char *bad[] = {"x", (char *)8, NULL};
  SHOW(execve, self, bad, NULL);
  SHOW(execve, self, args, bad);
  size_t size = 16 << 20;
  char *large = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(large, 'l', size - 1);
  int dir = open("/tmp", O_PATH | O_DIRECTORY), text = open("/tmp/text", O_RDONLY), pair[2];
  int script = open("/tmp/lost", O_RDONLY | O_CLOEXEC), link = -1;
  CALL(symlink, self, "/tmp/link");
  link = open("/tmp/link", O_PATH | O_NOFOLLOW);
  CALL(pipe, pair);
  SHOW(execveat, text, "", args, NULL, 0);
  SHOW(execveat, text, "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, text, NULL, args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, text, "below", args, NULL, 0);
  SHOW(execveat, 77, "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, 77, "text", args, NULL, 0);
  SHOW(execveat, 77, "/tmp/text", args, NULL, 0);
  SHOW(execveat, AT_FDCWD, "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, dir, "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, dir, "plain", args, NULL, 0);
  SHOW(execveat, dir, "lost", args, NULL, 0);
  SHOW(execveat, dir, "link", args, NULL, AT_SYMLINK_NOFOLLOW);
  SHOW(execveat, dir, "text", args, NULL, 1);
  SHOW(execveat, link, "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, pair[0], "", args, NULL, AT_EMPTY_PATH);
  SHOW(execveat, script, "", args, NULL, AT_EMPTY_PATH);
  close(dir), close(text), close(script), close(link), close(pair[0]), close(pair[1]);
  char *too_much[] = {"x", large, NULL};
  SHOW(execve, self, too_much, NULL);
}

static void ignore(int signal) {}

static void *wait_for_ever(void *unused) {
  for (;;) pause();
}

static void *spin(void *unused) {
  for (;;) sched_yield();
}

static void *sleep_on_mutex(void *mutex) {
  pthread_mutex_lock(mutex);
  return NULL;
}

/* Sets up what the next step looks for. */
static void leave_traces(void) {
  static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
  static char stack[65536];
  sigset_t blocked;
  timer_t timer;
  struct itimerspec later = {.it_value = {1000, 0}};
  dup2(open("/tmp/text", O_RDONLY), 20);
  dup3(20, 21, O_CLOEXEC);
  signal(SIGUSR1, ignore);
  signal(SIGUSR2, SIG_IGN);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGHUP);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  raise(SIGHUP);
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  timer_create(CLOCK_MONOTONIC, NULL, &timer);
  timer_settime(timer, 0, &later, NULL);
  umask(027);
  CALL(chdir, "/tmp/dir");
  pthread_mutex_lock(&held);
  pthread_t t;
  pthread_create(&t, NULL, wait_for_ever, NULL);
  pthread_create(&t, NULL, spin, NULL);
  pthread_create(&t, NULL, sleep_on_mutex, &held);
  usleep(1000);
}

static int count_names(const char *path) {
  DIR *dir = opendir(path);
  int count = 0;
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

static void look_for_traces(void) {
  struct sigaction action;
  sigset_t set;
  stack_t stack;
  struct itimerspec left;
  char name[17] = {0}, here[100];
  printf("descriptors %d %d\n", fcntl(20, F_GETFD), fcntl(21, F_GETFD));
  sigaction(SIGUSR1, NULL, &action);
  printf("handler %d\n", action.sa_handler == SIG_DFL);
  sigaction(SIGUSR2, NULL, &action);
  printf("ignored %d\n", action.sa_handler == SIG_IGN);
  sigprocmask(SIG_BLOCK, NULL, &set);
  printf("blocked %d\n", sigismember(&set, SIGHUP));
  sigpending(&set);
  printf("pending %d\n", sigismember(&set, SIGHUP));
  sigaltstack(NULL, &stack);
  printf("stack %x %zu\n", stack.ss_flags, stack.ss_size);
  SHOW(timer_gettime, 0, &left);
  printf("umask %o, in %s\n", umask(0), getcwd(here, sizeof here));
  prctl(PR_GET_NAME, name);
  printf("name %s, main thread %d\n", name, getpid() == gettid());
  printf("threads %d\n", count_names("/proc/self/task") - 2);
  char exe[4096] = {0};
  readlink("/proc/self/exe", exe, sizeof exe - 1);
  printf("exe %d\n", strcmp(exe, self) == 0);
}

/* A program in memory, started by its descriptor, which is gone when it runs. */
static void start_in_memory(void) {
  int from = open(self, O_RDONLY), to = memfd_create("program", MFD_CLOEXEC);
  struct stat s;
  fstat(from, &s);
  printf("copied %d\n", sendfile(to, from, NULL, s.st_size) == s.st_size);
  close(from);
  fexecve(to, (char *[]){"exec", "memory", self, NULL}, (char *[]){"A=2", NULL});
}

static void look_from_memory(void) {
  char exe[4096] = {0};
  readlink("/proc/self/exe", exe, sizeof exe - 1);
  printf("exe %s, execfn %d\n", exe, strncmp((char *)getauxval(AT_EXECFN), "/dev/fd/", 8));
}

/* A script by a descriptor that stays, in a directory that one stands for. */
static void start_at(const char *path) {
  char text[5000], *args[] = {"exec", "x", NULL};
  snprintf(text, sizeof text, "#!%s  at\n", path);
  make("/tmp/dir/script", text, 0755);
  int dir = open("/tmp/dir", O_RDONLY);
  dup2(dir, 50);
  close(dir);
  CALL(execveat, 50, "script", args, NULL, 0);
}

/* Programs follow each other for long; nothing may run out. */
static void again(int count) {
  char number[20];
  snprintf(number, sizeof number, "%d", count - 1);
  char *bytes = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; i < 3 << 20; i++)
    if (bytes[i] != 0) printf("not zero at %zu\n", i), exit(1);
  memset(bytes, count, 3 << 20);
  execl(self, "exec", "again", number, NULL);
}

static void *from_thread(void *unused) {
  execl("/tmp/by-thread", "exec", NULL);
  printf("not reached: %s\n", strerror(errno));
  return NULL;
}

static void start_from_thread(void) {
  static char script[5000];
  snprintf(script, sizeof script, "#!%s  from a thread \nwhat stands here is not read", self);
  make("/tmp/by-thread", script, 0755);
  pthread_t t;
  pthread_create(&t, NULL, from_thread, NULL);
  pthread_join(t, NULL);
}

int main(int argc, char **argv, char **envp) {
  setvbuf(stdout, NULL, _IONBF, 0);
  readlink("/proc/self/exe", self, sizeof self - 1);
  const char *step = argc > 1 ? argv[1] : "";
  if (argc == 1 && strcmp(argv[0], "exec") != 0) {
    errors();
    leave_traces();
    execle(self, "exec", "traces", "", "three words here", NULL, (char *[]){"A=1", "B=", NULL});
  } else if (strcmp(step, "traces") == 0) {
    look_for_traces();
    show_file("/proc/self/environ");
    printf("%d <%s> <%s> %s %s\n", argc, argv[2], argv[3], getenv("A"), getenv("B"));
    again(12);
  } else if (strcmp(step, "again") == 0) {
    if (atoi(argv[2]) > 0) again(atoi(argv[2]));
    start_in_memory();
  } else if (strcmp(step, "memory") == 0) {
    look_from_memory();
    start_at(argv[2]);
  } else if (strcmp(step, "at") == 0) {
    printf("script %s %s\n", argv[2], argv[3]);
    start_from_thread();
  } else {
    printf("script: %d %d <%s> %s\n", argc, strcmp(argv[0], self), argv[1], argv[2]);
    printf("main thread %d\n", getpid() == gettid());
    return 7;
  }
  printf("not reached: %s\n", strerror(errno));
  return 1;
}
