/* AF_UNIX by name: path and abstract names, listening, datagrams, credentials. Prints the same on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
}
static void ok(const char *what, long n) { say(what, n < 0 ? n : 0); }

static struct sockaddr_un path(const char *text) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strcpy(a.sun_path, text);
  return a;
}

static void name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *)) {
  struct sockaddr_un a;
  socklen_t n = sizeof a;
  memset(&a, 0, sizeof a);
  if (get(fd, (void *)&a, &n) < 0) say(what, -1);
  else printf("%s: size %d '%s'\n", what, (int)n, n > 2 ? a.sun_path[0] ? a.sun_path : a.sun_path + 1 : "");
}

static void *client(void *arg) {
  struct sockaddr_un a = path("/tmp/mayfly-test.sock");
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  usleep(10000);
  ok("connect", connect(s, (void *)&a, sizeof a));
  name("peer", s, getpeername), name("mine", s, getsockname);
  write(s, "hello", 5);
  char bytes[10] = {0};
  say("answer", read(s, bytes, 10));
  close(s);
  return NULL;
}

static void streams(void) {
  struct sockaddr_un a = path("/tmp/mayfly-test.sock");
  pthread_t t;
  unlink(a.sun_path);
  int s = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
  ok("nobody", connect(other, (void *)&a, sizeof a));
  ok("bind", bind(s, (void *)&a, sizeof a));
  ok("twice", bind(other, (void *)&a, sizeof a));
  ok("not listening", connect(other, (void *)&a, sizeof a));
  ok("listen", listen(s, 1));
  name("name", s, getsockname);
  pthread_create(&t, NULL, client, NULL);
  int child = accept(s, NULL, NULL);
  char bytes[10] = {0};
  say("read", read(child, bytes, 10));
  struct ucred who;
  socklen_t n = sizeof who;
  say("credentials", getsockopt(child, SOL_SOCKET, SO_PEERCRED, &who, &n));
  printf("%d %d %d\n", who.pid == getpid(), who.uid == getuid(), (int)n);
  say("write", write(child, "bye", 3));
  pthread_join(t, NULL);
  say("end", read(child, bytes, 10));
  close(s);
  ok("closed", connect(other, (void *)&a, sizeof a));
  s = socket(AF_UNIX, SOCK_STREAM, 0);
  ok("left over", bind(s, (void *)&a, sizeof a));
  struct stat st;
  ok("stat", stat(a.sun_path, &st));
  printf("socket %d\n", S_ISSOCK(st.st_mode));
  say("open", open(a.sun_path, O_RDWR));
  ok("unlink", unlink(a.sun_path));
  ok("bind again", bind(s, (void *)&a, sizeof a)), listen(s, 1);
  ok("rename", rename(a.sun_path, "/tmp/mayfly-test2.sock"));
  ok("old name", connect(other, (void *)&a, sizeof a));
  a = path("/tmp/../tmp/mayfly-test2.sock");
  ok("new name", connect(other, (void *)&a, sizeof a));
  close(s), close(child), close(other);
  unlink(a.sun_path);
}

static void datagrams(void) {
  struct sockaddr_un a = {.sun_family = AF_UNIX}, from;
  memcpy(a.sun_path, "\0mayfly", 7);
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + 7, n = sizeof from;
  int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0);
  char bytes[20] = {0};
  ok("bind", bind(s, (void *)&a, size));
  name("abstract", s, getsockname);
  say("send", sendto(c, "one", 3, 0, (void *)&a, size));
  say("receive", recvfrom(s, bytes, 20, 0, (void *)&from, &n));
  printf("from size %d\n", (int)n);
  ok("autobind", bind(c, (void *)&a, 2));
  n = sizeof from;
  getsockname(c, (void *)&from, &n);
  printf("autobind size %d\n", (int)n);
  ok("connect", connect(c, (void *)&a, size));
  say("send", send(c, "two", 3, 0));
  n = sizeof from;
  say("receive", recvfrom(s, bytes, 20, 0, (void *)&from, &n));
  say("reply", sendto(s, "back", 4, 0, (void *)&from, n));
  say("receive", read(c, bytes, 20));
  close(s);
  say("gone", send(c, "x", 1, 0));
  close(c);
}

int main(void) {
  streams(), datagrams();
  return 0;
}
