/* Signals that wait: a set for each thread and one for the process, and who is to take what.
 *
 * A thread with something to do before it goes on in its program has `attention` set; it may turn out that there is
 * nothing (another thread took it). The way back to the program looks at that one word. */
#include "signal.h"
#include "arch.h"
#include "errno.h"
#include "event.h"
#include "exec.h"
#include "lib.h"
#include "thread.h"

/* Faults go before what others sent. */
#define SYNCHRONOUS                                                                                                    \
  (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGFPE) |          \
   SIGNAL_BIT(SIGSYS))
#define UNMASKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
/* Nothing can stop and continue a machine's only process from inside. */
#define IGNORED_BY_DEFAULT                                                                                             \
  (SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGCONT) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH) | SIGNAL_BIT(SIGSTOP) |       \
   SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))

struct action signal_actions[SIGNALS + 1];
struct wait_queue signal_readers = {LIST_INIT(signal_readers.entries)};
static struct signal_set shared = {0, LIST_INIT(shared.entries)};

bool signal_ignored(int signal) {
  u64 handler = signal_actions[signal].handler;
  return handler == SIG_IGN || (handler == SIG_DFL && (SIGNAL_BIT(signal) & IGNORED_BY_DEFAULT));
}

static bool fatal(int signal) { return signal_actions[signal].handler == SIG_DFL && !signal_ignored(signal); }

u64 signals_pending(const struct thread *t) { return t->pending.bits | shared.bits; }

bool signal_deliverable(const struct thread *t) {
  return t->attention && (t->ending || (signals_pending(t) & ~t->signal_mask));
}

/* --- sending --- */

static bool wants(const struct thread *t, u64 bits) {
  return t->state != THREAD_DEAD && (bits & (~t->signal_mask | t->waited));
}

static void notify(struct thread *t, u64 bits) {
  if (bits & ~t->signal_mask) t->attention = true;
  thread_wake(t);
}

/* Linux tries the main thread first, then the others. */
static struct thread *receiver(u64 bit) {
  struct thread *first = leader(), *t = first;
  do {
    if (wants(t, bit)) return t;
    t = thread_after(t);
  } while (t != first);
  return NULL;
}

/* Nothing but the end can come of it: a debugger is shown it when it is delivered. */
static bool ends_at_once(const struct thread *t, int signal) {
  if (!fatal(signal) || ((t->signal_mask | t->waited) & SIGNAL_BIT(signal))) return false;
  return signal == SIGKILL || !debug_attached();
}

static void announce(struct thread *target, const struct siginfo *info) {
  u64 bit = SIGNAL_BIT(info->signo);
  wake(&signal_readers, POLLIN);
  struct thread *t = target == NULL ? receiver(bit) : target;
  if (t == NULL || !wants(t, bit)) return;
  if (ends_at_once(t, info->signo)) process_killed(info);
  notify(t, bit);
}

static struct signal_set *set_of(struct thread *t) { return t == NULL ? &shared : &t->pending; }

static bool dropped(const struct thread *t, int signal) {
  return signal_ignored(signal) && !((t == NULL ? leader() : t)->signal_mask & SIGNAL_BIT(signal));
}

i64 signal_queue(struct thread *t, const struct siginfo *info) {
  struct signal_set *set = set_of(t);
  u64 bit = SIGNAL_BIT(info->signo);
  bool realtime = info->signo >= SIGRTMIN;
  if (dropped(t, info->signo) || (!realtime && (set->bits & bit))) return 0;
  struct signal_entry *e = kmalloc(sizeof *e);
  if (e == NULL && realtime && info->code != SI_USER) return -EAGAIN;
  if (e != NULL) {
    *e = (struct signal_entry){.info = *info};
    list_push(&set->entries, &e->link);
  }
  set->bits |= bit;
  announce(t, info);
  return 0;
}

void signal_post(struct thread *t, struct signal_entry *e) {
  if (dropped(t, e->info.signo)) return;
  list_push(&set_of(t)->entries, &e->link);
  set_of(t)->bits |= SIGNAL_BIT(e->info.signo);
  announce(t, &e->info);
}

void signal_send(struct thread *t, int signal) {
  signal_queue(t, &(struct siginfo){.signo = signal, .code = SI_USER, .sender = {.pid = process_id()}});
}

/* --- taking --- */

static struct siginfo release(struct signal_entry *e) {
  list_remove(&e->link);
  if (e->taken != NULL) e->taken(e);
  struct siginfo info = e->info;
  if (e->taken == NULL) kfree(e);
  return info;
}

static struct signal_entry *find(const struct signal_set *set, int signal) {
  LIST_EACH(&set->entries, item) {
    struct signal_entry *e = CONTAINER(item, struct signal_entry, link);
    if (e->info.signo == signal) return e;
  }
  return NULL;
}

static void take(struct signal_set *set, int signal, struct siginfo *info) {
  struct signal_entry *e = find(set, signal);
  *info = e != NULL ? release(e) : (struct siginfo){.signo = signal};
  if (find(set, signal) == NULL) set->bits &= ~SIGNAL_BIT(signal);
}

bool signal_take(struct thread *t, u64 wanted, struct siginfo *info) {
  struct signal_set *set = t->pending.bits & wanted ? &t->pending : &shared;
  u64 bits = set->bits & wanted;
  if (bits == 0) return false;
  if (bits & SYNCHRONOUS) bits &= SYNCHRONOUS;
  take(set, __builtin_ctzll(bits) + 1, info);
  return true;
}

static void forget(struct signal_set *set, u64 bits) {
  set->bits &= ~bits;
  LIST_EACH(&set->entries, item) {
    struct signal_entry *e = CONTAINER(item, struct signal_entry, link);
    if (SIGNAL_BIT(e->info.signo) & bits) release(e);
  }
}

void signals_forget(int signal) {
  struct thread *first = leader(), *t = first;
  forget(&shared, SIGNAL_BIT(signal));
  do forget(&t->pending, SIGNAL_BIT(signal));
  while ((t = thread_after(t)) != first);
}

static void forget_entry(struct signal_set *set, int signal) {
  if (find(set, signal) == NULL) set->bits &= ~SIGNAL_BIT(signal);
}

void signal_unpost(struct signal_entry *e) {
  if (!list_linked(&e->link)) return;
  list_remove(&e->link);
  struct thread *first = leader(), *t = first;
  forget_entry(&shared, e->info.signo);
  do forget_entry(&t->pending, e->info.signo);
  while ((t = thread_after(t)) != first);
}

/* --- masks --- */

/* The running thread no longer takes these of the process: the others are to look. */
static void pass_on(u64 bits) {
  for (struct thread *t = thread_after(current); bits != 0 && t != current; t = thread_after(t))
    if (wants(t, bits)) notify(t, bits);
}

void signal_mask_set(u64 mask) {
  u64 blocked = mask & ~current->signal_mask & ~UNMASKABLE;
  current->signal_mask = mask & ~UNMASKABLE;
  pass_on(shared.bits & blocked);
  if (signals_pending(current) & ~current->signal_mask) current->attention = true;
}

void signal_mask_leave(u64 saved, i64 result) {
  if (result != -EINTR) {
    signal_mask_set(saved);
    return;
  }
  current->saved_mask = saved; /* the handler runs first, with the call's mask */
  current->restore_mask = current->attention = true;
}

void signals_leave(void) {
  forget(&current->pending, ~0ull);
  u64 mask = current->signal_mask;
  current->signal_mask = ~0ull;
  pass_on(shared.bits & ~mask);
}

void signals_reset(void) {
  for (int i = 1; i <= SIGNALS; i++)
    signal_actions[i] = (struct action){.handler = signal_actions[i].handler == SIG_IGN ? SIG_IGN : SIG_DFL};
}

/* --- delivery --- */

/* An interrupted call begins again, or says so. Only for the first handler: later ones interrupt the first. */
static void end_call(struct regs *r, const struct action *action) {
  bool in_call = r->vector == SYSCALL_VECTOR || r->vector == SYSCALL_TRAP_VECTOR;
  if (!in_call || (i64)r->rax != -ERESTARTSYS) return;
  if (action != NULL && !(action->flags & SA_RESTART)) {
    r->rax = (u64)-EINTR;
    return;
  }
  r->rax = r->error;
  r->rip = restart_address(r->rip);
  r->vector = NO_VECTOR;
}

static void act(struct regs *r, const struct siginfo *info) {
  struct action *action = &signal_actions[info->signo];
  u64 bit = SIGNAL_BIT(info->signo);
  if (signal_ignored(info->signo)) return;
  if (action->handler == SIG_DFL) process_killed(info);
  end_call(r, action);
  rseq_interrupted(r);
  if (!frame_push(r, info, action)) {
    if (info->signo == SIGSEGV) process_killed(info);
    signal_force(r, &(struct siginfo){.signo = SIGSEGV, .code = SI_KERNEL});
    return;
  }
  r->vector = NO_VECTOR;
  u64 mask = current->signal_mask | action->mask | (action->flags & SA_NODEFER ? 0 : bit);
  if (action->flags & SA_RESETHAND) action->handler = SIG_DFL;
  current->restore_mask = false; /* it lies in the frame */
  signal_mask_set(mask);
}

void signal_force(struct regs *r, const struct siginfo *info) {
  struct siginfo seen = *info;
  if (!debug_passes(&seen)) return;
  if ((current->signal_mask & SIGNAL_BIT(seen.signo)) || signal_ignored(seen.signo)) process_killed(&seen);
  act(r, &seen);
}

/* iretq would fault on what is no address of the program's, in the kernel and at its expense. */
static bool jumps_nowhere(const struct regs *r) {
  return r->rip >= 1ull << 47 ||
         (r->rip >= (u64)kernel_text_start && r->rip < (u64)kernel_text_end && !is_trampoline(r->rip));
}

static void protection_fault(struct regs *r) {
  current->fault.vector = 13;
  current->fault.error = 0;
  signal_force(r, &(struct siginfo){.signo = SIGSEGV, .code = SI_KERNEL});
}

int signals_deliver(struct regs *r) {
  struct siginfo info;
  if (current->ending) thread_exit();
  for (;;) {
    if (signal_take(current, ~current->signal_mask, &info)) {
      if (debug_passes(&info)) act(r, &info);
    } else if (jumps_nowhere(r)) protection_fault(r);
    else if (current->restore_mask) {
      current->restore_mask = false;
      signal_mask_set(current->saved_mask);
    } else break;
  }
  end_call(r, NULL);
  current->attention = false;
  return 1;
}
