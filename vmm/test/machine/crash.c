/* Ways for a program to end badly; the first argument chooses one. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char constant[4096] = "constant";
static char variable[16];

/* A file's page that the file does not have. */
static char *beyond(void) {
  int fd = open("/tmp/short", O_RDWR | O_CREAT, 0600);
  return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int ends[2];
static void *take_away(void *page) {
  usleep(50000);
  munmap(page, 4096);
  return (void *)write(ends[1], "late", 4);
}

/* A system call finds its buffer gone when it has slept. */
static void lose_buffer(void) {
  pthread_t thread;
  char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pipe(ends);
  page[0] = page[4096] = 1;
  pthread_create(&thread, NULL, take_away, page);
  read(ends[0], page, 4);
}

/* No handler runs for a fault whose signal is masked. */
static void mask(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  printf("before\n");
  fflush(stdout);
  if (strcmp(how, "null") == 0) *(volatile int *)8 = 1;
  if (strcmp(how, "wild") == 0) *(volatile int *)0x555555555000 = 1;
  if (strcmp(how, "jump") == 0) ((void (*)(void))0x123456789)();
  if (strcmp(how, "constant") == 0) *(volatile char *)constant = 1;
  if (strcmp(how, "data") == 0) ((void (*)(void))variable)();
  if (strcmp(how, "beyond") == 0) *(volatile char *)beyond() = 1;
  if (strcmp(how, "buffer") == 0) lose_buffer();
  if (strcmp(how, "masked") == 0) mask(SIGSEGV), *(volatile int *)8 = 1;
  if (strcmp(how, "divide") == 0) printf("%d\n", argc / (argc - 2));
  if (strcmp(how, "illegal") == 0) __asm__ volatile("ud2");
  if (strcmp(how, "abort") == 0) abort();
  if (strcmp(how, "kill") == 0) raise(SIGKILL);
  if (strcmp(how, "recurse") == 0) return main(argc, argv) + argc;
  if (strcmp(how, "spin") == 0) for (;;) {}
  if (strcmp(how, "sleep") == 0) for (;;) sleep(1000);
  if (strcmp(how, "kernel") == 0) ((void (*)(void))strtoul(argv[2], NULL, 16))();
  if (strcmp(how, "unknown") == 0) return syscall(499) == -1 && syscall(499) == -1 ? 5 : 6;
  return 0;
}
