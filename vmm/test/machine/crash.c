/* Ways for a program to end badly; the first argument chooses one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  printf("before\n");
  fflush(stdout);
  if (strcmp(how, "null") == 0) *(volatile int *)8 = 1;
  if (strcmp(how, "wild") == 0) *(volatile int *)0x555555555000 = 1;
  if (strcmp(how, "jump") == 0) ((void (*)(void))0x123456789)();
  if (strcmp(how, "divide") == 0) printf("%d\n", argc / (argc - 2));
  if (strcmp(how, "illegal") == 0) __asm__ volatile("ud2");
  if (strcmp(how, "abort") == 0) abort();
  if (strcmp(how, "kill") == 0) raise(SIGKILL);
  if (strcmp(how, "recurse") == 0) return main(argc, argv) + argc;
  if (strcmp(how, "spin") == 0) for (;;) {}
  if (strcmp(how, "sleep") == 0) for (;;) sleep(1000);
  if (strcmp(how, "kernel") == 0) ((void (*)(void))0x7000100c)(); /* the ud2 behind kernel_main */
  if (strcmp(how, "unknown") == 0) return syscall(499) == -1 && syscall(499) == -1 ? 5 : 6;
  return 0;
}
