/* Checkpoints, as a C or C++ program asks for them. Nothing to link: include it wherever it is wanted.
 *
 *   static void reopen(void *pool) { srandom(fresh_seed()); reconnect(pool); }
 *   ...
 *   mayfly_after_clone(reopen, pool);
 *   warm_up();
 *   if (mayfly_checkpoint() == MAYFLY_CLONE) serve(); // every clone begins here, after its hooks
 *
 * In a clone the kernel's own is different already: getpid(), getrandom(), /etc/machine-id, the clocks. What the program
 * has drawn or opened before is the same in all clones: the state of random(3), ids made in advance, connections.
 * docs/clones.md tells what is whose. */
#ifndef MAYFLY_CHECKPOINT_H
#define MAYFLY_CHECKPOINT_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MAYFLY_ORIGINAL = 0, MAYFLY_CLONE = 1 };
enum { MAYFLY_HOOKS_MAX = 64 };

struct mayfly_hooks {
  int count;
  struct {
    void (*call)(void *argument);
    void *argument;
  } list[MAYFLY_HOOKS_MAX];
};

/* One for the whole program, whichever files include this. */
__attribute__((weak)) struct mayfly_hooks mayfly_hooks;

/* Reads a small file; the number of bytes, or -errno. */
static inline int mayfly_read(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) return -errno;
  ssize_t n = read(fd, text, size);
  int result = n < 0 ? -errno : (int)n;
  close(fd);
  return result;
}

/* Registers what runs in each clone before mayfly_checkpoint() returns there, in the order of registration.
 * 0, or -ENOSPC beyond MAYFLY_HOOKS_MAX. */
static inline int mayfly_after_clone(void (*hook)(void *argument), void *argument) {
  if (mayfly_hooks.count == MAYFLY_HOOKS_MAX) return -ENOSPC;
  mayfly_hooks.list[mayfly_hooks.count].call = hook;
  mayfly_hooks.list[mayfly_hooks.count++].argument = argument;
  return 0;
}

/* Asks for a checkpoint. Returns MAYFLY_ORIGINAL in the machine that goes on, MAYFLY_CLONE in each clone, or -errno.
 * Outside of a machine, and where nobody takes checkpoints, it is MAYFLY_ORIGINAL. The variable MAYFLY_CHECKPOINT names
 * another file than /dev/checkpoint: one that holds "clone" shows what a clone would do. */
static inline int mayfly_checkpoint(void) {
  char side[16] = {0};
  const char *named = getenv("MAYFLY_CHECKPOINT");
  int n = mayfly_read(named != NULL ? named : "/dev/checkpoint", side, sizeof side - 1);
  if (n == -ENOENT) return MAYFLY_ORIGINAL;
  if (n < 0) return n;
  if (side[0] != 'c') return MAYFLY_ORIGINAL;
  for (int i = 0; i < mayfly_hooks.count; i++) mayfly_hooks.list[i].call(mayfly_hooks.list[i].argument);
  return MAYFLY_CLONE;
}

/* The number of this life of the machine: another one in each clone and after each rewind. 0 outside of a machine.
 * A program that compares it knows that it was cloned, also by a host that took the checkpoint unasked. */
static inline unsigned long long mayfly_generation(void) {
  char text[32] = {0};
  int n = mayfly_read("/dev/generation", text, sizeof text - 1);
  return n > 0 ? strtoull(text, NULL, 16) : 0;
}

#ifdef __cplusplus
}
#endif
#endif
