/* Clocks and sleeping. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum {
  REALTIME = 0,
  MONOTONIC = 1,
  PROCESS_CPU = 2,
  THREAD_CPU = 3,
  MONOTONIC_RAW = 4,
  REALTIME_COARSE = 5,
  MONOTONIC_COARSE = 6,
  BOOTTIME = 7,
  TAI = 11,
  TIMER_ABSTIME = 1
};

static u64 boot_mono;

static bool clock_read(u64 clock, u64 *ns) {
  if (boot_mono == 0) boot_mono = clock_mono();
  switch (clock) {
    case REALTIME:
    case REALTIME_COARSE:
    case TAI: *ns = clock_wall(); return true;
    case MONOTONIC:
    case MONOTONIC_RAW:
    case MONOTONIC_COARSE:
    case BOOTTIME: *ns = clock_mono(); return true;
    case PROCESS_CPU:
    case THREAD_CPU: *ns = clock_mono() - boot_mono; return true;
    default: return false;
  }
}

static i64 put_time(u64 address, u64 ns, u64 unit) {
  if (!user_writable(address, 16)) return -EFAULT;
  u64 *t = (u64 *)address;
  t[0] = ns / NS_PER_SEC;
  t[1] = ns % NS_PER_SEC / unit;
  return 0;
}

static i64 get_time(u64 address, u64 *ns) {
  if (!user_readable(address, 16)) return -EFAULT;
  const i64 *t = (const i64 *)address;
  if (t[0] < 0 || t[1] < 0 || t[1] >= (i64)NS_PER_SEC) return -EINVAL;
  *ns = MIN((u64)t[0], FOREVER / NS_PER_SEC / 4) * NS_PER_SEC + (u64)t[1];
  return 0;
}

i64 sys_clock_gettime(const u64 *a) {
  u64 ns;
  return clock_read((u32)a[0], &ns) ? put_time(a[1], ns, 1) : -EINVAL;
}

i64 sys_clock_getres(const u64 *a) {
  u64 ns;
  if (!clock_read((u32)a[0], &ns)) return -EINVAL;
  return a[1] == 0 ? 0 : put_time(a[1], 1, 1);
}

i64 sys_gettimeofday(const u64 *a) {
  if (a[1] != 0 && user_writable(a[1], 8)) *(u64 *)a[1] = 0;
  return a[0] == 0 ? 0 : put_time(a[0], clock_wall(), 1000);
}

i64 sys_time(const u64 *a) {
  i64 now = (i64)(clock_wall() / NS_PER_SEC);
  if (a[0] != 0) {
    if (!user_writable(a[0], 8)) return -EFAULT;
    *(i64 *)a[0] = now;
  }
  return now;
}

static i64 sleep_to(u64 deadline, u64 remaining) {
  int r = 0;
  while (r == 0 && clock_mono() < deadline) r = sleep_until(deadline);
  if (r != -EINTR) return 0;
  u64 now = clock_mono();
  if (remaining != 0) put_time(remaining, now < deadline ? deadline - now : 0, 1);
  return -EINTR;
}

i64 sys_nanosleep(const u64 *a) {
  u64 ns;
  i64 error = get_time(a[0], &ns);
  return error < 0 ? error : sleep_to(clock_mono() + ns, a[1]);
}

i64 sys_clock_nanosleep(const u64 *a) {
  u64 ns, now;
  if (!clock_read((u32)a[0], &now)) return -EINVAL;
  i64 error = get_time(a[2], &ns);
  if (error < 0) return error;
  if (!(a[1] & TIMER_ABSTIME)) return sleep_to(clock_mono() + ns, a[3]);
  return sleep_to(clock_mono() + (ns > now ? ns - now : 0), 0);
}

i64 sys_times(const u64 *a) {
  u64 ns;
  clock_read(PROCESS_CPU, &ns);
  if (a[0] != 0) {
    if (!user_writable(a[0], 32)) return -EFAULT;
    u64 *t = (u64 *)a[0];
    t[0] = ns / 10000000;
    t[1] = t[2] = t[3] = 0;
  }
  return (i64)(clock_mono() / 10000000);
}

i64 sys_getrusage(const u64 *a) {
  u64 ns;
  if (!user_writable(a[1], 144)) return -EFAULT;
  memset((void *)a[1], 0, 144);
  clock_read(PROCESS_CPU, &ns);
  ((u64 *)a[1])[4] = (frames_total() - frames_free()) / KiB; /* ru_maxrss */
  return put_time(a[1], ns, 1000);
}
