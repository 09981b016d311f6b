/* A program that stands still, described for the VMM: after its death for a report and a core file, before it
 * for a debugger. The VMM reads and writes registers and memory where they lie. */
#include "arch.h"
#include "file.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "thread.h"

u64 debug_auxv;

bool debug_attached(void) { return BOOT->flags & BOOT_DEBUG; }

static void describe_thread(struct debug_thread *to, struct thread *t) {
  to->tid = (u64)t->tid;
  to->regs = (u64)thread_regs(t);
  to->xsave = (u64)t->xsave;
  to->fs_base = (u64)&t->fs_base;
  to->gs_base = (u64)&t->gs_base;
  memcpy(to->name, t->name, sizeof to->name);
}

static void describe_threads(void) {
  static struct debug_thread *threads;
  SHARED->debug_thread_count = 0;
  struct debug_thread *grown = krealloc(threads, (size_t)thread_count() * sizeof *threads);
  if (grown == NULL) return;
  threads = grown;
  u64 n = 0;
  LIST_EACH(leader()->all.prev, item) { /* the head of the list, which the leader comes first in */
    struct thread *t = CONTAINER(item, struct thread, all);
    if (t->state != THREAD_DEAD) describe_thread(&threads[n++], t);
  }
  SHARED->debug_threads = (u64)threads;
  SHARED->debug_thread_count = n;
}

/* Everything the VMM needs. When memory is short a part is missing, and its size is 0. */
void debug_describe(void) {
  size_t size;
  context_save(current);
  describe_threads();
  SHARED->debug_tid = (u64)(current->state == THREAD_DEAD ? leader() : current)->tid;
  SHARED->debug_maps = (u64)proc_maps(&size);
  SHARED->debug_maps_size = size;
  SHARED->debug_auxv = debug_auxv;
  SHARED->debug_xsave_size = xsave_size;
}

/* The debugger says anew at each stop who is to step. */
static void forget_steps(void) {
  struct thread *t = current;
  do thread_regs(t)->rflags &= ~(u64)RFLAGS_TF;
  while ((t = thread_after(t)) != current);
}

/* The program stands still until the VMM comes back. Returns the signal that it is to get. */
int debug_stop(int signal) {
  SHARED->debug_request = 0;
  forget_steps();
  debug_describe();
  for (;;) {
    SHARED->debug_write = SHARED->debug_signal = 0;
    outl(PORT_STOP, (u32)signal);
    if (SHARED->debug_write == 0) break;
    space_own(SHARED->debug_write);
  }
  context_restore();
  return (int)SHARED->debug_signal;
}

/* Another thread may have been chosen to go on alone. */
static int stop_here(int signal) {
  int given = debug_stop(signal);
  if (SHARED->debug_only != 0) yield();
  return given;
}

void debug_start(bool replaced) {
  static char path[PATH_MAX];
  if (!debug_attached()) return;
  if (replaced && proc_program(path, sizeof path) > 0) SHARED->debug_exec = (u64)path;
  stop_here(SIGTRAP);
  SHARED->debug_exec = 0;
}

bool debug_passes(struct siginfo *info) {
  if (!debug_attached() || info->signo == SIGKILL) return true;
  int given = stop_here(info->signo);
  if (given != 0 && given != info->signo)
    *info = (struct siginfo){.signo = given, .code = SI_USER, .sender = {.pid = process_id()}};
  return given != 0;
}

/* The way into the kernel took the trap flag away, so that a debugger's step over a call ends here, behind it. */
bool debug_call_end(struct regs *r) {
  if (!debug_attached()) return false;
  if (r->rflags & RFLAGS_TF)
    signal_force(r, &(struct siginfo){.signo = SIGTRAP, .code = TRAP_TRACE, .address = r->rip});
  return true; /* the debugger may have changed any register */
}

static bool dumps_core(int signal) {
  const u64 dumping = SIGNAL_BIT(SIGQUIT) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGABRT) |
                      SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGXCPU) |
                      SIGNAL_BIT(SIGXFSZ) | SIGNAL_BIT(SIGSYS);
  return dumping & SIGNAL_BIT(signal);
}

void process_killed(const struct siginfo *info) {
  if (!dumps_core(info->signo)) process_exit(info->signo);
  SHARED->debug_code = (u64)(i64)info->code;
  SHARED->debug_fault = info->address;
  SHARED->debug_error = current->fault.error;
  debug_describe();
  process_exit(info->signo | (int)EXIT_DESCRIBED);
}
