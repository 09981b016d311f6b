/* timer_create(2): timers that send a signal. glibc makes SIGEV_THREAD from SIGEV_THREAD_ID. */
#include "errno.h"
#include "exec.h"
#include "interval.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"

enum { SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2, SIGEV_THREAD_ID = 4 };
enum { TIMER_ABSTIME = 1, OVERRUN_MAX = 0x7fffffff };

struct sigevent {
  u64 value;
  i32 signal, notify, tid;
  u8 pad[44];
};
_Static_assert(sizeof(struct sigevent) == 64, "sigevent(3)");

struct posix_timer {
  struct list link;
  struct interval_timer interval;
  struct signal_entry entry;
  i32 id, notify, tid;
  u64 overrun; /* expirations since the signal was queued, beyond the first */
  i32 taken_overrun;
};

static struct list timers = LIST_INIT(timers);
static i32 next_id;

static void expired(struct interval_timer *interval, u64 times) {
  struct posix_timer *t = CONTAINER(interval, struct posix_timer, interval);
  if (t->notify == SIGEV_NONE) return;
  if (list_linked(&t->entry.link)) {
    t->overrun += times;
    return;
  }
  t->overrun = times - 1;
  bool uses_processor = t->interval.clock == INTERVAL_PROCESS;
  struct thread *thread = t->notify & SIGEV_THREAD_ID ? thread_find(t->tid)
                          : uses_processor            ? processor_user(t->entry.info.signo)
                                                      : NULL;
  if (thread != NULL || !(t->notify & SIGEV_THREAD_ID)) signal_post(thread, &t->entry);
}

static void taken(struct signal_entry *e) {
  struct posix_timer *t = CONTAINER(e, struct posix_timer, entry);
  t->taken_overrun = e->info.timer.overrun = (i32)MIN(t->overrun, (u64)OVERRUN_MAX);
  t->overrun = 0;
}

static i64 event_check(const struct sigevent *e) {
  bool to_thread = e->notify == (SIGEV_SIGNAL | SIGEV_THREAD_ID);
  if (e->notify == SIGEV_NONE) return 0;
  if (!to_thread && e->notify != SIGEV_SIGNAL && e->notify != SIGEV_THREAD) return -EINVAL;
  if (e->signal < 1 || e->signal > SIGNALS) return -EINVAL;
  return to_thread && thread_find(e->tid) == NULL ? -EINVAL : 0;
}

static struct posix_timer *timer_new(const struct timer_clock *clock, const struct sigevent *e) {
  struct posix_timer *t = kzalloc(sizeof *t);
  if (t == NULL) return NULL;
  t->id = next_id++;
  t->notify = e->notify;
  t->tid = e->tid;
  t->interval.expired = expired;
  t->interval.clock = clock->kind;
  t->interval.tid = clock->tid;
  t->entry.taken = taken;
  t->entry.info = (struct siginfo){.signo = e->signal, .code = SI_TIMER, .timer = {t->id, 0, e->value}};
  list_push(&timers, &t->link);
  return t;
}

i64 sys_timer_create(const u64 *a) {
  struct sigevent event = {.value = (u32)next_id, .signal = SIGALRM, .notify = SIGEV_SIGNAL};
  if (a[1] != 0) {
    if (!user_readable(a[1], sizeof event)) return -EFAULT;
    event = *(const struct sigevent *)a[1];
  }
  struct timer_clock clock;
  if (!timer_clock_of((u32)a[0], &clock)) return -EINVAL;
  i64 error = event_check(&event);
  if (error != 0) return error;
  if (!user_writable(a[2], sizeof(i32))) return -EFAULT;
  struct posix_timer *t = timer_new(&clock, &event);
  if (t == NULL) return -EAGAIN;
  *(i32 *)a[2] = t->id;
  return 0;
}

static struct posix_timer *timer_find(u64 id) {
  LIST_EACH(&timers, item) {
    struct posix_timer *t = CONTAINER(item, struct posix_timer, link);
    if (t->id == (i32)id) return t;
  }
  return NULL;
}

i64 sys_timer_settime(const u64 *a) {
  struct posix_timer *t = timer_find(a[0]);
  if (a[2] == 0) return -EINVAL;
  if (!user_readable(a[2], sizeof(struct itimerspec))) return -EFAULT;
  struct itimerspec wanted = *(const struct itimerspec *)a[2], old;
  if (t == NULL) return -EINVAL;
  old = interval_get(&t->interval);
  i64 error = interval_set(&t->interval, &wanted, a[1] & TIMER_ABSTIME);
  if (error != 0) return error;
  t->overrun = 0;
  t->taken_overrun = 0;
  if (a[3] == 0) return 0;
  if (!user_writable(a[3], sizeof old)) return -EFAULT;
  *(struct itimerspec *)a[3] = old;
  return 0;
}

i64 sys_timer_gettime(const u64 *a) {
  struct posix_timer *t = timer_find(a[0]);
  if (t == NULL) return -EINVAL;
  if (!user_writable(a[1], sizeof(struct itimerspec))) return -EFAULT;
  *(struct itimerspec *)a[1] = interval_get(&t->interval);
  return 0;
}

i64 sys_timer_getoverrun(const u64 *a) {
  struct posix_timer *t = timer_find(a[0]);
  return t == NULL ? -EINVAL : t->taken_overrun;
}

static void end(struct posix_timer *t) {
  interval_stop(&t->interval);
  signal_unpost(&t->entry);
  list_remove(&t->link);
  kfree(t);
}

i64 sys_timer_delete(const u64 *a) {
  struct posix_timer *t = timer_find(a[0]);
  if (t == NULL) return -EINVAL;
  end(t);
  return 0;
}

void posix_timers_end(void) {
  LIST_EACH(&timers, item) end(CONTAINER(item, struct posix_timer, link));
}
