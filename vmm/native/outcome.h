/* What a system call came to: success, or the name of the call that failed and its errno. */
#ifndef MAYFLY_OUTCOME_H
#define MAYFLY_OUTCOME_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
  const char *call; /* NULL: success */
  int err;
} outcome;

static inline outcome success(void) { return (outcome){NULL, 0}; }

/* Takes errno: call it before anything else can change it. */
static inline outcome failure(const char *call) { return (outcome){call, errno}; }

static inline bool failed(outcome o) { return o.call != NULL; }

#endif
