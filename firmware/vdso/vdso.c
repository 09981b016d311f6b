/* vdso(7): the program's own way to the time, without a call into the kernel. It runs as the program's code: it may be
 * pre-empted, and a bad pointer is the program's fault. */
#include "clock.h"

enum { REALTIME = 0, MONOTONIC, MONOTONIC_RAW = 4, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME, TAI = 11 };
enum { SYS_CLOCK_GETTIME = 228, SYS_CLOCK_GETRES = 229 };

struct timespec {
  i64 seconds, ns;
};
struct timeval {
  i64 seconds, us;
};
struct timezone {
  i32 minutes_west, dst;
};

static i64 system_call(u64 number, u64 a, u64 b) {
  i64 result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
  return result;
}

/* The shared page knows these two; CPU times are for the kernel. */
static bool is_monotonic(int clock) {
  return clock == MONOTONIC || clock == MONOTONIC_RAW || clock == MONOTONIC_COARSE || clock == BOOTTIME;
}
static bool is_wall(int clock) { return clock == REALTIME || clock == REALTIME_COARSE || clock == TAI; }

int __vdso_clock_gettime(int clock, struct timespec *t) {
  u64 ns;
  if (is_monotonic(clock)) ns = monotonic_time();
  else if (is_wall(clock)) ns = wall_time();
  else return (int)system_call(SYS_CLOCK_GETTIME, (u64)clock, (u64)t);
  t->seconds = (i64)(ns / NS_PER_SEC);
  t->ns = (i64)(ns % NS_PER_SEC);
  return 0;
}

int __vdso_clock_getres(int clock, struct timespec *t) {
  if (!is_monotonic(clock) && !is_wall(clock)) return (int)system_call(SYS_CLOCK_GETRES, (u64)clock, (u64)t);
  if (t != NULL) *t = (struct timespec){0, 1};
  return 0;
}

int __vdso_gettimeofday(struct timeval *t, struct timezone *zone) {
  u64 us = wall_time() / 1000;
  if (t != NULL) *t = (struct timeval){(i64)(us / 1000000), (i64)(us % 1000000)};
  if (zone != NULL) *zone = (struct timezone){0, 0};
  return 0;
}

i64 __vdso_time(i64 *t) {
  i64 seconds = (i64)(wall_time() / NS_PER_SEC);
  if (t != NULL) *t = seconds;
  return seconds;
}

int __vdso_getcpu(u32 *cpu, u32 *node) {
  if (cpu != NULL) *cpu = 0;
  if (node != NULL) *node = 0;
  return 0;
}
