/* Threads, the process, and what the machine has. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum {
  CLONE_VM = 0x100,
  CLONE_SIGHAND = 0x800,
  CLONE_PIDFD = 0x1000,
  CLONE_THREAD = 0x10000,
  CLONE_SETTLS = 0x80000,
  CLONE_PARENT_SETTID = 0x100000,
  CLONE_CHILD_CLEARTID = 0x200000,
  CLONE_CHILD_SETTID = 0x1000000,
  CLONE_NEW = 0x7e020080, /* namespaces */
  CLONE_SIGNAL = 0xff,
};
#define TASK_SIZE 0x7ffffffff000ull

struct clone_args { /* clone3(2), its first version */
  u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static i64 check_clone(const struct clone_args *c) {
  u64 flags = c->flags;
  if ((flags & CLONE_THREAD && !(flags & CLONE_SIGHAND)) || (flags & CLONE_SIGHAND && !(flags & CLONE_VM)))
    return -EINVAL;
  if (flags & CLONE_NEW) return flags & CLONE_THREAD ? -EINVAL : -EPERM;
  if (!(flags & CLONE_THREAD)) return -ENOSYS; /* fork and vfork */
  if (flags & CLONE_PIDFD) return -EINVAL;
  if (flags & CLONE_SETTLS && c->tls >= TASK_SIZE) return -EPERM;
  if (flags & CLONE_PARENT_SETTID && !user_writable(c->parent_tid, 4)) return -EFAULT;
  if (flags & CLONE_CHILD_SETTID && !user_writable(c->child_tid, 4)) return -EFAULT;
  return 0;
}

static i64 clone_thread(const struct clone_args *c) {
  i64 error = check_clone(c);
  if (error != 0) return error;
  struct regs regs = *thread_regs(current);
  regs.rax = 0;
  regs.rcx = regs.rip;
  if (c->stack != 0) regs.rsp = c->stack;
  struct thread *t = thread_new(&regs, c->flags & CLONE_SETTLS ? c->tls : fs_base_get());
  if (t == NULL) return -EAGAIN;
  t->signal_mask = current->signal_mask;
  if (c->flags & CLONE_PARENT_SETTID) *(int *)c->parent_tid = t->tid;
  if (c->flags & CLONE_CHILD_SETTID) *(int *)c->child_tid = t->tid;
  if (c->flags & CLONE_CHILD_CLEARTID) t->clear_tid = c->child_tid;
  return t->tid;
}

i64 sys_clone(const u64 *a) {
  struct clone_args c = {.flags = a[0], .stack = a[1], .parent_tid = a[2], .child_tid = a[3], .tls = a[4]};
  return clone_thread(&c);
}

/* What a later version of the call added must be zero: nothing of it is known here. */
static bool rest_is_zero(const u8 *from, u64 size, u64 known) {
  for (u64 i = known; i < size; i++)
    if (from[i] != 0) return false;
  return true;
}

i64 sys_clone3(const u64 *a) {
  struct clone_args c;
  if (a[1] < sizeof c) return -EINVAL;
  if (a[1] > PAGE) return -E2BIG;
  if (!user_readable(a[0], a[1])) return -EFAULT;
  if (!rest_is_zero((const u8 *)a[0], a[1], sizeof c)) return -E2BIG;
  c = *(const struct clone_args *)a[0];
  if ((c.flags & CLONE_SIGNAL) || (c.flags & CLONE_THREAD && c.exit_signal != 0)) return -EINVAL;
  if ((c.stack == 0) != (c.stack_size == 0)) return -EINVAL;
  c.stack += c.stack_size;
  return clone_thread(&c);
}

i64 sys_exit(const u64 *a) {
  if (thread_count() == 1) process_exit((int)(a[0] & 0xff) << 8);
  thread_exit();
}
i64 sys_exit_group(const u64 *a) { process_exit((int)(a[0] & 0xff) << 8); }

i64 sys_getpid(const u64 *a) { return process_id(); }
i64 sys_gettid(const u64 *a) { return current->tid; }
i64 sys_getppid(const u64 *a) { return 0; }
i64 sys_getpgrp(const u64 *a) { return process_id(); }
i64 sys_getpgid(const u64 *a) { return a[0] == 0 || (int)a[0] == process_id() ? process_id() : -ESRCH; }
i64 sys_getsid(const u64 *a) { return sys_getpgid(a); }
i64 sys_setpgid(const u64 *a) { return 0; }
i64 sys_setsid(const u64 *a) { return process_id(); }
i64 sys_set_tid_address(const u64 *a) {
  current->clear_tid = a[0];
  return current->tid;
}

i64 sys_sysinfo(const u64 *a) {
  struct sysinfo {
    u64 uptime, loads[3], total, free, shared, buffers, swap, swap_free;
    u16 processes, pad;
    u64 high, high_free;
    u32 unit;
  };
  _Static_assert(sizeof(struct sysinfo) == 112, "sysinfo");
  if (!user_writable(a[0], sizeof(struct sysinfo))) return -EFAULT;
  *(struct sysinfo *)a[0] = (struct sysinfo){.uptime = clock_mono() / NS_PER_SEC,
                                             .total = frames_total(),
                                             .free = frames_free(),
                                             .processes = (u16)thread_count(),
                                             .unit = 1};
  return 0;
}

i64 sys_getrandom(const u64 *a) {
  u64 n = MIN(a[1], 32 * MiB);
  if ((a[2] & ~7ull) || (a[2] & 6) == 6) return -EINVAL; /* GRND_RANDOM, GRND_INSECURE: one or the other */
  if (!user_writable(a[0], n)) return -EFAULT;
  random_fill((void *)a[0], n);
  return (i64)n;
}

i64 sys_personality(const u64 *a) {
  static u32 kept;
  u32 old = kept;
  if ((u32)a[0] != ~0u) kept = (u32)a[0]; /* -1 asks */
  return old;
}

enum { WNOHANG = 1, WUNTRACED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x1000000 };
#define WAIT_CLONES 0xe0000000u

i64 sys_wait4(const u64 *a) {
  const u32 known = WNOHANG | WUNTRACED | WCONTINUED | WAIT_CLONES;
  return (u32)a[2] & ~known ? -EINVAL : -ECHILD;
}

i64 sys_waitid(const u64 *a) {
  enum { ID_KINDS = 4 };
  const u32 what = WEXITED | WUNTRACED | WCONTINUED, known = what | WNOHANG | WNOWAIT | WAIT_CLONES;
  return (u32)a[0] >= ID_KINDS || ((u32)a[3] & ~known) || !((u32)a[3] & what) ? -EINVAL : -ECHILD;
}
