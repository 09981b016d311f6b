/* What sched/, syscall/ and arch/ know of threads beyond sched.h. */
#pragma once
#include "sched.h"

struct regs *thread_regs(struct thread *t);                      /* the program's registers while t is in the kernel */
struct thread *thread_new(const struct regs *regs, u64 fs_base); /* ready; NULL: no memory */
struct thread *leader(void);
struct thread *thread_after(const struct thread *t); /* all of them in a circle, also those that just ended */
void preempt(void);
void context_save(struct thread *t); /* vector state and segment bases of the running thread */
void context_restore(void);
extern unsigned xsave_size;
void timers_run(void);
u64 thread_cpu_time(const struct thread *t); /* ns that it had the processor */
u64 process_cpu_time(void);

/* syscall/futex.c */
int futex_wake(u64 address, int max, u32 bitset);

/* syscall/robust_list.c: what the running thread holds and will not give back. */
void robust_list_exit(void);

/* syscall/rseq.c */
void rseq_interrupted(struct regs *r); /* the program's registers; the running thread may lose the processor */

/* sched/signal.c */
bool signal_deliverable(const struct thread *t); /* ends its sleep */
/* Call when current->attention is set, before the program goes on. Returns 1: all of r must be restored. */
int signals_deliver(struct regs *r);
