/* Signals that end sleeping system calls: which say EINTR, which begin again, and the masks of ppoll and its kin. */
#include "call.h"
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <ucontext.h>

static volatile int handled;
static void count(int signal) { handled++; }

static pthread_t sleeper;
static int pipe_ends[2], event, sockets[2];
static uint32_t futex_word;
static struct timespec second = {5, 0}, left;
static struct timeval second_tv = {5, 0};
static struct pollfd pollfd;
static int epoll;
static struct epoll_event epoll_out;
static uint64_t number;
static char text[8];
static fd_set set;

/* What the sleeper is to call, and what ends it if the signal does not. */
static const struct row {
  const char *name;
  long (*call)(void);
  void (*release)(void);
} * row;

static void write_pipe(void) { write(pipe_ends[1], "x", 1); }
static void write_event(void) { eventfd_write(event, 1); }
static void write_socket(void) { write(sockets[1], "y", 1); }
static void wake_futex(void) {
  futex_word = 1;
  CALL(futex, &futex_word, FUTEX_WAKE, 1);
}
static void nothing(void) {}

static long call_read(void) { return CALL(read, pipe_ends[0], text, 1); }
static long call_event(void) { return CALL(read, event, &number, 8); }
static long call_recv(void) { return CALL(recvfrom, sockets[0], text, 1, 0, 0, 0); }
static long call_futex(void) {
  futex_word = 0;
  long result;
  while ((result = CALL(futex, &futex_word, FUTEX_WAIT, 0, 0)) == 0 && futex_word == 0) {}
  return result == -EAGAIN ? 0 : result;
}
static long call_futex_timed(void) {
  futex_word = 0;
  return CALL(futex, &futex_word, FUTEX_WAIT, 0, &second);
}
static long call_poll(void) {
  pollfd = (struct pollfd){pipe_ends[0], POLLIN};
  return CALL(poll, &pollfd, 1, -1);
}
static long call_poll_timed(void) { return CALL(poll, &pollfd, 1, 5000); }
static long call_select(void) {
  FD_ZERO(&set);
  FD_SET(pipe_ends[0], &set);
  return CALL(select, pipe_ends[0] + 1, &set, 0, 0, 0);
}
static long call_epoll(void) { return CALL(epoll_wait, epoll, &epoll_out, 1, -1); }
static long call_nanosleep(void) {
  left = (struct timespec){0};
  long result = CALL(nanosleep, &second, &left);
  printf("time left %d ", left.tv_sec == 4 && left.tv_nsec > 0);
  return result;
}
static long call_clock_absolute(void) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 5;
  return CALL(clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0);
}
static long call_pause(void) { return CALL(pause, 0); }
static long call_sigsuspend(void) { return CALL(rt_sigsuspend, &(uint64_t){0}, 8); }
static long call_sigwait(void) { return CALL(rt_sigtimedwait, &(uint64_t){1ull << (SIGUSR2 - 1)}, 0, 0, 8); }

static const struct row rows[] = {
    {"read", call_read, write_pipe},
    {"read of an eventfd", call_event, write_event},
    {"recv", call_recv, write_socket},
    {"futex", call_futex, wake_futex},
    {"futex, timed", call_futex_timed, nothing},
    {"poll", call_poll, nothing},
    {"poll, timed", call_poll_timed, nothing},
    {"select", call_select, nothing},
    {"epoll_wait", call_epoll, nothing},
    {"nanosleep", call_nanosleep, nothing},
    {"clock_nanosleep", call_clock_absolute, nothing},
    {"pause", call_pause, nothing},
    {"sigsuspend", call_sigsuspend, nothing},
    {"sigwait", call_sigwait, nothing},
};

static atomic_int awake;

static void *sleep_in_call(void *unused) {
  awake = 1;
  long result = row->call();
  printf("%s = %s, handlers %d\n", row->name, result < 0 ? strerrorname_np(-result) : "done", handled);
  return NULL;
}

/* The signal comes while the thread sleeps; a call that began again is let go by release. */
static void interrupt(int flags, int with_release) {
  struct sigaction action = {.sa_handler = count, .sa_flags = flags};
  sigaction(SIGUSR1, &action, NULL);
  handled = 0;
  awake = 0;
  pthread_create(&sleeper, NULL, sleep_in_call, NULL);
  while (!awake) usleep(1000);
  usleep(20000);
  pthread_kill(sleeper, SIGUSR1);
  usleep(20000);
  if (with_release) row->release();
  pthread_join(sleeper, NULL);
}

/* ppoll's mask lets the signal in, atomically; afterwards the old mask holds again. */
static void masks_of_calls(void) {
  uint64_t usr1 = 1ull << (SIGUSR1 - 1), none = 0, mask = 0, pending = 0;
  struct {
    const uint64_t *mask;
    size_t size;
  } six = {&none, 8};
  struct timespec soon = {0, 1000000};
  struct sigaction action = {.sa_handler = count};
  sigaction(SIGUSR1, &action, NULL);
  CALL(rt_sigprocmask, SIG_BLOCK, &usr1, 0, 8);
  pollfd = (struct pollfd){pipe_ends[0], POLLIN};
  FD_ZERO(&set);
  FD_SET(pipe_ends[0], &set);
  for (int i = 0; i < 6; i++) {
    handled = 0;
    raise(SIGUSR1);
    switch (i) {
      case 0: SHOW(ppoll, &pollfd, 1, 0, &none, 8); break;
      case 1: SHOW(pselect6, pipe_ends[0] + 1, &set, 0, 0, 0, &six); break;
      case 2: SHOW(epoll_pwait, epoll, &epoll_out, 1, -1, &none, 8); break;
      case 3: SHOW(rt_sigsuspend, &none, 8); break;
      case 4: SHOW(ppoll, &pollfd, 1, &soon, &usr1, 8); break;
      case 5: /* what is ready goes before the signal */
        write_pipe();
        SHOW(ppoll, &pollfd, 1, 0, &none, 8);
        break;
    }
    CALL(rt_sigprocmask, SIG_BLOCK, 0, &mask, 8);
    CALL(rt_sigpending, &pending, 8);
    printf("handlers %d mask %lx pending %lx\n", handled, mask, pending);
  }
  read(pipe_ends[0], text, 1);
  SHOW(ppoll, &pollfd, 1, 0, 8, 8);
  SHOW(ppoll, &pollfd, 1, 0, &none, 4);
  SHOW(epoll_pwait, epoll, &epoll_out, 1, 0, &none, 4);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &usr1, 0, 8);
  printf("handlers %d\n", handled);
}

/* The mask that a handler runs with during sigsuspend, and the one in its frame. */
static void show_masks(int signal, siginfo_t *info, void *context) {
  uint64_t mask;
  CALL(rt_sigprocmask, SIG_BLOCK, 0, &mask, 8);
  printf("mask %lx frame's %lx\n", mask, *(uint64_t *)&((ucontext_t *)context)->uc_sigmask);
}

static void suspend_masks(void) {
  struct sigaction action = {.sa_sigaction = show_masks, .sa_flags = SA_SIGINFO};
  uint64_t both = 1ull << (SIGUSR1 - 1) | 1ull << (SIGUSR2 - 1), other = 1ull << (SIGUSR2 - 1);
  sigaction(SIGUSR1, &action, NULL);
  CALL(rt_sigprocmask, SIG_BLOCK, &both, 0, 8);
  raise(SIGUSR1);
  SHOW(rt_sigsuspend, &other, 8);
  CALL(rt_sigprocmask, SIG_UNBLOCK, &both, 0, 8);
}

/* A storm of signals into a thread that reads and one that spins through system calls: nothing is lost or torn. */
static atomic_int storming = 1;
static void *reader(void *unused) {
  long bytes = 0;
  char buffer[64];
  ssize_t n;
  while ((n = read(pipe_ends[0], buffer, sizeof buffer)) > 0) bytes += n;
  return (void *)bytes;
}
static void *caller(void *unused) {
  long wrong = 0;
  pid_t pid = getpid();
  while (storming) wrong += syscall(SYS_getpid) != pid || CALL(getpid, 0) != pid;
  return (void *)wrong;
}

static void storm(void) {
  pthread_t threads[2];
  void *bytes, *wrong;
  struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  pthread_create(&threads[0], NULL, reader, NULL);
  pthread_create(&threads[1], NULL, caller, NULL);
  for (int i = 0; i < 300; i++) {
    pthread_kill(threads[i % 2], SIGUSR1);
    write(pipe_ends[1], "abc", 3);
    if (i % 10 == 0) usleep(100);
  }
  storming = 0;
  close(pipe_ends[1]);
  pthread_join(threads[0], &bytes);
  pthread_join(threads[1], &wrong);
  printf("bytes %ld wrong %ld\n", (long)bytes, (long)wrong);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  pipe(pipe_ends);
  event = eventfd(0, 0);
  socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
  epoll = epoll_create1(0);
  for (row = rows; row < rows + sizeof rows / sizeof *rows; row++) interrupt(0, 0);
  printf("SA_RESTART\n");
  for (row = rows; row < rows + sizeof rows / sizeof *rows; row++) interrupt(SA_RESTART, 1);
  masks_of_calls();
  suspend_masks();
  storm();
  return 0;
}
