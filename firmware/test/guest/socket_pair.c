/* socketpair: streams, datagrams, sequenced packets, files in flight, shutdown. Prints the same on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char buffer[4096];

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
}
static void take(const char *what, int fd, size_t size, int flags) {
  memset(buffer, 0, sizeof buffer);
  long n = recv(fd, buffer, size, flags);
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld '%s'\n", what, n, buffer);
}
static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static void streams(void) {
  int s[2], waiting;
  say("pair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
  printf("events %x\n", events(s[0]));
  take("empty", s[1], 10, 0);
  write(s[0], "hello ", 6), write(s[0], "world", 5);
  ioctl(s[1], FIONREAD, &waiting);
  printf("waiting %d events %x\n", waiting, events(s[1]));
  take("peek", s[1], 3, MSG_PEEK), take("part", s[1], 4, 0), take("rest", s[1], 100, 0);
  shutdown(s[0], SHUT_WR);
  printf("events %x %x\n", events(s[0]), events(s[1]));
  take("end", s[1], 10, 0);
  say("write after shutdown", send(s[0], "x", 1, MSG_NOSIGNAL));
  say("other direction", write(s[1], "back", 4));
  close(s[1]);
  take("back", s[0], 10, 0), take("closed", s[0], 10, 0);
  printf("events %x\n", events(s[0]));
  close(s[0]);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  write(s[0], "unread", 6);
  close(s[1]);
  say("reset", read(s[0], buffer, 1));
  say("then", read(s[0], buffer, 1));
  say("broken", send(s[0], "x", 1, MSG_NOSIGNAL));
  close(s[0]);
}

static void *drain(void *arg) {
  long total = 0, n;
  unsigned sum = 0;
  char big[3000];
  while ((n = read(*(int *)arg, big, sizeof big)) > 0)
    for (total += n; n > 0; n--) sum = sum * 31 + (unsigned char)big[n - 1];
  return (void *)total;
}

static void flood(void) {
  int s[2];
  pthread_t t;
  void *total;
  char *big = malloc(1 << 20);
  memset(big, 7, 1 << 20);
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  pthread_create(&t, NULL, drain, &s[1]);
  say("a megabyte", write(s[0], big, 1 << 20));
  close(s[0]);
  pthread_join(t, &total);
  say("drained", (long)total);
  close(s[1]);
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s);
  long n, all = 0;
  while ((n = write(s[0], big, 65536)) > 0) all += n;
  printf("filled %d: %s, events %x\n", all > 65536, strerror(errno), events(s[0]));
  while ((n = read(s[1], big, 65536)) > 0) all -= n;
  printf("left %ld, events %x\n", all, events(s[0]));
  close(s[0]), close(s[1]);
  free(big);
}

static void packets(int type) {
  int s[2];
  say("pair", socketpair(AF_UNIX, type, 0, s));
  send(s[0], "first", 5, 0), send(s[0], "", 0, 0), send(s[0], "third one", 9, 0);
  take("first", s[1], 100, 0), take("empty", s[1], 100, 0);
  take("peek", s[1], 100, MSG_PEEK), take("cut", s[1], 5, MSG_TRUNC);
  take("none", s[1], 5, MSG_DONTWAIT);
  struct iovec iov[2] = {{"ab", 2}, {"cde", 3}}, in[2] = {{buffer, 1}, {buffer + 100, 2}};
  struct msghdr out = {.msg_iov = iov, .msg_iovlen = 2}, msg = {.msg_iov = in, .msg_iovlen = 2};
  say("gather", sendmsg(s[0], &out, 0));
  memset(buffer, 0, sizeof buffer);
  say("scatter", recvmsg(s[1], &msg, 0));
  printf("'%s' '%s' flags %x\n", buffer, buffer + 100, msg.msg_flags);
  close(s[0]), close(s[1]);
}

static void rights(void) {
  int s[2], p[2];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(2 * sizeof(int))];
  } control;
  socketpair(AF_UNIX, SOCK_STREAM, 0, s), pipe(p);
  struct iovec iov = {"fds", 3};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  control.header = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), p, sizeof p);
  write(s[0], "before", 6);
  say("send", sendmsg(s[0], &m, 0));
  write(s[0], "after", 5);
  close(p[0]), close(p[1]);
  struct iovec in = {buffer, sizeof buffer};
  m.msg_iov = &in;
  for (int i = 0; i < 2; i++) {
    memset(buffer, 0, sizeof buffer);
    m.msg_controllen = sizeof control;
    long n = recvmsg(s[1], &m, MSG_CMSG_CLOEXEC);
    printf("received %ld '%s' control %ld flags %x\n", n, buffer, (long)m.msg_controllen,
           m.msg_flags & ~MSG_CMSG_CLOEXEC);
  }
  int got[2];
  memcpy(got, CMSG_DATA(&control.header), sizeof got);
  say("through the pipe", write(got[1], "pipe", 4));
  say("cloexec", fcntl(got[0], F_GETFD));
  memset(buffer, 0, sizeof buffer);
  say("read", read(got[0], buffer, 10));
  printf("'%s'\n", buffer);
  iov = (struct iovec){"y", 1};
  m.msg_iov = &iov;
  got[0] = 999;
  control.header = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), got, sizeof got);
  m.msg_controllen = sizeof control;
  say("bad descriptor", sendmsg(s[0], &m, 0));
  close(s[0]), close(s[1]);
}

static void errors(void) {
  int s[2], p[2];
  say("family", socket(99, SOCK_STREAM, 0));
  say("type", socket(AF_UNIX, 99, 0));
  say("protocol", socket(AF_INET, SOCK_STREAM, 17));
  say("inet pair", socketpair(AF_INET, SOCK_STREAM, 0, s));
  pipe(p);
  say("not a socket", send(p[1], "x", 1, 0));
  say("bad descriptor", send(999, "x", 1, 0));
  s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
  say("not connected", send(s[0], "x", 1, MSG_NOSIGNAL));
  say("shutdown", shutdown(s[0], SHUT_RD));
  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  say("bad pointer", send(s[0], (void *)8, 10, MSG_NOSIGNAL));
  say("bad pointer", syscall(SYS_recvmsg, s[0], 8, 0));
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  streams(), flood(), packets(SOCK_DGRAM), packets(SOCK_SEQPACKET), rights(), errors();
  return 0;
}
