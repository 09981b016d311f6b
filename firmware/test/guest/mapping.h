/* What calls of the memory family answer: one line a call. */
#pragma once
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#define SHOW(call)                                                                                                     \
  do {                                                                                                                 \
    errno = 0;                                                                                                         \
    long result = (long)(call);                                                                                        \
    printf("%s: %ld %d\n", #call, result, errno);                                                                      \
  } while (0)
#define MAPS(call) printf("%s: %d\n", #call, (errno = 0, call) == MAP_FAILED ? errno : 0)
