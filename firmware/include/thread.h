/* What sched/, syscall/ and arch/ know of threads beyond sched.h. */
#pragma once
#include "sched.h"

struct regs *thread_regs(struct thread *t);                      /* the program's registers while t is in the kernel */
struct thread *thread_new(const struct regs *regs, u64 fs_base); /* ready; NULL: no memory */
struct thread *leader(void);
void preempt(void);
void timers_run(void);

/* syscall/futex.c */
int futex_wake(u64 address, int max, u32 bitset);

/* syscall/signal.c */
bool signal_deliverable(const struct thread *t);
int signals_deliver(struct regs *r); /* whether r now starts a handler */
