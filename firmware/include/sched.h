/* sched/: threads, waiting, timers. One vCPU, and the kernel is never pre-empted: code that does not
 * sleep is atomic. */
#pragma once
#include "list.h"
#include "types.h"

/* What the program's registers were; laid out as arch/entry.S pushes them. */
struct regs {
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  u64 vector, error; /* a system call: vector = SYSCALL_VECTOR, error = its number */
  u64 rip, cs, rflags, rsp, ss;
};
#define SYSCALL_VECTOR 256      /* a patched site */
#define SYSCALL_TRAP_VECTOR 257 /* a syscall instruction */
#define NO_VECTOR 259           /* registers that a signal's delivery or rt_sigreturn made */

enum thread_state { THREAD_READY, THREAD_BLOCKED, THREAD_DEAD };

/* Signals that wait: their numbers, and what was sent with them (struct signal_entry of signal.h). */
struct signal_set {
  u64 bits;
  struct list entries;
};

struct thread {
  struct list run; /* in the ready list */
  struct list all;
  enum thread_state state;
  int tid;
  u64 kstack; /* base of the kernel stack */
  u64 ksp;    /* saved kernel stack pointer while not running */
  u64 fs_base, gs_base;
  void *xsave;
  u64 clear_tid; /* user address zeroed and woken at exit, or 0 */
  u64 robust_list;
  u8 policy, priority; /* syscall/schedule.c */
  i8 nice;
  u64 rseq; /* user address, or 0 */
  u32 rseq_size, rseq_signature;
  u64 cpu_time;      /* ns on the processor, up to the last switch */
  bool attention;    /* look for signals before going on in the program */
  bool ending;       /* another one calls execve */
  bool restore_mask; /* saved_mask becomes the mask before that */
  u64 signal_mask, saved_mask;
  u64 waited; /* signals that a sleep in rt_sigtimedwait takes although they are masked */
  const struct held *held; /* what its call will use after a sleep (mm.h), or NULL */
  struct signal_set pending;
  struct {
    u64 base;
    u32 flags;
    u64 size; /* 0 = none */
  } altstack;
  struct {
    u64 vector, error, address;
  } fault; /* the last one, for signal frames */
  char name[16];
};

extern struct thread *current;

/* Wait queues. An entry is either a sleeping thread or a hook (epoll); wakes call fn. */
struct wait_queue {
  struct list entries;
};
struct wait_entry {
  struct list link;
  void (*wake)(struct wait_entry *entry, u32 events); /* events: EPOLL* bits that became true, or 0 = any */
  void *owner;
};
static inline void wait_queue_init(struct wait_queue *q) { list_init(&q->entries); }
void wait_add(struct wait_queue *q, struct wait_entry *e, void (*wake)(struct wait_entry *, u32), void *owner);
void wait_remove(struct wait_entry *e); /* fine when not linked */
/* Calls every entry's wake (at most `max` sleeping threads; 0 = all). Returns how many were called. */
int wake(struct wait_queue *q, u32 events);
int wake_some(struct wait_queue *q, u32 events, int max);

/* Sleep until woken or until the deadline (CLOCK_MONOTONIC ns, FOREVER = none).
 * Returns 0 when woken, -ETIMEDOUT, or for a deliverable signal -EINTR with a deadline and -ERESTARTSYS without: the
 * call then begins again if the handler wants that (SA_RESTART). -EFAULT when current->held has gone meanwhile. Check your
 * condition in a loop:
 *   while (!ready(x)) { int r = sleep_on(&x->readers, deadline); if (r < 0) return r; } */
int sleep_on(struct wait_queue *q, u64 deadline);
/* For waiting on several queues: add entries with wake = wake_thread, owner = current, then: */
void wake_thread(struct wait_entry *e, u32 events);
int sleep_until(u64 deadline); /* a signal is always -EINTR */
void thread_wake(struct thread *t);

/* Timers: fn runs in kernel context, no sleeping in it. */
struct timer {
  struct list link; /* sorted by deadline */
  u64 deadline;
  void (*fn)(struct timer *);
};
void timer_start(struct timer *t, u64 deadline, void (*fn)(struct timer *)); /* restarts a running one */
void timer_stop(struct timer *t);                                            /* fine when not running */
u64 timer_next(void); /* deadline of the first, FOREVER when none */

/* arch/clock.c */
u64 clock_mono(void); /* CLOCK_MONOTONIC ns */
u64 clock_wall(void); /* CLOCK_REALTIME ns */

/* sched/thread.c */
void sched_init(void);
void yield(void);
struct thread *thread_find(int tid);
bool checkpoint(void); /* asks the VMM for one; returns whether this is a clone that begins with it */
int thread_count(void);
int process_id(void); /* of this generation */
_Noreturn void thread_exit(void);
_Noreturn void process_exit(int wait_status);
void signal_send(struct thread *t, int signal); /* t NULL = the process */
