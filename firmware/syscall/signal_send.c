/* Signals: sending them. The process is the only one. */
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"
#include "thread.h"

static i64 send(struct thread *t, i32 signal, i32 code) {
  if ((u32)signal > SIGNALS) return -EINVAL;
  if (signal == 0) return 0;
  return signal_queue(t, &(struct siginfo){.signo = signal, .code = code, .sender = {.pid = process_id()}});
}

/* A thread's number names its process, too. */
static bool is_us(i32 pid) { return pid == process_id() || (pid > 0 && thread_find(pid) != NULL); }

i64 sys_kill(const u64 *a) {
  i32 pid = (i32)a[0];
  if (is_us(pid) || pid == 0 || pid == -process_id()) return send(NULL, (i32)a[1], SI_USER);
  return (u32)a[1] > SIGNALS ? -EINVAL : -ESRCH; /* -1: everybody but us */
}

i64 sys_tkill(const u64 *a) {
  if ((i32)a[0] <= 0) return -EINVAL;
  struct thread *t = thread_find((i32)a[0]);
  return t == NULL ? -ESRCH : send(t, (i32)a[1], SI_TKILL);
}

i64 sys_tgkill(const u64 *a) {
  if ((i32)a[0] <= 0) return -EINVAL;
  if ((i32)a[1] > 0 && (i32)a[0] != process_id()) return -ESRCH;
  return sys_tkill(a + 1);
}

/* Only to oneself may anything be claimed. */
static i64 info_read(u64 address, i32 pid, i32 signal, struct siginfo *info) {
  if (!user_readable(address, SIGINFO_SIZE)) return -EFAULT;
  memcpy(info, (const void *)address, sizeof *info);
  info->signo = signal;
  return (info->code >= 0 || info->code == SI_TKILL) && pid != current->tid ? -EPERM : 0;
}

static i64 queue(struct thread *t, const struct siginfo *info) {
  if ((u32)info->signo > SIGNALS) return -EINVAL;
  return info->signo == 0 ? 0 : signal_queue(t, info);
}

i64 sys_rt_sigqueueinfo(const u64 *a) {
  struct siginfo info;
  i64 error = info_read(a[2], (i32)a[0], (i32)a[1], &info);
  if (error != 0) return error;
  return is_us((i32)a[0]) ? queue(NULL, &info) : -ESRCH;
}

i64 sys_rt_tgsigqueueinfo(const u64 *a) {
  struct siginfo info;
  i64 error = (i32)a[0] <= 0 || (i32)a[1] <= 0 ? -EINVAL : info_read(a[3], (i32)a[0], (i32)a[2], &info);
  if (error != 0) return error;
  struct thread *t = (i32)a[0] == process_id() ? thread_find((i32)a[1]) : NULL;
  return t == NULL ? -ESRCH : queue(t, &info);
}
