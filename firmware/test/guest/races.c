/* What one thread does to a call that another one sleeps in. */
#include "call.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

static void pause_ms(int ms) {
  struct timespec t = {0, ms * 1000000};
  nanosleep(&t, NULL);
}

static atomic_int arrived;

/* Waits until so many threads are about to make their call, and gives them the time for it. */
static void await(int threads) {
  while (arrived < threads) pause_ms(1);
  arrived = 0;
  pause_ms(50);
}

static const char *word(long result) { return result < 0 ? strerrorname_np((int)-result) : "done"; }

/* ---- descriptors that go away ---- */

static void *read_from(void *fd) {
  arrived++;
  char c = 0;
  long n = CALL(read, (long)fd, &c, 1);
  return (void *)(n == 1 ? c : n);
}

static void closed_while_read(void) {
  int ends[2];
  pthread_t reader;
  void *result;
  CALL(pipe, ends);
  pthread_create(&reader, NULL, read_from, (void *)(long)ends[0]);
  await(1);
  CALL(close, ends[0]);
  CALL(write, ends[1], "x", 1);
  pthread_join(reader, &result);
  printf("a pipe that was closed while it was read gives %c\n", (char)(long)result);
  SHOW(write, ends[1], "x", 1);
  CALL(close, ends[1]);
}

static void *wait_events(void *fd) {
  arrived++;
  struct epoll_event events[4];
  return (void *)CALL(epoll_wait, (long)fd, events, 4, 150);
}

static void closed_while_watched(void) {
  int set = epoll_create1(0), one = eventfd(0, 0), two = eventfd(0, 0);
  uint64_t value = 1;
  struct epoll_event event = {.events = EPOLLIN};
  pthread_t waiter;
  void *result;
  CALL(epoll_ctl, set, EPOLL_CTL_ADD, one, &event);
  CALL(epoll_ctl, set, EPOLL_CTL_ADD, two, &event);
  pthread_create(&waiter, NULL, wait_events, (void *)(long)set);
  await(1);
  CALL(epoll_ctl, set, EPOLL_CTL_DEL, one, NULL);
  CALL(write, one, &value, 8);
  CALL(close, two);
  pthread_join(waiter, &result);
  printf("events of what is no longer watched: %ld\n", (long)result);
  pthread_create(&waiter, NULL, wait_events, (void *)(long)set);
  await(1);
  CALL(close, set);
  pthread_join(waiter, &result);
  printf("events of a closed set: %ld\n", (long)result);
  CALL(close, one);
}

/* ---- one socket, two connects ---- */

static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0races"};
enum { NAME_SIZE = sizeof(sa_family_t) + 6 };

static void *connect_one(void *fd) {
  arrived++;
  return (void *)CALL(connect, (long)fd, &name, NAME_SIZE);
}

static void connected_twice(void) {
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
  int shared = socket(AF_UNIX, SOCK_STREAM, 0), children[2];
  pthread_t threads[2];
  void *results[2];
  char byte = 0;
  CALL(bind, listener, &name, NAME_SIZE);
  CALL(listen, listener, 0);
  CALL(connect, first, &name, NAME_SIZE); /* no more room */
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, connect_one, (void *)(long)shared);
  await(2);
  for (int i = 0; i < 2; i++) {
    children[i] = accept(listener, NULL, NULL);
    pause_ms(50);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], &results[i]);
  int won = results[0] == 0 ? 0 : 1;
  printf("connects of one socket: %s and %s\n", word((long)results[won]), word((long)results[!won]));
  CALL(write, shared, "s", 1);
  SHOW(read, children[1], &byte, 1);
  CALL(close, shared);
  SHOW(read, children[1], &byte, 1);
  CALL(close, listener);
  CALL(close, first);
  for (int i = 0; i < 2; i++) CALL(close, children[i]);
}

/* ---- sockets within sockets ---- */

/* Sends `passenger` through `carrier` and closes it. */
static void send_descriptor(int carrier, int passenger) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec byte = {"x", 1};
  struct msghdr m = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(c), &passenger, sizeof passenger);
  CALL(sendmsg, carrier, &m, 0);
  CALL(close, passenger);
}

/* Linux may refuse a chain of this length; that its end frees all of it is what counts. */
static void chained(void) {
  int inner[2], outer[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, inner);
  for (int i = 0; i < 3000; i++) {
    socketpair(AF_UNIX, SOCK_STREAM, 0, outer);
    send_descriptor(outer[0], inner[1]);
    CALL(close, inner[0]);
    memcpy(inner, outer, sizeof inner);
  }
  CALL(close, inner[0]);
  CALL(close, inner[1]);
  printf("a chain of sockets in flight is gone\n");
}

/* ---- futexes ---- */

static uint32_t words[2];

static void *wait_word(void *at) {
  arrived++;
  return (void *)CALL(futex, at, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static void requeued(void) {
  enum { WAITERS = 8, ROUNDS = 2000 };
  pthread_t threads[WAITERS];
  void *result;
  long moved = 0, done = 0;
  for (int i = 0; i < WAITERS; i++) pthread_create(&threads[i], NULL, wait_word, &words[0]);
  await(WAITERS);
  SHOW(futex, &words[0], FUTEX_REQUEUE_PRIVATE, 0, INT_MAX, &words[0]);
  for (int i = 0; i < ROUNDS; i++)
    moved += CALL(futex, &words[i % 2], FUTEX_CMP_REQUEUE_PRIVATE, 0, INT_MAX, &words[!(i % 2)], 0);
  printf("moved %ld times\n", moved);
  SHOW(futex, &words[1], FUTEX_WAKE_PRIVATE, INT_MAX);
  SHOW(futex, &words[0], FUTEX_WAKE_PRIVATE, 3);
  SHOW(futex, &words[0], FUTEX_REQUEUE_PRIVATE, 1, 2, &words[1]);
  SHOW(futex, &words[0], FUTEX_WAKE_PRIVATE, INT_MAX);
  SHOW(futex, &words[1], FUTEX_WAKE_PRIVATE, INT_MAX);
  for (int i = 0; i < WAITERS; i++) {
    pthread_join(threads[i], &result);
    done += result == 0;
  }
  printf("%ld woken\n", done);
}

static void futex_arguments(void) {
  uint32_t first = 0, second = 5;
  SHOW(futex, &first, FUTEX_REQUEUE, -1, 0, &second);
  SHOW(futex, &first, FUTEX_REQUEUE, 0, -1, &second);
  SHOW(futex, &first, FUTEX_REQUEUE, 1, 1, (char *)&second + 1);
  SHOW(futex, &first, FUTEX_CMP_REQUEUE, 1, 1, &second, 7);
  SHOW(futex, &first, FUTEX_WAKE_OP, 1, 1, (char *)&second + 1, 0);
  SHOW(futex, &first, FUTEX_WAKE_OP, 1, 1, 8, 0);
  SHOW(futex, &first, FUTEX_WAKE_OP, 1, 1, &second, 7 << 28);
  SHOW(futex, &first, FUTEX_WAKE_OP, 1, 1, &second, 15 << 24);
  SHOW(futex, &first, FUTEX_WAKE_OP, 1, 1, &second, FUTEX_OP(FUTEX_OP_ADD, -2, FUTEX_OP_CMP_GE, -1));
  printf("second: %d\n", (int)second);
  pthread_t thread;
  void *result;
  second = 0;
  pthread_create(&thread, NULL, wait_word, &second);
  await(1);
  second = (uint32_t)-3;
  SHOW(futex, &first, FUTEX_WAKE_OP_PRIVATE, 1, 1, &second, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_LT, -2));
  pthread_join(thread, &result);
  printf("second: %d, its waiter: %s\n", (int)second, word((long)result));
}

/* ---- signals ---- */

static atomic_int handled;
static void on_alarm(int signal) { handled++; }

static void *pour(void *fd) {
  static unsigned char bytes[70000];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
  for (int round = 0; round < 40; round++)
    for (size_t at = 0; at < sizeof bytes;) {
      long n = CALL(write, (long)fd, bytes + at, sizeof bytes - at);
      if (n < 0) return (void *)n;
      at += (size_t)n;
    }
  CALL(close, (long)fd);
  return NULL;
}

static void interrupted(const char *what, int in, int out) {
  static unsigned char bytes[5000];
  unsigned long sum = 0, count = 0;
  long n;
  pthread_t writer;
  void *result;
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 200}, {0, 200}}, NULL);
  pthread_create(&writer, NULL, pour, (void *)(long)out);
  while ((n = CALL(read, in, bytes, sizeof bytes)) > 0)
    for (long i = 0; i < n; i++) sum = sum * 31 + bytes[i], count++;
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  pthread_join(writer, &result);
  printf("%s: %ld, %s, %lu bytes, %lx\n", what, n, word((long)result), count, sum);
  CALL(close, in);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  int ends[2];
  closed_while_read();
  closed_while_watched();
  connected_twice();
  chained();
  requeued();
  futex_arguments();
  CALL(pipe, ends);
  interrupted("a pipe", ends[0], ends[1]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  interrupted("a socket", ends[0], ends[1]);
  return 0;
}
