/* Scheduling: one processor, and every thread has the same turn on it. Policies and priorities are kept and told. */
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE = 5, SCHED_RESET_ON_FORK = 0x40000000 };

/* The thread that a call means; 0 is the caller. */
static struct thread *thread_arg(u64 tid) { return (i32)tid == 0 ? current : thread_find((i32)tid); }

i64 sys_sched_yield(const u64 *a) {
  yield();
  return 0;
}

/* ---- Processors ------------------------------------------------------------------------------
 */

i64 sys_sched_getaffinity(const u64 *a) {
  if (a[1] < sizeof(u64) || a[1] % sizeof(u64) != 0) return -EINVAL;
  if (thread_arg(a[0]) == NULL) return -ESRCH;
  if (!user_writable(a[2], sizeof(u64))) return -EFAULT;
  *(u64 *)a[2] = 1;
  return sizeof(u64);
}

i64 sys_sched_setaffinity(const u64 *a) {
  if (thread_arg(a[0]) == NULL) return -ESRCH;
  if (!user_readable(a[2], MIN(a[1], sizeof(u64)))) return -EFAULT;
  return a[1] > 0 && *(const u8 *)a[2] & 1 ? 0 : -EINVAL;
}

i64 sys_getcpu(const u64 *a) {
  for (int i = 0; i < 2; i++) {
    if (a[i] == 0) continue;
    if (!user_writable(a[i], sizeof(u32))) return -EFAULT;
    *(u32 *)a[i] = 0;
  }
  return 0;
}

/* ---- Policies --------------------------------------------------------------------------------
 */

static bool real_time(u32 policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

static bool known(u32 policy) { return policy <= SCHED_BATCH || policy == SCHED_IDLE; }

static i64 set_policy(struct thread *t, u32 policy, u64 parameter) {
  if (t == NULL) return -ESRCH;
  if (!user_readable(parameter, sizeof(i32))) return -EFAULT;
  i32 priority = *(const i32 *)parameter;
  bool fits = real_time(policy) ? priority >= 1 && priority <= 99 : priority == 0;
  if (!known(policy) || !fits) return -EINVAL;
  t->policy = (u8)policy;
  t->priority = (u8)priority;
  return 0;
}

i64 sys_sched_setscheduler(const u64 *a) {
  if ((i32)a[0] < 0 || (i32)a[1] < 0) return -EINVAL;
  return set_policy(thread_arg(a[0]), (u32)a[1] & ~(u32)SCHED_RESET_ON_FORK, a[2]);
}

i64 sys_sched_setparam(const u64 *a) {
  struct thread *t = thread_arg(a[0]);
  return (i32)a[0] < 0 ? -EINVAL : set_policy(t, t == NULL ? 0 : t->policy, a[1]);
}

i64 sys_sched_getscheduler(const u64 *a) {
  const struct thread *t = thread_arg(a[0]);
  return (i32)a[0] < 0 ? -EINVAL : t == NULL ? -ESRCH : t->policy;
}

i64 sys_sched_getparam(const u64 *a) {
  const struct thread *t = thread_arg(a[0]);
  if ((i32)a[0] < 0) return -EINVAL;
  if (t == NULL) return -ESRCH;
  if (!user_writable(a[1], sizeof(i32))) return -EFAULT;
  *(i32 *)a[1] = t->priority;
  return 0;
}

struct attributes { /* sched_setattr(2), its first version */
  u32 size, policy;
  u64 flags;
  i32 nice;
  u32 priority;
  u64 runtime, deadline, period;
};
_Static_assert(sizeof(struct attributes) == 48, "SCHED_ATTR_SIZE_VER0");

i64 sys_sched_setattr(const u64 *a) {
  struct thread *t = thread_arg(a[0]);
  if ((i32)a[0] < 0 || (u32)a[2] != 0) return -EINVAL;
  if (!user_readable(a[1], sizeof(struct attributes))) return -EFAULT;
  const struct attributes *in = (const struct attributes *)a[1];
  if (in->size != 0 && in->size < sizeof *in) return -E2BIG;
  if (in->nice < -20 || in->nice > 19) return -EINVAL;
  i64 error = set_policy(t, in->policy, (u64)&in->priority);
  if (error == 0) t->nice = (i8)in->nice;
  return error;
}

i64 sys_sched_getattr(const u64 *a) {
  const struct thread *t = thread_arg(a[0]);
  if ((i32)a[0] < 0 || (u32)a[2] < sizeof(struct attributes) || (u32)a[3] != 0) return -EINVAL;
  if (t == NULL) return -ESRCH;
  if (!user_writable(a[1], sizeof(struct attributes))) return -EFAULT;
  *(struct attributes *)a[1] = (struct attributes){
      .size = sizeof(struct attributes), .policy = t->policy, .nice = t->nice, .priority = t->priority};
  return 0;
}

i64 sys_sched_get_priority_max(const u64 *a) { return !known((u32)a[0]) ? -EINVAL : real_time((u32)a[0]) ? 99 : 0; }
i64 sys_sched_get_priority_min(const u64 *a) { return !known((u32)a[0]) ? -EINVAL : real_time((u32)a[0]) ? 1 : 0; }

i64 sys_sched_rr_get_interval(const u64 *a) {
  enum { SLICE_NS = 4000000 }; /* the VMM's default tick */
  if ((i32)a[0] < 0) return -EINVAL;
  if (thread_arg(a[0]) == NULL) return -ESRCH;
  if (!user_writable(a[1], 16)) return -EFAULT;
  ((u64 *)a[1])[0] = 0;
  ((u64 *)a[1])[1] = SLICE_NS;
  return 0;
}

/* ---- Priorities ------------------------------------------------------------------------------
 */

enum { OF_PROCESS, OF_GROUP, OF_USER };

/* The thread whose number stands for what the call means. */
static i64 find_priority(u64 which, u64 who, struct thread **t) {
  if ((u32)which > OF_USER) return -EINVAL;
  *t = (u32)which == OF_PROCESS ? thread_arg(who) : (i32)who == 0 || (i32)who == process_id() ? leader() : NULL;
  return *t == NULL ? -ESRCH : 0;
}

/* The raw call answers 20 - nice, which is never negative. */
i64 sys_getpriority(const u64 *a) {
  struct thread *t;
  i64 error = find_priority(a[0], a[1], &t);
  return error != 0 ? error : 20 - t->nice;
}

i64 sys_setpriority(const u64 *a) {
  struct thread *t;
  i64 error = find_priority(a[0], a[1], &t);
  if (error == 0) t->nice = (i8)MAX(MIN((i32)a[2], 19), -20);
  return error;
}

static i32 io_priority;

static i64 check_io_target(u64 which, u64 who) {
  if ((u32)which < 1 || (u32)which > 3) return -EINVAL;
  return (u32)which == 1 && thread_arg(who) == NULL ? -ESRCH : 0;
}

i64 sys_ioprio_get(const u64 *a) {
  i64 error = check_io_target(a[0], a[1]);
  return error != 0 ? error : io_priority;
}

i64 sys_ioprio_set(const u64 *a) {
  enum { CLASS_SHIFT = 13, CLASS_IDLE = 3, LEVELS = 8 };
  u32 class = (u32)a[2] >> CLASS_SHIFT;
  if (class > CLASS_IDLE || (class != 0 && ((u32)a[2] & (LEVELS - 1)) != ((u32)a[2] & 0x1fff))) return -EINVAL;
  i64 error = check_io_target(a[0], a[1]);
  if (error == 0) io_priority = (i32)a[2];
  return error;
}

/* ---- Barriers --------------------------------------------------------------------------------
 */

/* With one processor every switch of threads is a barrier. Only the rules about registering first are left. */
i64 sys_membarrier(const u64 *a) {
  enum { QUERY = 0, GLOBAL = 1, GLOBAL_EXPEDITED = 2, REGISTER_GLOBAL = 4, KNOWN = 0x1ff };
  enum { PRIVATE = 0x8 | 0x20 | 0x80, REGISTER_PRIVATE = 0x10 | 0x40 | 0x100 };
  static u32 registered;
  u32 command = (u32)a[0];
  if ((u32)a[1] != 0) return -EINVAL;
  if (command == QUERY) return KNOWN;
  if ((command & ~(u32)KNOWN) || (command & (command - 1))) return -EINVAL;
  if (command & REGISTER_PRIVATE) registered |= command >> 1;
  return (command & PRIVATE) && !(registered & command) ? -EPERM : 0;
}
