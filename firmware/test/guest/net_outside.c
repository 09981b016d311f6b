/* TCP to a server that is not this machine: `net_outside IP PORT CLOSED_PORT`. The server sends back what it gets, "bye" when
 * it has all, and resets after "reset". Prints the same on Linux with a server of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { TOTAL = 1 << 20, MANY = 20 };
static struct sockaddr_in server, closed_port;

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
}

static int dial(int flags) {
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  if (connect(fd, (void *)&server, sizeof server) < 0 && errno != EINPROGRESS) say("connect", -1);
  return fd;
}

static int socket_error(int fd) {
  int error = -1;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

static void talk(void) {
  struct sockaddr_in name;
  socklen_t size = sizeof name;
  char bytes[100] = {0};
  int fd = dial(0);
  say("getpeername", getpeername(fd, (void *)&name, &size));
  printf("peer %d\n", memcmp(&name, &server, sizeof name));
  say("getsockname", getsockname(fd, (void *)&name, &size));
  printf("a port %d\n", name.sin_port != 0 && name.sin_addr.s_addr != 0);
  say("again", connect(fd, (void *)&server, sizeof server));
  say("write", write(fd, "ping", 4));
  say("read", recv(fd, bytes, 4, MSG_WAITALL));
  say("nothing yet", recv(fd, bytes + 4, 1, MSG_DONTWAIT));
  say("shutdown", shutdown(fd, SHUT_WR));
  say("bye", recv(fd, bytes + 4, 10, MSG_WAITALL));
  printf("'%s'\n", bytes);
  say("end", read(fd, bytes, 1));
  say("closed", send(fd, "x", 1, MSG_NOSIGNAL));
  close(fd);
}

static void later(void) {
  int fd = dial(SOCK_NONBLOCK);
  struct pollfd p = {fd, POLLOUT, 0};
  say("poll", poll(&p, 1, 5000));
  printf("revents %x error %d\n", p.revents, socket_error(fd));
  say("nothing yet", recv(fd, &p, 1, 0));
  close(fd);
}

static void refused(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  say("refused", connect(fd, (void *)&closed_port, sizeof closed_port));
  say("a second time", connect(fd, (void *)&closed_port, sizeof closed_port));
  say("no peer", getpeername(fd, (void *)&closed_port, &(socklen_t){sizeof closed_port}));
  say("the other port", connect(fd, (void *)&server, sizeof server));
  close(fd);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct pollfd p = {fd, POLLOUT, 0};
  int error = connect(fd, (void *)&closed_port, sizeof closed_port) < 0 ? errno : 0;
  if (error == EINPROGRESS) {
    poll(&p, 1, 5000);
    error = socket_error(fd);
  }
  printf("refused later: %s\n", strerror(error));
  close(fd);
}

static void *send_all(void *arg) {
  char bytes[5000];
  for (long sent = 0; sent < TOTAL;) {
    for (int i = 0; i < 5000; i++) bytes[i] = (char)((sent + i) * 7 >> 3);
    long n = write(*(int *)arg, bytes, TOTAL - sent < 5000 ? TOTAL - sent : 5000);
    if (n <= 0) break;
    sent += n;
  }
  shutdown(*(int *)arg, SHUT_WR);
  return NULL;
}

static void much(void) {
  pthread_t t;
  char bytes[7000];
  long got = 0, right = 0, n;
  int fd = dial(0);
  pthread_create(&t, NULL, send_all, &fd);
  while ((n = read(fd, bytes, sizeof bytes)) > 0)
    for (long i = 0; i < n; i++, got++) right += bytes[i] == (char)(got * 7 >> 3);
  pthread_join(t, NULL);
  printf("echoed %ld right %d end %ld\n", got, right >= TOTAL, n);
  close(fd);
}

static void many(void) {
  int epoll = epoll_create1(0), fds[MANY], answers = 0, opened = 0;
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial(SOCK_NONBLOCK);
    struct epoll_event e = {.events = EPOLLOUT, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e);
  }
  struct epoll_event e;
  while (answers < MANY && epoll_wait(epoll, &e, 1, 5000) == 1) {
    char byte = (char)e.data.u32, back;
    if (e.events & EPOLLOUT) {
      opened += write(fds[e.data.u32], &byte, 1);
      e.events = EPOLLIN;
      epoll_ctl(epoll, EPOLL_CTL_MOD, fds[e.data.u32], &e);
    } else {
      answers += read(fds[e.data.u32], &back, 1) == 1 && back == byte;
      close(fds[e.data.u32]);
    }
  }
  printf("opened %d answers %d\n", opened, answers);
  close(epoll);
}

static void reset(void) {
  char bytes[10];
  int fd = dial(0);
  write(fd, "reset", 5);
  say("reset", read(fd, bytes, sizeof bytes));
  say("after it", read(fd, bytes, sizeof bytes));
  close(fd);
}

static void late(void) {
  char byte;
  struct timeval tv = {0, 20000};
  int fd = dial(0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
  say("no answer", read(fd, &byte, 1));
  close(fd);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  server = closed_port = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  closed_port.sin_port = htons(atoi(argv[3]));
  inet_pton(AF_INET, argv[1], &server.sin_addr);
  closed_port.sin_addr = server.sin_addr;
  talk(), later(), refused(), much(), many(), reset(), late();
  return 0;
}
