/* Signals read from a file: signalfd(2). */
#include "call.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#define BIT(n) (1ull << ((n)-1))
static int fd;

static void show_next(void) {
  struct signalfd_siginfo info;
  memset(&info, 0xff, sizeof info);
  long n = CALL(read, fd, &info, sizeof info);
  if (n < 0) printf("read: %s\n", strerrorname_np(-n));
  else
    printf("read %ld: signal %d errno %d code %d pid is ours %d uid %d int %d ptr %lx\n", n, info.ssi_signo,
           info.ssi_errno, info.ssi_code, info.ssi_pid == getpid(), info.ssi_uid, info.ssi_int, (long)info.ssi_ptr);
}

static void show_ready(void) {
  struct pollfd p = {fd, POLLIN | POLLOUT};
  printf("poll %d %x\n", poll(&p, 1, 0), p.revents);
}

static void *sender(void *unused) {
  usleep(5000);
  kill(getpid(), SIGUSR1);
  return NULL;
}

int main(void) {
  uint64_t set = BIT(SIGUSR1) | BIT(SIGRTMIN), both = set | BIT(SIGUSR2), kills = ~0ull;
  struct signalfd_siginfo many[3];
  setvbuf(stdout, NULL, _IONBF, 0);
  SHOW(signalfd4, -1, &set, 4, 0);
  SHOW(signalfd4, -1, 8, 8, 0);
  SHOW(signalfd4, -1, &set, 8, 1);
  SHOW(signalfd4, 0x7fff, &set, 8, 0);
  SHOW(signalfd4, 1, &set, 8, 0);
  CALL(rt_sigprocmask, SIG_BLOCK, &both, 0, 8);
  fd = CALL(signalfd4, -1, &set, 8, SFD_NONBLOCK | SFD_CLOEXEC);
  printf("cloexec %d nonblock %d\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & O_NONBLOCK);
  show_ready();
  show_next();
  raise(SIGUSR1);
  kill(getpid(), SIGUSR2);
  sigqueue(getpid(), SIGRTMIN, (union sigval){1234});
  show_ready();
  SHOW(read, fd, many, 127);
  show_next();
  show_next();
  show_next();
  printf("with SIGUSR2 %d\n", CALL(signalfd4, fd, &both, 8, 0) == fd);
  show_ready();
  show_next();
  for (int i = 0; i < 4; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){i});
  SHOW(read, fd, many, sizeof many);
  printf("%d %d %d\n", many[0].ssi_int, many[1].ssi_int, many[2].ssi_int);
  SHOW(read, fd, many, sizeof many);

  /* A sleeping reader and a sleeping epoll are woken. */
  pthread_t thread;
  struct epoll_event event = {.events = EPOLLIN}, out;
  int epoll = epoll_create1(0);
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  pthread_create(&thread, NULL, sender, NULL);
  printf("epoll_wait %d\n", epoll_wait(epoll, &out, 1, 2000));
  show_next();
  pthread_join(thread, NULL);
  fcntl(fd, F_SETFL, 0);
  pthread_create(&thread, NULL, sender, NULL);
  show_next();
  pthread_join(thread, NULL);
  return 0;
}
