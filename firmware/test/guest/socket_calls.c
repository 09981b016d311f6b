/* Socket calls with unusual arguments: several messages at once, parts of messages, wrong pointers, options that servers
 * ask for. The same on Linux. */
#include "call.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#define BAD ((void *)8)

static char bytes[4][64];

static struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int port_of(long fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  CALL(getsockname, fd, &a, &n);
  return ntohs(a.sin_port);
}

static void several(void) {
  long a = CALL(socket, AF_INET, SOCK_DGRAM, 0), b = CALL(socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in to = loopback(0);
  SHOW(bind, b, &to, sizeof to);
  to = loopback(port_of(b));
  SHOW(connect, a, &to, sizeof to);
  struct iovec out[3] = {{"one", 3}, {"twenty", 6}, {"", 0}}, in[4];
  struct mmsghdr send[3] = {0}, receive[4] = {0};
  for (int i = 0; i < 3; i++) send[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
  for (int i = 0; i < 4; i++) {
    in[i] = (struct iovec){bytes[i], i == 1 ? 4 : sizeof bytes[i]};
    receive[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
  }
  SHOW(sendmmsg, a, send, 3, 0);
  printf("%u %u %u\n", send[0].msg_len, send[1].msg_len, send[2].msg_len);
  SHOW(recvmmsg, b, receive, 4, MSG_WAITFORONE, NULL);
  for (int i = 0; i < 3; i++)
    printf("%u %d %.4s\n", receive[i].msg_len, receive[i].msg_hdr.msg_flags & MSG_TRUNC, bytes[i]);
  SHOW(recvmmsg, b, receive, 4, 0, NULL);
  SHOW(sendmmsg, a, BAD, 1, 0);
  SHOW(recvmmsg, b, BAD, 1, 0, NULL);
  SHOW(sendmmsg, 99, send, 1, 0);
  SHOW(sendto, a, "datagram", 8, 0, NULL, 0);
  SHOW(recvfrom, b, bytes, 3, MSG_PEEK, NULL, NULL);
  SHOW(recvfrom, b, bytes, 3, MSG_PEEK | MSG_TRUNC, NULL, NULL);
  SHOW(recvfrom, b, bytes, 3, MSG_TRUNC, NULL, NULL);
  SHOW(recvfrom, b, bytes, 3, 0, NULL, NULL);
  SHOW(sendto, a, BAD, 8, 0, NULL, 0);
  SHOW(sendto, b, "x", 1, 0, NULL, 0);
  SHOW(sendto, b, "x", 1, 0, &to, 3);
  SHOW(sendto, b, "x", 1, 0, BAD, 16);
  SHOW(close, a);
  SHOW(close, b);
}

static void listening(void) {
  long first = CALL(socket, AF_INET, SOCK_STREAM, 0), second = CALL(socket, AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  SHOW(bind, first, &at, 4);
  SHOW(bind, first, BAD, sizeof at);
  SHOW(bind, first, &at, sizeof at);
  SHOW(bind, first, &at, sizeof at);
  at = loopback(port_of(first));
  SHOW(bind, second, &at, sizeof at);
  SHOW(connect, second, &at, sizeof at);
  close(second);
  second = CALL(socket, AF_INET, SOCK_STREAM, 0);
  SHOW(accept4, first, NULL, NULL, 0);
  SHOW(listen, first, 5);
  SHOW(fcntl, first, F_SETFL, O_NONBLOCK);
  SHOW(accept4, first, NULL, NULL, 0);
  SHOW(accept4, first, NULL, NULL, 1);
  SHOW(connect, second, &at, sizeof at);
  SHOW(connect, second, &at, sizeof at);
  long child = CALL(accept4, first, &at, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  printf("%d %d\n", size == sizeof at, at.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  printf("%ld %ld\n", CALL(fcntl, child, F_GETFL, 0) & O_NONBLOCK, CALL(fcntl, child, F_GETFD, 0));
  SHOW(read, child, bytes, 10);
  SHOW(write, second, "abcdef", 6);
  SHOW(recvfrom, child, bytes, 3, MSG_PEEK, NULL, NULL);
  SHOW(recvfrom, child, bytes, 3, MSG_DONTWAIT, NULL, NULL);
  SHOW(recvfrom, child, BAD, 3, 0, NULL, NULL);
  SHOW(shutdown, second, 7);
  SHOW(shutdown, second, SHUT_WR);
  SHOW(sendto, second, "x", 1, MSG_NOSIGNAL, NULL, 0);
  SHOW(recvfrom, child, bytes, 10, MSG_WAITALL, NULL, NULL);
  SHOW(read, child, bytes, 10);
  SHOW(shutdown, child, SHUT_RDWR);
  SHOW(sendto, child, "x", 1, MSG_NOSIGNAL, NULL, 0);
  SHOW(accept4, second, NULL, NULL, 0);
  SHOW(listen, 0x7fff, 1);
  close(child);
  close(second);
  close(first);
}

static void options(void) {
  long fd = CALL(socket, AF_INET, SOCK_STREAM, 0), pair[2];
  struct linger linger = {1, 3};
  struct tcp_info info = {0};
  socklen_t size = sizeof linger;
  int value = 5;
  socklen_t four = 4, large = 64;
  SHOW(setsockopt, fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  linger = (struct linger){9, 9};
  SHOW(getsockopt, fd, SOL_SOCKET, SO_LINGER, &linger, &size);
  printf("%d %d %u\n", linger.l_onoff, linger.l_linger, size);
  size = sizeof info;
  SHOW(getsockopt, fd, SOL_TCP, TCP_INFO, &info, &size);
  printf("%d %d\n", info.tcpi_state, size >= 104);
  size = 2;
  SHOW(getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, &size);
  printf("%d %u\n", value & 0xffff, size);
  size = -1;
  SHOW(getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, &size);
  SHOW(getsockopt, fd, SOL_SOCKET, SO_TYPE, BAD, &four);
  SHOW(getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, BAD);
  size = sizeof value;
  SHOW(setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, BAD, 4);
  SHOW(setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &value, 1);
  SHOW(setsockopt, fd, SOL_SOCKET, SO_TYPE, &value, 4);
  SHOW(setsockopt, fd, SOL_SOCKET, 999, &value, 4);
  SHOW(setsockopt, 0x7fff, SOL_SOCKET, SO_REUSEADDR, &value, 4);
  SHOW(socket, AF_INET, 77, 0);
  SHOW(socket, 250, SOCK_STREAM, 0);
  SHOW(socket, AF_INET, SOCK_STREAM, IPPROTO_UDP);
  SHOW(socketpair, AF_INET, SOCK_STREAM, 0, pair);
  SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, BAD);
  SHOW(getpeername, fd, bytes, &large);
  SHOW(getsockname, fd, BAD, &large);
  close(fd);
}

static void reset(void) {
  long listener = CALL(socket, AF_INET, SOCK_STREAM, 0), client = CALL(socket, AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = loopback(0);
  struct linger now = {1, 0};
  CALL(bind, listener, &at, sizeof at);
  CALL(listen, listener, 1);
  at = loopback(port_of(listener));
  SHOW(connect, client, &at, sizeof at);
  long child = CALL(accept4, listener, NULL, NULL, 0);
  SHOW(setsockopt, child, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  SHOW(close, child);
  SHOW(read, client, bytes, 10);
  SHOW(read, client, bytes, 10);
  close(client);
  close(listener);
}

static void refused(void) {
  long fd = CALL(socket, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(1)};
  struct pollfd p = {.fd = (int)fd, .events = POLLOUT};
  int error = 0;
  socklen_t size = sizeof error;
  long result = CALL(connect, fd, &at, sizeof at);
  printf("%d\n", result == -EINPROGRESS || result == -ECONNREFUSED);
  if (result == -EINPROGRESS) {
    poll(&p, 1, 1000);
    getsockopt((int)fd, SOL_SOCKET, SO_ERROR, &error, &size);
    printf("%d\n", error == ECONNREFUSED);
  } else {
    printf("1\n");
  }
  close(fd);
}

/* Options that are only kept: what they are at first, and after 1 was written. */
static void keep(int family, int type, int level, int option) {
  long fd = CALL(socket, family, type, 0);
  int first = -2, value = 1, then = -2;
  socklen_t size = sizeof value;
  long got = CALL(getsockopt, fd, level, option, &first, &size), set = CALL(setsockopt, fd, level, option, &value, size);
  CALL(getsockopt, fd, level, option, &then, &size);
  printf("%d %d %d %d: %ld %d, %ld, %d\n", family, type, level, option, got, first, set, then);
  CALL(close, fd);
}

static void kept(void) {
  static const int of_sockets[] = {SO_TIMESTAMPNS, SO_MARK, SO_RXQ_OVFL, SO_SELECT_ERR_QUEUE, SO_MAX_PACING_RATE};
  static const int of_ip[] = {IP_RECVTTL, IP_RECVTOS, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT, IP_MULTICAST_TTL,
                              IP_MULTICAST_LOOP, IP_MULTICAST_ALL};
  static const int of_ip6[] = {IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_MTU_DISCOVER, IPV6_RECVHOPLIMIT, IPV6_DONTFRAG,
                               IPV6_RECVTCLASS, IPV6_AUTOFLOWLABEL, IPV6_TRANSPARENT, IPV6_FREEBIND};
  static const int of_tcp[] = {TCP_LINGER2, TCP_THIN_LINEAR_TIMEOUTS, TCP_NOTSENT_LOWAT};
  for (int i = 0; i < sizeof of_sockets / sizeof(int); i++) keep(AF_INET, SOCK_STREAM, SOL_SOCKET, of_sockets[i]);
  for (int i = 0; i < sizeof of_ip / sizeof(int); i++) keep(AF_INET, SOCK_DGRAM, SOL_IP, of_ip[i]);
  for (int i = 0; i < sizeof of_ip6 / sizeof(int); i++) keep(AF_INET6, SOCK_DGRAM, SOL_IPV6, of_ip6[i]);
  for (int i = 0; i < sizeof of_tcp / sizeof(int); i++) keep(AF_INET, SOCK_STREAM, SOL_TCP, of_tcp[i]);
  keep(AF_INET, SOCK_DGRAM, SOL_TCP, TCP_LINGER2);
  long fd = CALL(socket, AF_INET6, SOCK_DGRAM, 0);
  int mtu[] = {1279, 1280};
  SHOW(setsockopt, fd, SOL_IPV6, IPV6_MTU, &mtu[0], sizeof mtu[0]);
  SHOW(setsockopt, fd, SOL_IPV6, IPV6_MTU, &mtu[1], sizeof mtu[1]);
  CALL(close, fd);
}

/* ---- what is told of datagrams ---- */

static void tell(const struct msghdr *m) {
  printf("  flags %x\n", m->msg_flags);
  for (struct cmsghdr *c = CMSG_FIRSTHDR((struct msghdr *)m); c != NULL; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
    const unsigned char *data = CMSG_DATA(c);
    printf("  %d %d, %zu bytes:", c->cmsg_level, c->cmsg_type, c->cmsg_len - sizeof *c);
    for (size_t i = 0; c->cmsg_level != SOL_SOCKET && i < c->cmsg_len - sizeof *c; i++) printf(" %02x", data[i]);
    puts("");
  }
}

static void told(const char *what, int family, const char *bound, int from, const char *to, size_t room) {
  int fd = socket(family, SOCK_DGRAM, 0), sender = socket(from, SOCK_DGRAM, 0), one = 1;
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
  struct sockaddr_in in = {.sin_family = AF_INET};
  socklen_t size = family == AF_INET ? sizeof in : sizeof in6;
  void *name = family == AF_INET ? (void *)&in : (void *)&in6;
  inet_pton(family, bound, family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
  printf("%s: %s\n", what, bind(fd, name, size) == 0 ? "bound" : strerrorname_np(errno));
  getsockname(fd, name, &size);
  static const int options[][2] = {{SOL_SOCKET, SO_TIMESTAMP}, {SOL_IP, IP_PKTINFO}, {SOL_IP, IP_RECVTTL}, {SOL_IP, IP_RECVTOS},
                                   {SOL_IPV6, IPV6_RECVPKTINFO}, {SOL_IPV6, IPV6_RECVHOPLIMIT}, {SOL_IPV6, IPV6_RECVTCLASS}};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    if (family == AF_INET ? options[i][0] != SOL_IPV6 : options[i][0] != SOL_IP) setsockopt(fd, options[i][0], options[i][1], &one, sizeof one);
  in.sin_port = family == AF_INET ? in.sin_port : in6.sin6_port;
  in6.sin6_port = in.sin_port;
  in.sin_family = AF_INET, in6.sin6_family = AF_INET6;
  inet_pton(from, to, from == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
  sendto(sender, "x", 1, 0, from == AF_INET ? (void *)&in : (void *)&in6, from == AF_INET ? sizeof in : sizeof in6);
  char byte;
  _Alignas(8) char control[256];
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
  printf("  got %zd\n", recvmsg(fd, &m, MSG_DONTWAIT));
  tell(&m);
  close(fd), close(sender);
}

static void told_of_datagrams(void) {
  told("IPv4", AF_INET, "0.0.0.0", AF_INET, "127.0.0.1", 256);
  told("IPv4, bound", AF_INET, "127.0.0.1", AF_INET, "127.0.0.1", 256);
  told("IPv4, no room", AF_INET, "0.0.0.0", AF_INET, "127.0.0.1", 0);
  told("IPv4, little room", AF_INET, "0.0.0.0", AF_INET, "127.0.0.1", 40);
  told("IPv6", AF_INET6, "::", AF_INET6, "::1", 256);
  told("IPv6, IPv4 sender", AF_INET6, "::", AF_INET, "127.0.0.1", 256);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  several();
  listening();
  options();
  kept();
  told_of_datagrams();
  reset();
  refused();
  return 0;
}
