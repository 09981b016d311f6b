/* Ways to end by a signal; the argument says which. Without one, those that do not end. */
#include "call.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

struct kernel_action {
  void *handler;
  unsigned long flags;
  void *restorer;
  uint64_t mask;
};

static void returns(int signal) { write(1, "handler\n", 8); }
static void nothing(int signal) {}

static void install(int signal, void *handler, int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(signal, &action, NULL);
}

static void block(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

static void fault(void) { *(volatile int *)16 = 1; }

static void write_to_nobody(void) {
  int ends[2];
  pipe(ends);
  close(ends[0]);
  SHOW(write, ends[1], "x", 1);
}

static void *sleep_long(void *unused) {
  for (;;) pause();
}
static void *spin(void *unused) {
  for (;;) {}
}

static pthread_t start(void *(*function)(void *)) {
  pthread_t thread;
  pthread_create(&thread, NULL, function, NULL);
  usleep(2000);
  return thread;
}

static int recurse(volatile char *above) {
  volatile char here[4096];
  here[0] = above[0];
  return recurse(here) + here[0];
}

static void end(const char *how) {
  if (strcmp(how, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(how, "term") == 0) raise(SIGTERM);
  if (strcmp(how, "profile") == 0) raise(SIGPROF);
  if (strcmp(how, "abort") == 0) abort();
  if (strcmp(how, "pipe") == 0) write_to_nobody();
  if (strcmp(how, "fault") == 0) fault();
  if (strcmp(how, "divide") == 0) __asm__ volatile("xor %%ecx, %%ecx; div %%ecx" : : : "eax", "ecx", "edx");
  if (strcmp(how, "undefined") == 0) __asm__ volatile("ud2");
  if (strcmp(how, "breakpoint") == 0) __asm__ volatile("int3");
  if (strcmp(how, "blocked-fault") == 0) {
    install(SIGSEGV, returns, 0);
    block(SIGSEGV);
    fault();
  }
  if (strcmp(how, "ignored-fault") == 0) {
    install(SIGSEGV, SIG_IGN, 0);
    fault();
  }
  if (strcmp(how, "reset-fault") == 0) {
    install(SIGSEGV, returns, SA_RESETHAND);
    fault();
  }
  if (strcmp(how, "overflow") == 0) {
    install(SIGSEGV, returns, 0);
    recurse("");
  }
  if (strcmp(how, "no-restorer") == 0) {
    struct kernel_action action = {returns, 0, 0, 0};
    CALL(rt_sigaction, SIGUSR1, &action, 0, 8);
    raise(SIGUSR1);
  }
  if (strcmp(how, "sigreturn") == 0)
    __asm__ volatile("mov $0x1000, %%esp; syscall" : : "a"(SYS_rt_sigreturn) : "memory");
  if (strcmp(how, "unmasked") == 0) {
    sigset_t none;
    sigemptyset(&none);
    block(SIGHUP);
    raise(SIGHUP);
    printf("waits\n");
    sigprocmask(SIG_SETMASK, &none, NULL);
  }
  if (strcmp(how, "alarm") == 0) {
    struct itimerval soon = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    pause();
  }
  if (strcmp(how, "spinning-alarm") == 0) {
    struct itimerval soon = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    spin(NULL);
  }
  if (strcmp(how, "thread") == 0) {
    pthread_kill(start(sleep_long), SIGUSR2);
    pause();
  }
  if (strcmp(how, "exit") == 0) {
    start(sleep_long);
    start(spin);
    _exit(7);
  }
  if (strcmp(how, "leader-exits") == 0) {
    start(sleep_long);
    alarm(1);
    CALL(exit, 3);
  }
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  if (argc > 1) {
    end(argv[1]);
    printf("%s did not end it\n", argv[1]);
  }
  install(SIGPIPE, SIG_IGN, 0);
  write_to_nobody();
  install(SIGPIPE, returns, 0);
  write_to_nobody();
  raise(SIGCHLD);
  raise(SIGURG);
  raise(SIGWINCH);
  raise(SIGCONT);
  return 0;
}
