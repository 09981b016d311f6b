/* poll and select: what is ready, time-outs, errors, waking. Prints the same on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long ms_since(struct timespec start) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
}

static void print(const char *what, int n, struct pollfd *fds, int count) {
  printf("%s: %d", what, n);
  for (int i = 0; i < count; i++) printf(" %x", fds[i].revents);
  printf("\n");
}

static void look(void) {
  int p[2], q[2];
  pipe(p), pipe(q);
  struct pollfd fds[5] = {
      {p[0], POLLIN, 0}, {p[1], POLLOUT | POLLWRNORM, 0}, {-1, POLLIN, 7}, {500, POLLIN, 0}, {q[0], POLLIN, 0}};
  print("empty", poll(fds, 5, 0), fds, 5);
  write(p[1], "x", 1), close(q[1]);
  fds[0].events |= POLLRDNORM;
  print("full", poll(fds, 5, 0), fds, 5);
  close(p[0]);
  fds[0].fd = -5;
  print("no reader", poll(fds, 5, 0), fds, 5);
  printf("too many: %ld %s\n", syscall(SYS_poll, fds, 1u << 30, 0), strerror(errno));
  printf("bad pointer: %ld %s\n", syscall(SYS_poll, 8, 2, 0), strerror(errno));
  close(p[1]), close(q[0]);
}

static void timeouts(void) {
  struct timespec start, wait = {0, 30000000};
  clock_gettime(CLOCK_MONOTONIC, &start);
  int n = poll(NULL, 0, 30);
  printf("poll sleeps: %d %d\n", n, ms_since(start) >= 30);
  n = ppoll(NULL, 0, &wait, NULL);
  printf("ppoll sleeps: %d %d\n", n, ms_since(start) >= 60);
  struct timeval tv = {0, 30000};
  n = select(0, NULL, NULL, NULL, &tv);
  printf("select sleeps: %d %d left %ld\n", n, ms_since(start) >= 90, (long)(tv.tv_sec * 1000000 + tv.tv_usec));
  wait = (struct timespec){0, 2000000000};
  printf("bad time: %d %s\n", ppoll(NULL, 0, &wait, NULL), strerror(errno));
}

static void selects(void) {
  int p[2], ev = eventfd(3, 0);
  fd_set r, w, x;
  pipe(p);
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_ZERO(&x);
  FD_SET(p[0], &r);
  FD_SET(ev, &r);
  FD_SET(p[1], &w);
  FD_SET(ev, &w);
  FD_SET(ev, &x);
  int n = select(ev + p[1] + 1, &r, &w, &x, NULL);
  printf("select: %d %d%d%d%d%d\n", n, FD_ISSET(p[0], &r) != 0, FD_ISSET(ev, &r) != 0, FD_ISSET(p[1], &w) != 0,
         FD_ISSET(ev, &w) != 0, FD_ISSET(ev, &x) != 0);
  FD_SET(50, &r);
  printf("bad descriptor: %d %s\n", select(51, &r, NULL, NULL, NULL), strerror(errno));
  close(p[0]), close(p[1]), close(ev);
}

static int pipe_fds[40][2];

static void *writer(void *arg) {
  usleep(30000);
  write(pipe_fds[33][1], "x", 1);
  return NULL;
}

static void sleeping(void) {
  struct pollfd fds[40];
  pthread_t t;
  for (int i = 0; i < 40; i++) {
    pipe(pipe_fds[i]);
    fds[i] = (struct pollfd){pipe_fds[i][0], POLLIN, 0};
  }
  pthread_create(&t, NULL, writer, NULL);
  int n = poll(fds, 40, 5000);
  printf("woken by one of 40: %d %x\n", n, fds[33].revents);
  pthread_join(t, NULL);
}

int main(void) {
  look(), timeouts(), selects(), sleeping();
  return 0;
}
