/* Signals: actions, masks, and waiting for them. */
#include "signal.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

#define SA_KNOWN (7u | 0x800u | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND)
#define UNCATCHABLE(signal) ((signal) == SIGKILL || (signal) == SIGSTOP)

static i64 mask_read(u64 address, u64 size, u64 *mask) {
  if (size != sizeof *mask) return -EINVAL;
  if (!user_readable(address, sizeof *mask)) return -EFAULT;
  *mask = *(const u64 *)address;
  return 0;
}

static void action_set(int signal, const struct action *new) {
  struct action *action = &signal_actions[signal];
  *action = *new;
  action->flags &= SA_KNOWN;
  action->mask &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
  if (signal_ignored(signal)) signals_forget(signal);
}

i64 sys_rt_sigaction(const u64 *a) {
  u64 signal = (u32)a[0];
  if (a[3] != 8) return -EINVAL;
  struct action new;
  if (a[1] != 0) {
    if (!user_readable(a[1], sizeof new)) return -EFAULT;
    new = *(const struct action *)a[1];
  }
  if (signal < 1 || signal > SIGNALS || (a[1] != 0 && UNCATCHABLE(signal))) return -EINVAL;
  struct action old = signal_actions[signal];
  if (a[1] != 0) action_set((int)signal, &new);
  if (a[2] == 0) return 0;
  if (!user_writable(a[2], sizeof old)) return -EFAULT;
  *(struct action *)a[2] = old;
  return 0;
}

i64 sys_rt_sigprocmask(const u64 *a) {
  u64 old = current->signal_mask, set;
  if (a[3] != 8) return -EINVAL;
  if (a[1] != 0) {
    i64 error = mask_read(a[1], a[3], &set);
    if (error != 0) return error;
    switch ((u32)a[0]) {
      case 0: signal_mask_set(old | set); break;
      case 1: signal_mask_set(old & ~set); break;
      case 2: signal_mask_set(set); break;
      default: return -EINVAL;
    }
  }
  if (a[2] != 0) {
    if (!user_writable(a[2], 8)) return -EFAULT;
    *(u64 *)a[2] = old;
  }
  return 0;
}

i64 sys_rt_sigpending(const u64 *a) {
  if (a[1] > 8) return -EINVAL;
  if (!user_writable(a[0], a[1])) return -EFAULT;
  u64 pending = signals_pending(current) & current->signal_mask;
  memcpy((void *)a[0], &pending, a[1]);
  return 0;
}

static i64 wait_for_any(void) {
  while (sleep_until(FOREVER) == 0) {}
  return -EINTR;
}

i64 sys_pause(const u64 *a) {
  (void)a;
  return wait_for_any();
}

i64 sys_rt_sigsuspend(const u64 *a) {
  u64 mask, saved = current->signal_mask;
  i64 error = mask_read(a[0], a[1], &mask);
  if (error != 0) return error;
  signal_mask_set(mask);
  wait_for_any();
  signal_mask_leave(saved, -EINTR);
  return -EINTR;
}

static i64 wait_for(u64 set, u64 deadline, struct siginfo *info) {
  for (int slept = 0;;) {
    if (signal_take(current, set, info)) return info->signo;
    if (slept == -EINTR) return -EINTR;
    if (slept == -ETIMEDOUT || deadline <= clock_mono()) return -EAGAIN;
    current->waited = set;
    slept = sleep_until(deadline);
    current->waited = 0;
  }
}

i64 sys_rt_sigtimedwait(const u64 *a) {
  u64 set, deadline;
  struct siginfo info;
  i64 error = mask_read(a[0], a[3], &set);
  if (error == 0) error = timeout_read(a[2], &deadline);
  if (error != 0) return error;
  i64 signal = wait_for(set & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP)), deadline, &info);
  if (signal < 0 || a[1] == 0) return signal;
  if (!user_writable(a[1], SIGINFO_SIZE)) return -EFAULT;
  memset((void *)a[1], 0, SIGINFO_SIZE);
  memcpy((void *)a[1], &info, sizeof info);
  return signal;
}

i64 sys_rt_sigreturn(const u64 *a) {
  (void)a;
  struct regs *r = thread_regs(current);
  if (!frame_pop(r)) signal_force(r, &(struct siginfo){.signo = SIGSEGV, .code = SI_KERNEL});
  r->vector = NO_VECTOR;
  current->attention = true;
  return (i64)r->rax;
}

i64 sys_restart_syscall(const u64 *a) {
  (void)a;
  return -EINTR; /* calls begin again by themselves */
}
