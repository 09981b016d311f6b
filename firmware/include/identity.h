/* syscall/identity.c: who the program is, and what that lets it do. */
#pragma once
#include "types.h"

enum {
  CAP_CHOWN,
  CAP_DAC_OVERRIDE,
  CAP_DAC_READ_SEARCH,
  CAP_FOWNER,
  CAP_FSETID,
  CAP_SETGID = 6,
  CAP_SETUID,
  CAP_SETPCAP,
  CAP_SYS_CHROOT = 18,
  CAP_SYS_ADMIN = 21,
  CAP_LAST = 40
};

struct ids {
  u32 real, effective, saved, files;
};
extern struct ids user_ids, group_ids;

struct capabilities {
  u64 permitted, effective, inheritable, ambient, bounding;
  bool keep; /* PR_SET_KEEPCAPS */
};
extern struct capabilities capabilities;
static inline bool capable(u32 capability) { return capabilities.effective >> capability & 1; }
void identity_init(void); /* as the boot page says */
/* execve(2) of a file with these mode bits, owner and group; whether it has more rights now than who started it. */
bool identity_exec(u32 mode, u32 uid, u32 gid);
/* Whether files see the program as a member. */
bool in_group(u32 gid);
enum { GROUPS_KEPT = 256 };
extern u32 groups[GROUPS_KEPT], group_count;
/* As long as access(2) looks: files see the real ids. */
struct file_view {
  u32 user, group;
  u64 effective;
};
struct file_view view_as_real(void);
void view_restore(struct file_view view);
i64 capability_bounding_read(u64 capability); /* 0 or 1, or -errno */
i64 capability_bounding_drop(u64 capability);

extern char domain_name[65];

/* syscall/limits.c */
struct limit {
  u64 soft, hard; /* FOREVER: none */
};
enum { RLIMIT_CPU = 0, RLIMIT_STACK = 3, RLIMIT_CORE = 4, RLIMIT_NPROC = 6, RLIMIT_NOFILE = 7, RLIMIT_SIGPENDING = 11, LIMITS = 16 };
extern struct limit limits[LIMITS];

/* syscall/prctl.c */
extern bool no_new_privileges;
