/* Threads on one vCPU. A thread gives way when it sleeps, and when the VMM's tick finds others ready.
 *
 * Whoever leaves the processor has all of its state in memory, vector registers included, also while the machine idles:
 * a template is captured at the idle exit, and a rewound clone goes on from memory alone. */
#include "arch.h"
#include "errno.h"
#include "exec.h"
#include "file.h"
#include "interval.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "thread.h"

#define KSTACK_ORDER 2
#define KSTACK_SIZE (PAGE << KSTACK_ORDER)

struct thread *current;

static struct list ready = LIST_INIT(ready);
static struct list all = LIST_INIT(all);
static struct thread *dead; /* the last one that ended: its stack may still be in use */
static unsigned xsave_order;
unsigned xsave_size;
static int threads, tid_next = 1;
static u64 generation;
static u64 cpu_total;     /* ns that all threads had, up to the last switch */
static u64 running_since; /* CLOCK_MONOTONIC */
#define NOBODY FOREVER

static void fpu_init(void) {
  u32 out[4];
  cpuid(0xd, 0, out);
  xsave_size = out[1];
  while ((PAGE << xsave_order) < xsave_size) xsave_order++;
}

static void xsave_reset(u8 *xsave) {
  memset(xsave, 0, 1024);       /* legacy area and header: xrstor reads nothing else of an all-initial state */
  *(u32 *)(xsave + 24) = 0x1f80; /* MXCSR: all masked */
}

static struct thread *thread_allocate(void) {
  struct thread *t = kzalloc(sizeof *t);
  void *stack = page_alloc(KSTACK_ORDER);
  void *xsave = page_alloc(xsave_order);
  if (t == NULL || stack == NULL || xsave == NULL) {
    kfree(t);
    if (stack != NULL) page_free(stack, KSTACK_ORDER);
    if (xsave != NULL) page_free(xsave, xsave_order);
    return NULL;
  }
  t->kstack = (u64)stack;
  t->xsave = xsave;
  xsave_reset(xsave);
  list_init(&t->run);
  list_init(&t->pending.entries);
  list_push(&all, &t->all);
  threads++;
  return t;
}

static void thread_free(struct thread *t) {
  page_free((void *)t->kstack, KSTACK_ORDER);
  page_free(t->xsave, xsave_order);
  list_remove(&t->all);
  kfree(t);
}

void sched_init(void) {
  fpu_init();
  generation = SHARED->generation;
  current = thread_allocate();
  if (current == NULL) panic("no memory for the first thread");
  tid_next = process_id();
  current->tid = tid_next++;
  SHARED->kstack_top = current->kstack + KSTACK_SIZE;
  running_since = clock_mono();
}

struct regs *thread_regs(struct thread *t) {
  return (struct regs *)(t->kstack + KSTACK_SIZE) - 1;
}
int thread_count(void) { return threads; }
int process_id(void) { return (int)SHARED->pid; }

struct thread *thread_find(int tid) {
  LIST_EACH(&all, item) {
    struct thread *t = CONTAINER(item, struct thread, all);
    if (t->tid == tid && t->state != THREAD_DEAD) return t;
  }
  return NULL;
}

struct thread *thread_new(const struct regs *regs, u64 fs_base) {
  struct thread *t = thread_allocate();
  if (t == NULL) return NULL;
  t->tid = tid_next++;
  t->altstack.flags = SS_DISABLE;
  t->fs_base = fs_base;
  t->gs_base = current->gs_base;
  memcpy(t->name, current->name, sizeof t->name);
  t->policy = current->policy;
  t->priority = current->priority;
  t->nice = current->nice;
  *thread_regs(t) = *regs;
  thread_regs(t)->rflags &= ~(u64)RFLAGS_TF; /* a single step is its parent's */
  u64 *sp = (u64 *)thread_regs(t);
  *--sp = (u64)thread_begin;
  for (int i = 0; i < 6; i++) *--sp = 0; /* what switch_stacks pops */
  t->ksp = (u64)sp;
  fpu_save(t->xsave); /* a child starts with its parent's vector state */
  t->state = THREAD_READY;
  list_push(&ready, &t->run);
  return t;
}

/* Frees the last thread that ended, unless we still run on its stack. */
static void reap(void) {
  if (dead == NULL || dead == current) return;
  thread_free(dead);
  dead = NULL;
}

/* --- the processor changes hands --- */

static u64 turn_so_far(void) { return running_since == NOBODY ? 0 : clock_mono() - running_since; }
u64 thread_cpu_time(const struct thread *t) { return t->cpu_time + (t == current ? turn_so_far() : 0); }
u64 process_cpu_time(void) { return cpu_total + turn_so_far(); }

static void end_turn(struct thread *t) {
  u64 turn = turn_so_far();
  t->cpu_time += turn;
  cpu_total += turn;
  running_since = NOBODY;
}

void context_save(struct thread *t) {
  end_turn(t);
  fpu_save(t->xsave);
  t->fs_base = fs_base_get();
  t->gs_base = gs_base_get();
}

void context_restore(void) {
  running_since = clock_mono();
  fs_base_set(current->fs_base);
  gs_base_set(current->gs_base);
  fpu_restore(current->xsave);
  reap();
}

void thread_started(void) {
  context_restore();
  if (current->attention) signals_deliver(thread_regs(current));
}

/* A new generation: the leader's thread id is the process id. */
static void follow_generation(void) {
  if (SHARED->generation == generation) return;
  generation = SHARED->generation;
  leader()->tid = process_id();
}

/* A debugger may let one thread run alone. */
static bool allowed(const struct thread *t) { return SHARED->debug_only == 0 || SHARED->debug_only == (u64)t->tid; }

static struct thread *next_thread(void) {
  LIST_EACH(&ready, item) {
    struct thread *t = CONTAINER(item, struct thread, run);
    if (allowed(t)) return t;
  }
  return NULL;
}

static void idle(void) {
  devices_poll(); /* input that came while we ran; the VMM only tells us of what it adds at the exit */
  timers_run();
  processor_timers_run();
  if (next_thread() != NULL) return;
  u64 deadline = timer_next();
  SHARED->idle_deadline = deadline == FOREVER ? FOREVER : deadline - SHARED->mono_offset;
  outl(PORT_IDLE, 0);
  SHARED->preempt_pending = 0;
  if (SHARED->debug_request) debug_stop(SIGINT);
  follow_generation();
  devices_poll();
  timers_run();
}

bool checkpoint(void) {
  u64 before = generation;
  context_save(current);
  outl(PORT_CHECKPOINT, 0);
  follow_generation();
  context_restore();
  return generation != before;
}

static void schedule(void) {
  struct thread *from = current;
  if (from->state == THREAD_READY) {
    if (list_empty(&ready) && allowed(from)) return;
    list_push(&ready, &from->run);
  }
  context_save(from);
  struct thread *next;
  while ((next = next_thread()) == NULL) idle();
  current = next;
  list_remove(&current->run);
  SHARED->kstack_top = current->kstack + KSTACK_SIZE;
  if (current != from) {
    SHARED->stat_switches++;
    switch_stacks(&from->ksp, current->ksp);
  }
  context_restore();
}

void yield(void) { schedule(); }

void preempt(void) {
  SHARED->preempt_pending = 0;
  if (SHARED->debug_request) debug_stop(SIGINT);
  devices_poll();
  timers_run();
  processor_timers_run();
  bool stepping = debug_attached() && (thread_regs(current)->rflags & RFLAGS_TF); /* its one instruction comes first */
  if (!stepping) schedule();
}

void upcall_handle(struct regs *r) {
  rseq_interrupted(r);
  preempt();
  if (current->attention) signals_deliver(r);
}

/* --- sleeping --- */

void thread_wake(struct thread *t) {
  if (t->state != THREAD_BLOCKED) return;
  t->state = THREAD_READY;
  list_push(&ready, &t->run);
}

struct sleep_timer {
  struct timer timer;
  struct thread *thread;
  bool fired;
};

static void sleep_over(struct timer *timer) {
  struct sleep_timer *s = CONTAINER(timer, struct sleep_timer, timer);
  s->fired = true;
  thread_wake(s->thread);
}

int sleep_until(u64 deadline) {
  struct sleep_timer s = {.thread = current};
  if (signal_deliverable(current)) return -EINTR;
  current->state = THREAD_BLOCKED;
  if (deadline != FOREVER) timer_start(&s.timer, deadline, sleep_over);
  schedule();
  timer_stop(&s.timer);
  if (s.fired) return -ETIMEDOUT;
  if (signal_deliverable(current)) return -EINTR;
  return still_there(current->held) ? 0 : -EFAULT;
}

/* --- ending --- */

struct thread *leader(void) {
  return CONTAINER(all.next, struct thread, all);
}

struct thread *thread_after(const struct thread *t) {
  struct list *next = t->all.next == &all ? all.next : t->all.next;
  return CONTAINER(next, struct thread, all);
}

void thread_exit(void) {
  robust_list_exit();
  if (current->clear_tid != 0 && user_writable(current->clear_tid, 4)) {
    *(u32 *)current->clear_tid = 0;
    futex_wake(current->clear_tid, 1, ~0u);
  }
  if (--threads == 0) process_exit(0);
  signals_leave();
  current->state = THREAD_DEAD;
  reap();
  dead = current;
  schedule();
  panic("a dead thread runs");
}

static void end_soon(struct thread *t) {
  if (t->state == THREAD_DEAD) return;
  t->ending = t->attention = true;
  thread_wake(t);
}

void threads_end_others(void) {
  if (current->ending) thread_exit(); /* another one was first */
  SHARED->debug_only = 0;
  for (struct thread *t = thread_after(current); t != current; t = thread_after(t)) end_soon(t);
  while (threads > 1) yield();
  list_remove(&current->all);
  list_insert(&all, &current->all);
  current->tid = process_id();
}

void thread_reset(void) {
  robust_list_exit();
  current->robust_list = current->clear_tid = current->rseq = 0;
  memset(&current->altstack, 0, sizeof current->altstack);
  current->altstack.flags = SS_DISABLE;
  context_save(current);
  xsave_reset(current->xsave);
  current->fs_base = current->gs_base = 0;
  context_restore();
  current->attention = true; /* all registers are new */
}

void process_exit(int wait_status) {
  for (;;) outl(PORT_EXIT, (u32)wait_status);
}
