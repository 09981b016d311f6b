/* Threads, identity, limits. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum {
  CLONE_VM = 0x100,
  CLONE_SIGHAND = 0x800,
  CLONE_THREAD = 0x10000,
  CLONE_SETTLS = 0x80000,
  CLONE_PARENT_SETTID = 0x100000,
  CLONE_CHILD_CLEARTID = 0x200000,
  CLONE_CHILD_SETTID = 0x1000000,
};

struct clone_args { /* clone3(2) */
  u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static i64 clone_thread(const struct clone_args *c) {
  u64 needed = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  if ((c->flags & needed) != needed) return -ENOSYS; /* fork and vfork */
  if (c->flags & CLONE_PARENT_SETTID && !user_writable(c->parent_tid, 4)) return -EFAULT;
  if (c->flags & CLONE_CHILD_SETTID && !user_writable(c->child_tid, 4)) return -EFAULT;
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

i64 sys_clone3(const u64 *a) {
  if (a[1] < 64) return -EINVAL;
  if (!user_readable(a[0], a[1])) return -EFAULT;
  struct clone_args c = *(const struct clone_args *)a[0];
  if (c.stack != 0) c.stack += c.stack_size;
  return clone_thread(&c);
}

i64 sys_exit(const u64 *a) {
  (void)a;
  if (thread_count() == 1) process_exit((int)(a[0] & 0xff) << 8);
  thread_exit();
}
i64 sys_exit_group(const u64 *a) { process_exit((int)(a[0] & 0xff) << 8); }

i64 sys_getpid(const u64 *a) {
  (void)a;
  return process_id();
}
i64 sys_gettid(const u64 *a) {
  (void)a;
  return current->tid;
}
i64 sys_getppid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_getuid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_geteuid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_getgid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_getegid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_getpgrp(const u64 *a) {
  (void)a;
  return process_id();
}
i64 sys_getpgid(const u64 *a) { return a[0] == 0 || (int)a[0] == process_id() ? process_id() : -ESRCH; }
i64 sys_getsid(const u64 *a) { return sys_getpgid(a); }
i64 sys_setpgid(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_setsid(const u64 *a) {
  (void)a;
  return process_id();
}
i64 sys_setuid(const u64 *a) { return a[0] == 0 ? 0 : -EPERM; }
i64 sys_setgid(const u64 *a) { return a[0] == 0 ? 0 : -EPERM; }

i64 sys_getgroups(const u64 *a) {
  (void)a;
  return 0;
}

static i64 three_zeros(const u64 *a) {
  for (int i = 0; i < 3; i++) {
    if (!user_writable(a[i], 4)) return -EFAULT;
    *(u32 *)a[i] = 0;
  }
  return 0;
}
i64 sys_getresuid(const u64 *a) { return three_zeros(a); }
i64 sys_getresgid(const u64 *a) { return three_zeros(a); }

i64 sys_capget(const u64 *a) {
  if (!user_readable(a[0], 8)) return -EFAULT;
  if (a[1] == 0) return 0;
  if (!user_writable(a[1], 24)) return -EFAULT;
  memset((void *)a[1], 0, 24);
  return 0;
}

i64 sys_set_tid_address(const u64 *a) {
  current->clear_tid = a[0];
  return current->tid;
}
i64 sys_rseq(const u64 *a) {
  (void)a;
  return -ENOSYS;
}

i64 sys_arch_prctl(const u64 *a) {
  enum { SET_GS = 0x1001, SET_FS, GET_FS, GET_GS };
  switch (a[0]) {
    case SET_FS: fs_base_set(a[1]); return 0;
    case SET_GS: gs_base_set(a[1]); return 0;
    case GET_FS:
    case GET_GS:
      if (!user_writable(a[1], 8)) return -EFAULT;
      *(u64 *)a[1] = a[0] == GET_FS ? fs_base_get() : gs_base_get();
      return 0;
    default: return -EINVAL;
  }
}

i64 sys_prctl(const u64 *a) {
  enum { SET_NAME = 15, GET_NAME = 16, GET_DUMPABLE = 3, SET_DUMPABLE = 4, SET_VMA = 0x53564d41, NO_NEW_PRIVS = 38 };
  switch (a[0]) {
    case SET_NAME: {
      ssize_t n = user_strlen(a[1], 15);
      if (n == -EFAULT) return -EFAULT;
      memset(current->name, 0, sizeof current->name);
      memcpy(current->name, (const void *)a[1], n < 0 ? 15 : (size_t)n);
      return 0;
    }
    case GET_NAME:
      if (!user_writable(a[1], 16)) return -EFAULT;
      memcpy((void *)a[1], current->name, 16);
      return 0;
    case GET_DUMPABLE: return 1;
    case SET_DUMPABLE:
    case NO_NEW_PRIVS: return 0;
    default: return -EINVAL;
  }
}

/* --- limits and what the machine has --- */

enum { RLIMIT_STACK = 3, RLIMIT_CORE = 4, RLIMIT_NPROC = 6, RLIMIT_NOFILE = 7, RLIMITS = 16 };

static u64 limit_of(u64 resource) {
  switch (resource) {
    case RLIMIT_STACK: return 8 * MiB;
    case RLIMIT_CORE: return 0;
    case RLIMIT_NPROC: return 4096;
    case RLIMIT_NOFILE: return 4096;
    default: return FOREVER;
  }
}

static i64 put_limit(u64 resource, u64 address) {
  if (resource >= RLIMITS) return -EINVAL;
  if (address == 0) return 0;
  if (!user_writable(address, 16)) return -EFAULT;
  ((u64 *)address)[0] = ((u64 *)address)[1] = limit_of(resource);
  return 0;
}

i64 sys_prlimit64(const u64 *a) { return put_limit(a[1], a[3]); }
i64 sys_getrlimit(const u64 *a) { return put_limit(a[0], a[1]); }
i64 sys_setrlimit(const u64 *a) { return a[0] < RLIMITS ? 0 : -EINVAL; }

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

i64 sys_uname(const u64 *a) {
  enum { FIELD = 65 };
  if (!user_writable(a[0], 6 * FIELD)) return -EFAULT;
  const char *fields[6] = {"Linux", (const char *)BOOT->hostname, "6.1.0-mayfly", "#1 Mayfly", "x86_64", "(none)"};
  memset((void *)a[0], 0, 6 * FIELD);
  for (int i = 0; i < 6; i++) memcpy((char *)a[0] + i * FIELD, fields[i], strnlen(fields[i], FIELD - 1));
  return 0;
}

i64 sys_getrandom(const u64 *a) {
  u64 n = MIN(a[1], 32 * MiB);
  if (a[2] & ~7ull) return -EINVAL;
  if (!user_writable(a[0], n)) return -EFAULT;
  random_fill((void *)a[0], n);
  return (i64)n;
}

/* --- scheduling: one processor, one policy --- */

i64 sys_sched_yield(const u64 *a) {
  (void)a;
  yield();
  return 0;
}

i64 sys_sched_getaffinity(const u64 *a) {
  if (a[1] < 8) return -EINVAL;
  if (!user_writable(a[2], 8)) return -EFAULT;
  *(u64 *)a[2] = 1;
  return 8;
}
i64 sys_sched_setaffinity(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_sched_getscheduler(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_sched_setscheduler(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_sched_get_priority_max(const u64 *a) { return a[0] == 1 || a[0] == 2 ? 99 : 0; }
i64 sys_sched_get_priority_min(const u64 *a) { return a[0] == 1 || a[0] == 2 ? 1 : 0; }
i64 sys_sched_getparam(const u64 *a) {
  if (!user_writable(a[1], 4)) return -EFAULT;
  *(u32 *)a[1] = 0;
  return 0;
}
i64 sys_sched_setparam(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_getpriority(const u64 *a) {
  (void)a;
  return 20;
}
i64 sys_setpriority(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_membarrier(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_personality(const u64 *a) {
  (void)a;
  return 0;
}

i64 sys_getcpu(const u64 *a) {
  for (int i = 0; i < 2; i++) {
    if (a[i] == 0) continue;
    if (!user_writable(a[i], 4)) return -EFAULT;
    *(u32 *)a[i] = 0;
  }
  return 0;
}

i64 sys_wait4(const u64 *a) {
  (void)a;
  return -ECHILD;
}
i64 sys_waitid(const u64 *a) {
  (void)a;
  return -ECHILD;
}
