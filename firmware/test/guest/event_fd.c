/* eventfd and timerfd. Prints the same on Linux. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t value;

static void take(const char *what, int fd) {
  long n = read(fd, &value, 8);
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld %llu\n", what, n, (unsigned long long)value);
}

static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static void put(const char *what, int fd, uint64_t v) {
  long n = write(fd, &v, 8);
  printf("%s: %s\n", what, n < 0 ? strerror(errno) : "written");
}

static void counters(void) {
  int a = eventfd(5, EFD_NONBLOCK), s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  printf("events %x\n", events(a));
  take("all", a), take("empty", a);
  printf("events %x\n", events(a));
  take("one", s), take("one", s), take("none", s);
  put("max", a, UINT64_MAX - 1);
  printf("events %x\n", events(a));
  put("over", a, 1), put("never", a, UINT64_MAX), put("nothing", a, 0);
  take("max", a);
  printf("short: %ld %s\n", (long)read(a, &value, 4), strerror(errno));
  printf("flags: %d %s\n", eventfd(0, 2), strerror(errno));
}

static void *poster(void *arg) {
  usleep(20000);
  uint64_t nine = 9;
  return (void *)write(*(int *)arg, &nine, 8);
}

static void sleeping(void) {
  int e = eventfd(0, 0);
  pthread_t t;
  pthread_create(&t, NULL, poster, &e);
  take("slept", e);
  pthread_join(t, NULL);
}

static void timers(void) {
  int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec once = {.it_value = {0, 20000000}}, old;
  take("not set", t);
  printf("set: %d\n", timerfd_settime(t, 0, &once, &old));
  printf("old: %ld\n", (long)(old.it_value.tv_sec + old.it_value.tv_nsec));
  timerfd_gettime(t, &old);
  printf("left: %d\n", old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20000000);
  printf("early events %x\n", events(t));
  usleep(40000);
  printf("late events %x\n", events(t));
  take("expired", t), take("once only", t);
  struct itimerspec periodic = {{0, 10000000}, {0, 10000000}};
  timerfd_settime(t, 0, &periodic, NULL);
  usleep(55000);
  read(t, &value, 8);
  printf("periodic: %d\n", value >= 4 && value <= 7);
  timerfd_settime(t, 0, &(struct itimerspec){0}, &old);
  printf("interval: %ld\n", (long)old.it_interval.tv_nsec);
  take("disarmed", t);
  close(t);
  t = timerfd_create(CLOCK_REALTIME, 0);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct itimerspec at = {.it_value = {now.tv_sec - 1, now.tv_nsec}};
  timerfd_settime(t, TFD_TIMER_ABSTIME, &at, NULL);
  take("in the past", t);
  at.it_value.tv_nsec = 1000000000;
  printf("bad time: %d %s\n", timerfd_settime(t, 0, &at, NULL), strerror(errno));
  printf("bad clock: %d %s\n", timerfd_create(99, 0), strerror(errno));
}

int main(void) {
  counters(), sleeping(), timers();
  return 0;
}
