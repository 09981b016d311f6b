/* Memory that one thread takes away while another one sleeps in a call that will use it: the call fails, the program goes on. */
#include "call.h"
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

enum { PAGE = 4096 };

static void pause_ms(int ms) {
  struct timespec t = {0, ms * 1000000};
  nanosleep(&t, NULL);
}

/* A call that a thread of its own makes. */
struct sleeper {
  long number, result;
  uint64_t a[6];
  pthread_t thread;
  atomic_int arrived;
};

static void *sleep_in_call(void *p) {
  struct sleeper *s = p;
  s->arrived = 1;
  s->result = kernel_call(s->number, s->a);
  return NULL;
}

static struct sleeper sleeper;

#define SLEEP_IN(name, ...) sleep_in(SYS_##name, FIRST6(__VA_OPT__(__VA_ARGS__, ) 0, 0, 0, 0, 0, 0, 0))
static void sleep_in(long number, const uint64_t *a) {
  sleeper = (struct sleeper){.number = number};
  memcpy(sleeper.a, a, sizeof sleeper.a);
  pthread_create(&sleeper.thread, NULL, sleep_in_call, &sleeper);
  while (!sleeper.arrived) pause_ms(1);
  pause_ms(30);
}

static void woken(const char *what) {
  pthread_join(sleeper.thread, NULL);
  if (sleeper.result < 0) printf("%s: %s\n", what, strerrorname_np((int)-sleeper.result));
  else printf("%s: %ld\n", what, sleeper.result);
}

/* Pages that go: as a whole, or only for writing. */
static char *pages(void) {
  char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 'p', 2 * PAGE);
  return p;
}
static void unmap(void *p) { munmap(p, 2 * PAGE); }
static void seal(void *p) { mprotect(p, 2 * PAGE, PROT_READ); }
static void hide(void *p) { mprotect(p, 2 * PAGE, PROT_NONE); }
static void keep(void *p) {}

typedef void take_fn(void *p);
static take_fn *const ways[] = {unmap, seal, hide, keep};
static const char *const way_names[] = {"unmapped", "sealed", "hidden", "kept"};

/* ---- streams and messages ---- */

static void left_in(int fd) {
  char bytes[100];
  long n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && errno == ENOTSOCK) n = read(fd, bytes, sizeof bytes);
  printf("  left: %ld\n", n);
}

static void read_ends(const char *what, int in, int out) {
  for (int way = 0; way < 4; way++) {
    char *p = pages();
    printf("%s, %s\n", what, way_names[way]);
    SLEEP_IN(read, in, p, 100);
    ways[way](p);
    write(out, "hello", 5);
    woken("  read");
    if (way < 3) left_in(in);
    unmap(p);
  }
}

static void vectors_end(int in, int out) {
  char *p = pages(), bytes[4] = {0};
  struct iovec *v = (struct iovec *)p;
  *v = (struct iovec){bytes, sizeof bytes};
  SLEEP_IN(readv, in, v, 1);
  unmap(p);
  write(out, "abc", 3);
  woken("vectors unmapped: readv");
  printf("  %s\n", bytes);
}

/* A writer that waits for room. */
static void write_end(const char *what, int in, int out) {
  static char bytes[1 << 20];
  char *p = pages();
  long filled = 0, n;
  fcntl(out, F_SETFL, O_NONBLOCK);
  while ((n = write(out, bytes, PAGE)) > 0) filled += n;
  fcntl(out, F_SETFL, 0);
  SLEEP_IN(write, out, p, 100);
  unmap(p);
  while (filled > 0 && (n = read(in, bytes, filled)) > 0) filled -= n;
  woken(what);
  unmap(p);
}

static void tcp_pair(int pair[2]) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof name;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  bind(listener, (struct sockaddr *)&name, size);
  listen(listener, 1);
  getsockname(listener, (struct sockaddr *)&name, &size);
  pair[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(pair[0], (struct sockaddr *)&name, size);
  pair[1] = accept(listener, NULL, NULL);
  close(listener);
}

static void headers_end(int in, int out) {
  char bytes[10];
  for (int way = 0; way < 4; way++) {
    char *p = pages();
    struct msghdr *m = (struct msghdr *)p;
    struct iovec v = {bytes, sizeof bytes};
    *m = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
    SLEEP_IN(recvmsg, in, m, 0);
    ways[way](p);
    write(out, "hello", 5);
    woken("header of recvmsg");
    unmap(p);
  }
  char *p = pages();
  struct mmsghdr *m = (struct mmsghdr *)p;
  struct iovec v = {bytes, sizeof bytes};
  m[0] = m[1] = (struct mmsghdr){{.msg_iov = &v, .msg_iovlen = 1}};
  SLEEP_IN(recvmmsg, in, m, 1, 0, NULL);
  unmap(p);
  write(out, "hello", 5);
  woken("headers of recvmmsg");
  p = pages();
  m = (struct mmsghdr *)p;
  struct iovec *w = (struct iovec *)(p + PAGE);
  *w = (struct iovec){bytes, sizeof bytes};
  *m = (struct mmsghdr){{.msg_iov = w, .msg_iovlen = 1}};
  SLEEP_IN(recvmmsg, in, m, 1, 0, NULL);
  munmap(w, PAGE);
  write(out, "hello", 5);
  woken("vectors of recvmmsg");
  unmap(p);
  p = pages();
  SLEEP_IN(recvfrom, in, bytes, sizeof bytes, MSG_WAITALL, p, p + 200);
  unmap(p);
  write(out, "0123456789", 10);
  woken("address of recvfrom");
}

static void streams(void) {
  int pipe_ends[2], pair[2];
  pipe(pipe_ends);
  read_ends("pipe", pipe_ends[0], pipe_ends[1]);
  vectors_end(pipe_ends[0], pipe_ends[1]);
  write_end("a full pipe", pipe_ends[0], pipe_ends[1]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  read_ends("socket pair", pair[0], pair[1]);
  headers_end(pair[0], pair[1]);
  tcp_pair(pair);
  read_ends("TCP", pair[0], pair[1]);
}

/* ---- other files ---- */

static void descriptors(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (int way = 0; way < 4; way++) {
    int event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), signals = signalfd(-1, &set, 0);
    uint64_t one = 1;
    printf("%s\n", way_names[way]);
    char *p = pages();
    SLEEP_IN(read, event, p, 8);
    ways[way](p);
    write(event, &one, 8);
    woken("  eventfd");
    unmap(p);
    p = pages();
    struct itimerspec soon = {.it_value = {0, 60000000}};
    timerfd_settime(timer, 0, &soon, NULL);
    SLEEP_IN(read, timer, p, 8);
    ways[way](p);
    woken("  timerfd");
    unmap(p);
    p = pages();
    SLEEP_IN(read, signals, p, 128);
    ways[way](p);
    kill(getpid(), SIGUSR1);
    woken("  signalfd");
    unmap(p);
    struct timespec none = {0, 0};
    sigtimedwait(&set, NULL, &none);
    close(event), close(timer), close(signals);
  }
}

/* ---- positions ---- */

static void positions(void) {
  int ends[2], file = memfd_create("f", 0);
  char *p = pages();
  off_t *at = (off_t *)p;
  pipe(ends);
  *at = 0;
  SLEEP_IN(splice, ends[0], NULL, file, at, 10, 0);
  unmap(p);
  write(ends[1], "hello", 5);
  woken("position of splice");
  p = pages();
  at = (off_t *)p;
  *at = 0;
  SLEEP_IN(splice, ends[0], NULL, file, at, 10, 0);
  write(ends[1], "hello", 5);
  woken("position of splice, kept");
  printf("  %ld\n", (long)*at);
  unmap(p);
}

/* ---- events ---- */

static void events(void) {
  for (int way = 0; way < 4; way++) {
    int event = eventfd(0, 0), set = epoll_create1(0);
    uint64_t one = 1;
    struct epoll_event wanted = {.events = EPOLLIN};
    epoll_ctl(set, EPOLL_CTL_ADD, event, &wanted);
    printf("%s\n", way_names[way]);
    char *p = pages();
    *(struct pollfd *)p = (struct pollfd){event, POLLIN};
    SLEEP_IN(poll, p, 1, -1);
    ways[way](p);
    write(event, &one, 8);
    woken("  poll");
    read(event, &one, 8);
    unmap(p);
    p = pages();
    *(struct pollfd *)p = (struct pollfd){event, POLLIN};
    SLEEP_IN(poll, p, 1, 60);
    ways[way](p);
    woken("  poll, time over");
    unmap(p);
    p = pages();
    memset(p, 0, PAGE);
    FD_SET(event, (fd_set *)p);
    SLEEP_IN(select, event + 1, p, NULL, NULL, NULL);
    ways[way](p);
    write(event, &one, 8);
    woken("  select");
    read(event, &one, 8);
    unmap(p);
    p = pages();
    SLEEP_IN(epoll_wait, set, p, 10, -1);
    ways[way](p);
    write(event, &one, 8);
    woken("  epoll_wait");
    unmap(p);
    close(event), close(set);
  }
}

/* ---- time and signals ---- */

static void on_signal(int signal) {}

static void times(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR2, &action, NULL);
  for (int way = 0; way < 4; way++) {
    char *p = pages();
    struct timespec second = {1, 0};
    printf("%s\n", way_names[way]);
    SLEEP_IN(nanosleep, &second, p);
    ways[way](p);
    pthread_kill(sleeper.thread, SIGUSR2);
    woken("  nanosleep");
    unmap(p);
    p = pages();
    *(struct timespec *)p = (struct timespec){0, 60000000};
    SLEEP_IN(clock_nanosleep, CLOCK_MONOTONIC, 0, p, p + 100);
    ways[way](p);
    woken("  clock_nanosleep to its end");
    unmap(p);
    p = pages();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    SLEEP_IN(rt_sigtimedwait, &set, p, NULL, 8);
    ways[way](p);
    kill(getpid(), SIGUSR1);
    woken("  rt_sigtimedwait");
    unmap(p);
    p = pages();
    *(uint32_t *)p = 7;
    struct timespec soon = {0, 60000000};
    SLEEP_IN(futex, p, FUTEX_WAIT_PRIVATE, 7, &soon);
    ways[way](p);
    woken("  futex, time over");
    unmap(p);
  }
}

int main(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  streams();
  descriptors();
  positions();
  events();
  times();
}
