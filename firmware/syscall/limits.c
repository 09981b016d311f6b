/* Resource limits. They are kept and told; the number of descriptors and processor time are enforced. */
#include "../fs/inode.h"
#include "identity.h"
#include "interval.h"
#include "lib.h"
#include "mm.h"
#include "sched.h"
#include "signal.h"
#include "syscall.h"

#define UNLIMITED ~0ull

struct limit limits[LIMITS] = {
    {UNLIMITED, UNLIMITED}, /* CPU */
    {UNLIMITED, UNLIMITED}, /* FSIZE */
    {UNLIMITED, UNLIMITED}, /* DATA */
    {8 * MiB, UNLIMITED},   /* STACK */
    {0, UNLIMITED},         /* CORE */
    {UNLIMITED, UNLIMITED}, /* RSS */
    {4096, 4096},           /* NPROC */
    {FD_MAX, FD_MAX},       /* NOFILE */
    {UNLIMITED, UNLIMITED}, /* MEMLOCK */
    {UNLIMITED, UNLIMITED}, /* AS */
    {UNLIMITED, UNLIMITED}, /* LOCKS */
    {4096, 4096},           /* SIGPENDING */
    {819200, 819200},       /* MSGQUEUE */
    {0, 0},                 /* NICE */
    {0, 0},                 /* RTPRIO */
    {UNLIMITED, UNLIMITED}, /* RTTIME */
};

u64 fd_limit(void) { return limits[RLIMIT_NOFILE].soft; }

static i64 get_limit(u64 resource, u64 address) {
  if (resource >= LIMITS) return -EINVAL;
  if (!user_writable(address, sizeof(struct limit))) return -EFAULT;
  *(struct limit *)address = limits[resource];
  return 0;
}

/* --- processor time: a signal each second from the soft limit on, the end at the hard one --- */

static void cpu_limit_reached(struct interval_timer *t, u64 times);
static struct interval_timer cpu_limit = {.expired = cpu_limit_reached, .clock = INTERVAL_PROCESS};

static void watch_cpu(void) {
  u64 seconds = MIN(limits[RLIMIT_CPU].soft, limits[RLIMIT_CPU].hard);
  interval_stop(&cpu_limit);
  if (seconds < FOREVER / NS_PER_SEC) interval_start(&cpu_limit, MAX(seconds, 1) * NS_PER_SEC, 0);
}

static void cpu_limit_reached(struct interval_timer *t, u64 times) {
  struct limit *limit = &limits[RLIMIT_CPU];
  int signal = interval_now(t) / NS_PER_SEC >= limit->hard ? SIGKILL : SIGXCPU;
  if (limit->soft < limit->hard) limit->soft = MAX(limit->soft, 1) + 1;
  watch_cpu();
  signal_queue(processor_user(signal), &(struct siginfo){.signo = signal, .code = SI_KERNEL});
}

static i64 set_limit(u64 resource, struct limit to) {
  if (to.soft > to.hard) return -EINVAL;
  if (to.hard > limits[resource].hard && (capabilities.effective == 0 || resource == RLIMIT_NOFILE)) return -EPERM;
  limits[resource] = to;
  if (resource == RLIMIT_CPU) watch_cpu();
  return 0;
}

i64 sys_prlimit64(const u64 *a) {
  struct limit to = {0, 0};
  u64 resource = (u32)a[1];
  if (resource >= LIMITS) return -EINVAL;
  if (a[0] != 0 && (i32)a[0] != process_id()) return -ESRCH;
  if (a[2] != 0 && !user_readable(a[2], sizeof to)) return -EFAULT;
  if (a[2] != 0) to = *(const struct limit *)a[2]; /* both may be the same variable */
  i64 error = a[3] == 0 ? 0 : get_limit(resource, a[3]);
  return error != 0 || a[2] == 0 ? error : set_limit(resource, to);
}

i64 sys_getrlimit(const u64 *a) { return get_limit((u32)a[0], a[1]); }

i64 sys_setrlimit(const u64 *a) {
  if ((u32)a[0] >= LIMITS) return -EINVAL;
  if (!user_readable(a[1], sizeof(struct limit))) return -EFAULT;
  return set_limit((u32)a[0], *(const struct limit *)a[1]);
}
