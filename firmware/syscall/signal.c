/* Signals: actions and masks are kept; what ends the process does so. Handlers are not called yet (the table says so). */
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

#define SIGNALS 64
enum { SIGKILL = 9, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19, SIGURG = 23, SIGWINCH = 28 };
enum { SIG_DFL = 0, SIG_IGN = 1 };

struct action {
  u64 handler, flags, restorer, mask;
};
static struct action actions[SIGNALS + 1];

static bool ignored(int signal) {
  u64 handler = actions[signal].handler;
  bool by_default = signal == SIGCHLD || signal == SIGCONT || signal == SIGURG || signal == SIGWINCH;
  return handler == SIG_IGN || (handler == SIG_DFL && by_default);
}

void signal_send(struct thread *t, int signal) {
  if (signal < 1 || signal > SIGNALS || ignored(signal)) return;
  if (t == NULL) t = current;
  u64 bit = 1ull << (signal - 1);
  if (signal != SIGKILL && actions[signal].handler != SIG_DFL) return;
  t->signal_pending |= bit;
  if (t->signal_mask & bit) return;
  process_exit(signal);
}

bool signal_deliverable(const struct thread *t) {
  (void)t;
  return false;
}

int signals_deliver(struct regs *r) {
  (void)r;
  return 0;
}

i64 sys_rt_sigaction(const u64 *a) {
  u64 signal = a[0];
  if (signal < 1 || signal > SIGNALS || a[3] != 8) return -EINVAL;
  struct action *action = &actions[signal];
  if (a[1] != 0 && (!user_readable(a[1], sizeof *action) || signal == SIGKILL || signal == SIGSTOP))
    return user_readable(a[1], sizeof *action) ? -EINVAL : -EFAULT;
  if (a[2] != 0) {
    if (!user_writable(a[2], sizeof *action)) return -EFAULT;
    struct action old = *action;
    if (a[1] != 0) *action = *(const struct action *)a[1];
    *(struct action *)a[2] = old;
  } else if (a[1] != 0) {
    *action = *(const struct action *)a[1];
  }
  return 0;
}

i64 sys_rt_sigprocmask(const u64 *a) {
  u64 old = current->signal_mask;
  if (a[3] != 8) return -EINVAL;
  if (a[1] != 0) {
    if (!user_readable(a[1], 8)) return -EFAULT;
    u64 set = *(const u64 *)a[1];
    switch (a[0]) {
      case 0: current->signal_mask |= set; break;
      case 1: current->signal_mask &= ~set; break;
      case 2: current->signal_mask = set; break;
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
  if (!user_writable(a[0], 8)) return -EFAULT;
  *(u64 *)a[0] = current->signal_pending & current->signal_mask;
  return 0;
}

i64 sys_sigaltstack(const u64 *a) {
  if (a[1] != 0) {
    if (!user_writable(a[1], 24)) return -EFAULT;
    u64 *old = (u64 *)a[1];
    old[0] = old[2] = 0;
    old[1] = 2; /* SS_DISABLE */
  }
  return 0;
}

static i64 send_to(int tid, u64 signal) {
  if (signal > SIGNALS) return -EINVAL;
  struct thread *t = thread_find(tid);
  if (t == NULL) return -ESRCH;
  if (signal != 0) signal_send(t, (int)signal);
  return 0;
}

i64 sys_kill(const u64 *a) {
  int pid = (int)a[0];
  return pid == process_id() || pid == 0 || pid == -1 ? send_to(leader()->tid, a[1]) : -ESRCH;
}
i64 sys_tgkill(const u64 *a) { return (int)a[0] == process_id() ? send_to((int)a[1], a[2]) : -ESRCH; }
i64 sys_tkill(const u64 *a) { return send_to((int)a[0], a[1]); }

i64 sys_pause(const u64 *a) {
  (void)a;
  struct wait_queue never;
  wait_queue_init(&never);
  for (;;)
    if (sleep_on(&never, FOREVER) < 0) return -EINTR;
}
