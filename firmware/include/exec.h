/* A program takes the place of another one, or of nothing. */
#pragma once
#include "types.h"

/* What a program starts with: NUL-terminated strings one behind the other, argv's, then envp's. `execfn` is where the name
 * that it was started by lies among them, or behind. */
struct start {
  const char *strings;
  u64 size, argc, envc, execfn;
};

/* sched/exec.c: that of the program that runs; for /proc. */
extern struct start started;

struct dentry;

/* Whether the file can be started: 0, or -errno as execve(2) answers. */
i64 exec_check(struct dentry *program);
/* `program` can be started, `s` is what it gets; s->strings must stay. The running thread is the only one, and goes on in the new program
 * when it leaves the kernel. What cannot be loaded after all ends the process, as on Linux. */
void exec_replace(struct dentry *program, const struct start *s);

/* sched/thread.c: ends all other threads; the running one is the leader then. */
void threads_end_others(void);
/* sched/thread.c: as a thread is whose program has not begun. */
void thread_reset(void);
/* sched/signal.c: handlers go, what is ignored stays ignored. */
void signals_reset(void);
/* syscall/posix_timer.c */
void posix_timers_end(void);
/* fs/fd.c: closes what is marked close-on-exec. */
void fd_exec(void);
/* mm/space.c: nothing is mapped any more. */
void space_clear(void);
