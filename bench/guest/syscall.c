/* What one getppid() costs, wherever this program runs.
 *
 *   syscall system|call BATCHES
 *
 * Prints the nanoseconds of one of 1000 calls, BATCHES times: of the system call, or of an empty
 * function that is reached through a table, which is the least that a call by number can be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define CALLS 1000

static long nothing(void) { return 1; }

static long (*volatile table[256])(void) = {[SYS_getppid] = nothing};

/* The shape that compilers and libraries use: the number goes into eax right before. */
static long system_call(void) {
  long result;
  __asm__ volatile("mov %1, %%eax\n\tsyscall" : "=a"(result) : "i"(SYS_getppid) : "rcx", "r11", "memory");
  return result;
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double time_system(void) {
  double start = now_ns();
  for (int i = 0; i < CALLS; i++) system_call();
  return (now_ns() - start) / CALLS;
}

static double time_call(void) {
  double start = now_ns();
  for (int i = 0; i < CALLS; i++) table[SYS_getppid]();
  return (now_ns() - start) / CALLS;
}

int main(int argc, char **argv) {
  int batches = argc == 3 ? atoi(argv[2]) : 0;
  if (batches < 1 || batches > 100000) return 2;
  double (*measure)(void) = strcmp(argv[1], "call") == 0 ? time_call : time_system;
  measure();
  for (int i = 0; i < batches; i++) printf("%.3f\n", measure());
  return 0;
}
