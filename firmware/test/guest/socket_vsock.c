/* Streams to and from the host: runs in a machine whose host listens on vsock port 5000 (echo) and connects to port
 * 8080 (a TCP listener here) and 9090 (an AF_VSOCK listener here). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct vm_address {
  unsigned short family, reserved;
  unsigned port, cid;
  unsigned char flags, zero[3];
};
enum { AF_VM = 40, TOTAL = 3 << 20 };

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
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

/* Sends and receives at once; counts bytes that came back and are right. */
static void echo_all(int fd) {
  pthread_t t;
  char bytes[7000];
  long got = 0, right = 0, n;
  pthread_create(&t, NULL, send_all, &fd);
  while ((n = read(fd, bytes, sizeof bytes)) > 0)
    for (long i = 0; i < n; i++, got++) right += bytes[i] == (char)(got * 7 >> 3);
  pthread_join(t, NULL);
  printf("echoed %ld right %ld end %ld\n", got, right, n);
}

static void serve(int listener, const char *what) {
  char bytes[100000];
  long n;
  int child = accept(listener, NULL, NULL);
  say(what, child < 0 ? -1 : 0);
  struct sockaddr_in a;
  socklen_t size = sizeof a;
  getpeername(child, (void *)&a, &size);
  printf("peer family %d\n", a.sin_family);
  while ((n = read(child, bytes, sizeof bytes)) > 0)
    for (long at = 0; at < n;) at += write(child, bytes + at, n - at);
  say("end", n);
  close(child);
}

int main(void) {
  char bytes[100] = {0};
  signal(SIGPIPE, SIG_IGN);
  int fd = open("/dev/vsock/2/5000", O_RDWR);
  say("open", fd < 0 ? -1 : 0);
  say("write", write(fd, "hello", 5));
  say("read", read(fd, bytes, 100));
  printf("'%s'\n", bytes);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  say("nothing", read(fd, bytes, 100));
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  poll(&p, 1, 0);
  printf("events %x\n", p.revents);
  close(fd);
  say("refused", open("/dev/vsock/2/1", O_RDWR));
  fd = socket(AF_VM, SOCK_STREAM, 0);
  struct vm_address host = {.family = AF_VM, .port = 5000, .cid = 2};
  say("connect", connect(fd, (void *)&host, sizeof host));
  echo_all(fd);
  close(fd);
  int tcp = socket(AF_INET, SOCK_STREAM, 0), vm = socket(AF_VM, SOCK_STREAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
  struct vm_address own = {.family = AF_VM, .port = 9090, .cid = -1u};
  say("bind", bind(tcp, (void *)&any, sizeof any)), say("listen", listen(tcp, 8));
  say("bind", bind(vm, (void *)&own, sizeof own)), say("listen", listen(vm, 8));
  printf("ready\n");
  fflush(stdout);
  serve(tcp, "tcp"), serve(vm, "vsock");
  return 0;
}
