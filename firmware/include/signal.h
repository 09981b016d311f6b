/* sched/signal.c: what waits for delivery, and to whom. arch/signal_frame.c: how a handler is entered and left. */
#pragma once
#include "sched.h"

#define SIGNALS 64
#define SIGNAL_BIT(n) (1ull << ((n)-1))

enum {
  SIGINT = 2,
  SIGQUIT = 3,
  SIGILL = 4,
  SIGTRAP = 5,
  SIGABRT = 6,
  SIGBUS = 7,
  SIGFPE = 8,
  SIGKILL = 9,
  SIGSEGV = 11,
  SIGPIPE = 13,
  SIGALRM = 14,
  SIGCHLD = 17,
  SIGCONT = 18,
  SIGSTOP = 19,
  SIGTSTP = 20,
  SIGTTIN = 21,
  SIGTTOU = 22,
  SIGURG = 23,
  SIGXCPU = 24,
  SIGXFSZ = 25,
  SIGVTALRM = 26,
  SIGPROF = 27,
  SIGWINCH = 28,
  SIGSYS = 31,
  SIGRTMIN = 32
};
enum { SIG_DFL = 0, SIG_IGN = 1 };
enum { TRAP_TRACE = 2 }; /* si_code of a single step */
enum { SI_USER = 0, SI_KERNEL = 0x80, SI_QUEUE = -1, SI_TIMER = -2, SI_TKILL = -6 };

/* siginfo_t; programs see it in 128 bytes, zeros behind these. */
struct siginfo {
  i32 signo, error, code, pad;
  union {
    struct {
      i32 pid;
      u32 uid;
      u64 value;
    } sender;
    struct {
      i32 id, overrun;
      u64 value;
    } timer;
    u64 address; /* of a fault */
    u64 words[4];
  };
};
_Static_assert(sizeof(struct siginfo) == 48, "siginfo_t without its padding");
#define SIGINFO_SIZE 128

enum {
  SA_SIGINFO = 4,
  SA_RESTORER = 0x04000000,
  SA_ONSTACK = 0x08000000,
  SA_RESTART = 0x10000000,
  SA_NODEFER = 0x40000000,
};
#define SA_RESETHAND 0x80000000u
enum { SS_ONSTACK = 1, SS_DISABLE = 2 };

/* struct sigaction of the system call. */
struct action {
  u64 handler, flags, restorer, mask;
};
extern struct action signal_actions[SIGNALS + 1];

/* One queued signal. */
struct signal_entry {
  struct list link;
  struct siginfo info;
  void (*taken)(struct signal_entry *); /* the owner brings info up to date; NULL: allocated, freed when taken */
};

/* t NULL = the process. 0, or -EAGAIN when there is no memory for a realtime signal's siginfo. */
i64 signal_queue(struct thread *t, const struct siginfo *info);
/* The same with an entry that its owner keeps; it must not be queued already. */
void signal_post(struct thread *t, struct signal_entry *e);
void signal_unpost(struct signal_entry *e); /* fine when not queued */
/* Takes one signal of `set` that waits for the thread or the process. */
bool signal_take(struct thread *t, u64 set, struct siginfo *info);
u64 signals_pending(const struct thread *t); /* its own and the process's */
void signals_forget(int signal);             /* everywhere */
void signals_leave(void);                    /* the running thread ends */

/* Masks of the running thread. Calls that change it for their own time end with signal_mask_leave(saved, result). */
void signal_mask_set(u64 mask);
void signal_mask_leave(u64 saved, i64 result);

bool signal_ignored(int signal);
/* A fault: cannot wait. Ends the process, or r now starts the handler. */
void signal_force(struct regs *r, const struct siginfo *info);
/* arch/debug.c: the end that a signal brings, with a report if it is one that dumps core. */
_Noreturn void process_killed(const struct siginfo *info);

extern struct wait_queue signal_readers; /* woken at each signal (signalfd) */

/* Makes r start the handler; false: the stack is no good. */
bool frame_push(struct regs *r, const struct siginfo *info, const struct action *action);
/* rt_sigreturn; false: there is no frame. */
bool frame_pop(struct regs *r);
u64 frame_size(void); /* stack that a handler's frame takes, at most */
bool on_altstack(u64 rsp);
