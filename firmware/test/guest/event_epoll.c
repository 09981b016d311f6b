/* epoll: level, edge, one-shot, nesting, closing, waking a sleeping thread. Prints the same on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void say(const char *what, long result) {
  if (result < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, result);
}

static void add(int ep, int fd, uint32_t events) {
  struct epoll_event e = {.events = events, .data.u64 = 0x1234567800000000ull + fd};
  say("add", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static void look(int ep, const char *what) {
  struct epoll_event out[8];
  int n = epoll_wait(ep, out, 8, 0);
  printf("%s: %d", what, n);
  for (int i = 0; i < n; i++) printf(" [%x of %d]", out[i].events, (int)(out[i].data.u64 & 0xffffffff));
  printf("\n");
}

static void triggers(void) {
  int ep = epoll_create1(EPOLL_CLOEXEC), a[2], b[2], c[2];
  pipe2(a, O_NONBLOCK), pipe2(b, O_NONBLOCK), pipe2(c, O_NONBLOCK);
  add(ep, a[0], EPOLLIN), add(ep, b[0], EPOLLIN | EPOLLET), add(ep, c[0], EPOLLIN | EPOLLONESHOT);
  look(ep, "nothing");
  write(a[1], "x", 1), write(b[1], "x", 1), write(c[1], "x", 1);
  look(ep, "all three"), look(ep, "level only");
  write(b[1], "y", 1), write(c[1], "y", 1);
  look(ep, "level and edge");
  struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = (unsigned)c[0]};
  say("arm again", epoll_ctl(ep, EPOLL_CTL_MOD, c[0], &e));
  char buffer[8];
  read(a[0], buffer, 8);
  look(ep, "one-shot");
  close(b[1]);
  look(ep, "hang-up by edge");
  add(ep, a[1], EPOLLOUT);
  look(ep, "writable");
  close(a[0]);
  look(ep, "reader gone");
  close(a[1]), close(b[0]), close(c[0]), close(c[1]);
  look(ep, "all closed");
  close(ep);
}

static void errors(void) {
  int ep = epoll_create1(0), p[2];
  struct epoll_event e = {.events = EPOLLIN};
  pipe(p);
  say("mod of none", epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
  say("del of none", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], &e));
  add(ep, p[0], EPOLLIN);
  say("twice", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
  say("itself", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
  say("bad fd", epoll_ctl(ep, EPOLL_CTL_ADD, 999, &e));
  say("not epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
  say("bad op", epoll_ctl(ep, 7, p[0], &e));
  say("max 0", epoll_wait(ep, &e, 0, 0));
  say("bad flags", epoll_create1(1));
  say("size 0", epoll_create(0));
  int file = open("/proc/self/exe", O_RDONLY);
  say("regular file", epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
  close(ep), close(p[0]), close(p[1]), close(file);
}

static void nesting(void) {
  int inner = epoll_create1(0), outer = epoll_create1(0), ev = eventfd(0, EFD_NONBLOCK);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1};
  add(inner, ev, EPOLLIN), add(outer, inner, EPOLLIN);
  say("loop", epoll_ctl(inner, EPOLL_CTL_ADD, outer, &e));
  look(outer, "quiet");
  uint64_t one = 1;
  write(ev, &one, 8);
  look(outer, "through two"), look(inner, "inner");
  read(ev, &one, 8);
  look(outer, "quiet again");
  close(inner);
  look(outer, "inner closed");
  close(outer), close(ev);
}

static void duplicates(void) {
  int ep = epoll_create1(0), ev = eventfd(1, 0), copy = dup(ev);
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = 70}, out[4];
  epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e);
  e.data.u32 = 71;
  say("a duplicate is another item", epoll_ctl(ep, EPOLL_CTL_ADD, copy, &e));
  say("both", epoll_wait(ep, out, 4, 0));
  close(ev);
  say("the description lives", epoll_wait(ep, out, 4, 0));
  close(copy);
  say("gone", epoll_wait(ep, out, 4, 0));
  close(ep);
}

static int shared_ep, shared_fd;

static void *waiter(void *arg) {
  struct epoll_event out;
  long n = epoll_wait(shared_ep, &out, 1, 5000);
  return (void *)(n == 1 ? (long)out.data.u64 : -1);
}

static void threads(void) {
  pthread_t t;
  void *result;
  uint64_t one = 1;
  shared_ep = epoll_create1(0), shared_fd = eventfd(0, 0);
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = 42};
  pthread_create(&t, NULL, waiter, NULL);
  usleep(20000);
  epoll_ctl(shared_ep, EPOLL_CTL_ADD, shared_fd, &e);
  usleep(20000);
  write(shared_fd, &one, 8);
  pthread_join(t, &result);
  say("woken", (long)result);
  say("times out", epoll_wait(epoll_create1(0), &e, 1, 20));
}

int main(void) {
  triggers(), errors(), nesting(), duplicates(), threads();
  return 0;
}
