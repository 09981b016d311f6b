/* TCP and UDP over loopback, IPv4 and IPv6. Prints the same on Linux. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
}
static void ok(const char *what, long n) { say(what, n < 0 ? n : 0); }

static struct sockaddr_in v4(const char *ip, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, ip, &a.sin_addr);
  return a;
}
static int port_of(int fd) {
  struct sockaddr_storage a;
  socklen_t n = sizeof a;
  getsockname(fd, (void *)&a, &n);
  return ntohs(((struct sockaddr_in *)&a)->sin_port);
}
static void name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *), int port) {
  struct sockaddr_storage a;
  char text[64] = "";
  socklen_t n = sizeof a;
  if (get(fd, (void *)&a, &n) < 0) {
    say(what, -1);
    return;
  }
  void *ip = a.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&a)->sin_addr
                                    : &((struct sockaddr_in6 *)&a)->sin6_addr;
  inet_ntop(a.ss_family, ip, text, sizeof text);
  printf("%s: family %d %s size %d port %d\n", what, a.ss_family, text, (int)n,
         ntohs(((struct sockaddr_in *)&a)->sin_port) == port);
}

static void *echo(void *arg) {
  char bytes[512];
  long n;
  int child = accept(*(int *)arg, NULL, NULL);
  while ((n = read(child, bytes, sizeof bytes)) > 0) write(child, bytes, n);
  shutdown(child, SHUT_WR);
  close(child);
  return NULL;
}

static void tcp(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  pthread_t t;
  struct sockaddr_in a = v4("127.0.0.1", 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  ok("bind", bind(listener, (void *)&a, sizeof a));
  ok("listen", listen(listener, 5));
  int port = port_of(listener);
  a.sin_port = htons(port);
  name("listener", listener, getsockname, port);
  int other = socket(AF_INET, SOCK_STREAM, 0);
  ok("in use", bind(other, (void *)&a, sizeof a));
  pthread_create(&t, NULL, echo, &listener);
  ok("connect", connect(other, (void *)&a, sizeof a));
  ok("again", connect(other, (void *)&a, sizeof a));
  name("mine", other, getsockname, port_of(other)), name("peer", other, getpeername, port);
  char bytes[100] = {0};
  say("write", write(other, "ping over loopback", 18));
  say("read", recv(other, bytes, 18, MSG_WAITALL));
  printf("'%s'\n", bytes);
  shutdown(other, SHUT_WR);
  say("end", read(other, bytes, 10));
  pthread_join(t, NULL);
  close(other);
  other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int result = connect(other, (void *)&a, sizeof a);
  printf("non-blocking connect: %d\n", result == 0 || errno == EINPROGRESS);
  struct pollfd p = {other, POLLOUT, 0};
  int error = -1;
  socklen_t size = sizeof error;
  say("poll", poll(&p, 1, 1000));
  getsockopt(other, SOL_SOCKET, SO_ERROR, &error, &size);
  printf("revents %x error %d\n", p.revents, error);
  struct pollfd l = {listener, POLLIN, 0};
  say("listener poll", poll(&l, 1, 1000));
  int child = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  name("child", child, getsockname, port), name("child's peer", child, getpeername, port_of(other));
  say("nothing yet", read(child, bytes, 10));
  struct timeval tv = {0, 20000};
  setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
  ok("no second one", accept(listener, NULL, NULL));
  close(child);
  usleep(10000);
  say("closed", read(other, bytes, 10));
  close(other), close(listener);
  other = socket(AF_INET, SOCK_STREAM, 0);
  ok("refused", connect(other, (void *)&a, sizeof a));
  close(other);
}

static void timeout(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval tv = {0, 20000}, back;
  socklen_t size = sizeof back;
  say("timeout", setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
  getsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &back, &size);
  printf("kept %d\n", back.tv_usec == 20000);
  ok("listen without bind", listen(listener, 1));
  ok("accept times out", accept(listener, NULL, NULL));
  close(listener);
}

static void dual(void) {
  int listener = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 a = {.sin6_family = AF_INET6};
  ok("bind ::", bind(listener, (void *)&a, sizeof a));
  listen(listener, 5);
  int port = port_of(listener);
  struct sockaddr_in b = v4("127.0.0.1", port);
  int four = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0);
  ok("v4", connect(four, (void *)&b, sizeof b));
  int child = accept(listener, NULL, NULL);
  name("child of v4", child, getsockname, port), name("peer", child, getpeername, port_of(four));
  a.sin6_port = htons(port), a.sin6_addr = in6addr_loopback;
  ok("v6", connect(six, (void *)&a, sizeof a));
  int child6 = accept(listener, NULL, NULL);
  name("child of v6", child6, getsockname, port), name("mine", six, getsockname, port_of(six));
  int only = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
  setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  a.sin6_addr = in6addr_any, a.sin6_port = 0;
  bind(only, (void *)&a, sizeof a), listen(only, 1);
  b.sin_port = htons(port_of(only));
  close(four);
  four = socket(AF_INET, SOCK_STREAM, 0);
  ok("v6 only", connect(four, (void *)&b, sizeof b));
  close(four), close(six), close(only), close(child), close(child6), close(listener);
}

static void udp(void) {
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in to = v4("127.0.0.1", 0), from;
  socklen_t size = sizeof from;
  char bytes[100] = {0};
  ok("bind", bind(a, (void *)&to, sizeof to));
  to.sin_port = htons(port_of(a));
  say("no address", send(b, "x", 1, 0));
  say("send", sendto(b, "datagram", 8, 0, (void *)&to, sizeof to));
  say("receive", recvfrom(a, bytes, sizeof bytes, 0, (void *)&from, &size));
  printf("'%s' from %s size %d port %d\n", bytes, inet_ntoa(from.sin_addr), (int)size,
         ntohs(from.sin_port) == port_of(b));
  say("answer", sendto(a, "reply", 5, 0, (void *)&from, size));
  ok("connect", connect(b, (void *)&to, sizeof to));
  name("peer", b, getpeername, port_of(a));
  say("receive", recv(b, bytes, 3, MSG_TRUNC));
  say("empty", recv(b, bytes, 3, MSG_DONTWAIT));
  struct mmsghdr many[2] = {{{.msg_iov = &(struct iovec){"one", 3}, .msg_iovlen = 1}, 0},
                            {{.msg_iov = &(struct iovec){"three", 5}, .msg_iovlen = 1}, 0}};
  say("sendmmsg", sendmmsg(b, many, 2, 0));
  char in[2][10];
  struct iovec iov[2] = {{in[0], 10}, {in[1], 10}};
  struct mmsghdr got[2] = {{{.msg_iov = &iov[0], .msg_iovlen = 1}, 0}, {{.msg_iov = &iov[1], .msg_iovlen = 1}, 0}};
  say("recvmmsg", recvmmsg(a, got, 2, MSG_WAITFORONE, NULL));
  printf("sizes %u %u\n", got[0].msg_len, got[1].msg_len);
  close(a);
  send(b, "x", 1, 0);
  usleep(1000);
  say("port closed", send(b, "x", 1, 0));
  close(b);
}

static void options(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0), v = 1;
  socklen_t n = sizeof v;
  static const int rows[][2] = {{SOL_SOCKET, SO_TYPE},
                                {SOL_SOCKET, SO_DOMAIN},
                                {SOL_SOCKET, SO_PROTOCOL},
                                {SOL_SOCKET, SO_ACCEPTCONN},
                                {SOL_SOCKET, SO_REUSEADDR},
                                {SOL_SOCKET, SO_KEEPALIVE},
                                {IPPROTO_TCP, TCP_NODELAY},
                                {IPPROTO_TCP, TCP_KEEPIDLE},
                                {IPPROTO_IP, IP_TTL},
                                {SOL_SOCKET, 9999},
                                {IPPROTO_UDP, 1}};
  ok("nodelay", setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, sizeof v));
  ok("keepalive", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &v, sizeof v));
  ok("short", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &v, 2));
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    n = sizeof v, v = -1;
    int result = getsockopt(s, rows[i][0], rows[i][1], &v, &n);
    printf("option %d.%d: %d %s\n", rows[i][0], rows[i][1], result < 0 ? -1 : v, result < 0 ? strerror(errno) : "");
  }
  struct sockaddr_in a = v4("8.8.8.8", 1);
  ok("not ours", bind(s, (void *)&a, sizeof a));
  ok("family", bind(s, (void *)&(struct sockaddr_in6){.sin6_family = AF_INET6}, sizeof(struct sockaddr_in6)));
  ok("short address", bind(s, (void *)&a, 4));
  close(s);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  tcp(), timeout(), dual(), udp(), options();
  return 0;
}
