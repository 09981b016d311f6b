/* Clocks and sleeping. */
#include "arch.h"
#include "interval.h"
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
  REALTIME_ALARM = 8,
  BOOTTIME_ALARM = 9,
  TAI = 11,
  TIMER_ABSTIME = 1
};

/* The clock of one thread or of the process, as clock_getcpuclockid(3) and pthread_getcpuclockid(3) make its number:
 * ~id << 3, whether it is a thread's in bit 2, the kind of time below. */
static const struct thread *cpu_clock(u32 clock, bool *of_thread) {
  enum { OF_THREAD = 4, KIND = 3 };
  int id = (int)~((i32)clock >> 3);
  *of_thread = clock & OF_THREAD;
  if ((i32)clock >= 0 || (clock & KIND) == KIND) return NULL;
  return *of_thread || id == 0 || id == process_id() ? (id == 0 ? current : thread_find(id)) : NULL;
}

static bool cpu_clock_read(u32 clock, u64 *ns) {
  bool of_thread;
  const struct thread *t = cpu_clock(clock, &of_thread);
  if (t != NULL) *ns = of_thread ? thread_cpu_time(t) : process_cpu_time();
  return t != NULL;
}

static struct timer_clock clock_of_thread(const struct thread *t) {
  return (struct timer_clock){INTERVAL_THREAD, t == leader() ? 0 : t->tid};
}

bool timer_clock_of(u32 clock, struct timer_clock *out) {
  bool of_thread;
  const struct thread *t = cpu_clock(clock, &of_thread);
  *out = (struct timer_clock){INTERVAL_MONO, 0};
  switch (clock) {
    case MONOTONIC:
    case BOOTTIME:
    case BOOTTIME_ALARM: return true;
    case REALTIME:
    case REALTIME_ALARM:
    case TAI: out->kind = INTERVAL_WALL; return true;
    case THREAD_CPU: *out = clock_of_thread(current); return true;
    case PROCESS_CPU: out->kind = INTERVAL_PROCESS; return true;
    default: *out = of_thread && t != NULL ? clock_of_thread(t) : (struct timer_clock){INTERVAL_PROCESS, 0}; return t != NULL;
  }
}

static bool clock_read(u32 clock, u64 *ns) {
  switch (clock) {
    case REALTIME:
    case REALTIME_COARSE:
    case REALTIME_ALARM:
    case TAI: *ns = clock_wall(); return true;
    case MONOTONIC:
    case MONOTONIC_RAW:
    case MONOTONIC_COARSE:
    case BOOTTIME:
    case BOOTTIME_ALARM: *ns = clock_mono(); return true;
    case PROCESS_CPU: *ns = process_cpu_time(); return true;
    case THREAD_CPU: *ns = thread_cpu_time(current); return true;
    default: return cpu_clock_read(clock, ns);
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
  i64 error = remaining == 0 ? 0 : put_time(remaining, now < deadline ? deadline - now : 0, 1);
  return error != 0 ? error : -EINTR;
}

i64 sys_nanosleep(const u64 *a) {
  u64 ns;
  i64 error = get_time(a[0], &ns);
  return error < 0 ? error : sleep_to(clock_mono() + ns, a[1]);
}

/* Until the other threads have used so much of the processor; no faster than the wall clock, so that is when to look. */
static i64 sleep_to_cpu(u64 target) {
  for (u64 now; (now = process_cpu_time()) < target;)
    if (sleep_until(clock_mono() + (target - now)) == -EINTR) return -EINTR;
  return 0;
}

i64 sys_clock_nanosleep(const u64 *a) {
  u64 ns, now;
  u32 clock = (u32)a[0];
  if (!clock_read(clock, &now)) return -EINVAL;
  bool follows_wall = clock == REALTIME || clock == MONOTONIC || clock == BOOTTIME || clock == TAI ||
                      clock == REALTIME_ALARM || clock == BOOTTIME_ALARM;
  if (!follows_wall && clock != PROCESS_CPU) return -EOPNOTSUPP;
  i64 error = get_time(a[2], &ns);
  if (error < 0) return error;
  bool absolute = a[1] & TIMER_ABSTIME;
  if (clock == PROCESS_CPU) return sleep_to_cpu(absolute ? ns : now + ns);
  if (!absolute) return sleep_to(clock_mono() + ns, a[3]);
  return sleep_to(clock_mono() + (ns > now ? ns - now : 0), 0);
}

i64 sys_times(const u64 *a) {
  enum { TICK_NS = 10000000 };
  if (a[0] != 0) {
    if (!user_writable(a[0], 4 * sizeof(u64))) return -EFAULT;
    u64 *t = (u64 *)a[0]; /* user, system, and those of the children */
    t[0] = process_cpu_time() / TICK_NS;
    t[1] = t[2] = t[3] = 0;
  }
  return (i64)(clock_mono() / TICK_NS);
}

i64 sys_getrusage(const u64 *a) {
  enum { CHILDREN = -1, SELF = 0, THREAD = 1, SIZE = 144, MAXRSS_AT = 32 };
  i32 who = (i32)a[0];
  if (who < CHILDREN || who > THREAD) return -EINVAL;
  if (!user_writable(a[1], SIZE)) return -EFAULT;
  memset((void *)a[1], 0, SIZE);
  if (who == CHILDREN) return 0;
  *(u64 *)(a[1] + MAXRSS_AT) = (frames_total() - frames_free()) / KiB;
  return put_time(a[1], who == SELF ? process_cpu_time() : thread_cpu_time(current), 1000);
}
