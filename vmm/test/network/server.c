/* A server as people write them: epoll, a listener with a small backlog, commands of one line each. Arguments: port, and
 * milliseconds to wait before it listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int poll_fd, listener;

struct client {
  int fd;
  size_t owed, have; /* bytes to send; of a line */
  enum { STAYS, CLOSES, SAYS_BYE } end; /* when it owes nothing any more */
  char line[64];
};

static void watch(int op, int fd, unsigned events, void *what) {
  struct epoll_event event = {.events = events, .data.ptr = what};
  if (epoll_ctl(poll_fd, op, fd, &event) < 0) exit(2);
}

static void leave(struct client *c) {
  close(c->fd);
  free(c);
}

/* Sends what it owes; false: the client is gone. */
static int pay(struct client *c) {
  static char block[65536];
  memset(block, '#', sizeof block);
  while (c->owed > 0) {
    ssize_t n = write(c->fd, block, c->owed < sizeof block ? c->owed : sizeof block);
    if (n < 0) {
      watch(EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
      return errno == EAGAIN; /* it is asked again when there is room */
    }
    c->owed -= (size_t)n;
  }
  if (c->end == SAYS_BYE) dprintf(c->fd, "bye\n");
  if (c->end != STAYS) return 0;
  watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
  return 1;
}

/* Does what a line says; false: the connection is over. */
static int obey(struct client *c) {
  struct linger now = {1, 0};
  char word[64] = "";
  long number = 0;
  sscanf(c->line, "%63s %ld", word, &number);
  if (strcmp(word, "send") == 0) c->owed += (size_t)number;
  else if (strcmp(word, "reset") == 0) return setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0;
  else if (strcmp(word, "close") == 0) c->end = CLOSES;
  else if (strcmp(word, "half") == 0) shutdown(c->fd, SHUT_WR);
  else if (strcmp(word, "stop") == 0) close(listener), dprintf(c->fd, "stopped\n");
  else if (strcmp(word, "exit") == 0) exit((int)number);
  else if (strcmp(word, "peer") == 0) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    getpeername(c->fd, (void *)&a, &size);
    dprintf(c->fd, "%s\n", inet_ntoa(a.sin_addr));
  } else dprintf(c->fd, "%s\n", c->line);
  return 1;
}

static int hear(struct client *c) {
  char bytes[4096];
  ssize_t n = read(c->fd, bytes, sizeof bytes);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) c->end = SAYS_BYE;
  for (ssize_t i = 0; i < n; i++) {
    if (bytes[i] != '\n') {
      if (c->have < sizeof c->line - 1) c->line[c->have++] = bytes[i];
      continue;
    }
    c->line[c->have] = 0;
    c->have = 0;
    if (!obey(c)) return 0;
  }
  return pay(c);
}

int main(int argc, char **argv) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1;
  signal(SIGPIPE, SIG_IGN);
  poll_fd = epoll_create1(0);
  /* Another listener first: a guest kernel that has one refuses connections to other ports. */
  if (listen(socket(AF_INET, SOCK_STREAM, 0), 1) < 0) return 2;
  usleep((useconds_t)(argc > 2 ? atoi(argv[2]) : 0) * 1000);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (void *)&a, sizeof a) < 0 || listen(listener, 2) < 0) return perror("listen"), 2;
  watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
  puts("ready");
  fflush(stdout);
  for (struct epoll_event event; epoll_wait(poll_fd, &event, 1, -1) >= 0;) {
    struct client *c = event.data.ptr;
    if (c == NULL) {
      int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
      if (fd < 0) continue;
      c = calloc(1, sizeof *c);
      c->fd = fd;
      watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
    } else if (!((event.events & EPOLLIN) ? hear(c) : pay(c))) leave(c);
  }
  return 2;
}
