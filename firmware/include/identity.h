/* syscall/identity.c: who the program is. */
#pragma once
#include "types.h"

struct ids {
  u32 real, effective, saved, files;
};
extern struct ids user_ids, group_ids;

struct capabilities {
  u64 permitted, effective, inheritable, ambient, bounding;
  bool keep; /* PR_SET_KEEPCAPS */
};
extern struct capabilities capabilities;
i64 capability_bounding_read(u64 capability); /* 0 or 1, or -errno */
i64 capability_bounding_drop(u64 capability);

/* syscall/limits.c */
struct limit {
  u64 soft, hard; /* FOREVER: none */
};
enum { LIMITS = 16 };
extern struct limit limits[LIMITS];

/* syscall/prctl.c */
extern bool no_new_privileges;
