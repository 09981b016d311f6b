/* Who the program is: user and group ids, capabilities, the machine's name. It starts as a container's root, who may give
 * that up, or as the user whom the boot page names. */
#include "identity.h"
#include "arch.h"
#include "file.h"
#include "lib.h"
#include "mm.h"
#include "sched.h"
#include "syscall.h"

struct ids user_ids, group_ids;

#define CAPS_OF_CONTAINER 0xa80425fbull

struct capabilities capabilities = {
    .permitted = CAPS_OF_CONTAINER, .effective = CAPS_OF_CONTAINER, .bounding = CAPS_OF_CONTAINER};

/* Those that files ask for: they follow the id that files see. */
#define CAPS_OF_FILES 0x18000001full

void identity_init(void) {
  if (BOOT->group_count > GROUPS_KEPT) panic("%lu groups: at most %d", BOOT->group_count, GROUPS_KEPT);
  user_ids = (struct ids){BOOT->uid, BOOT->uid, BOOT->uid, BOOT->uid};
  group_ids = (struct ids){BOOT->gid, BOOT->gid, BOOT->gid, BOOT->gid};
  group_count = (u32)BOOT->group_count;
  memcpy(groups, (const void *)BOOT->groups, group_count * sizeof *groups);
  if (BOOT->uid != 0) capabilities.permitted = capabilities.effective = 0;
}

bool identity_exec(u32 mode, u32 uid, u32 gid) {
  if (!no_new_privileges && (mode & S_ISUID)) user_ids.effective = uid;
  if (!no_new_privileges && (mode & S_ISGID) && (mode & 0010)) group_ids.effective = gid;
  user_ids.saved = user_ids.files = user_ids.effective;
  group_ids.saved = group_ids.files = group_ids.effective;
  bool root = user_ids.real == 0 || user_ids.effective == 0;
  capabilities.permitted = root ? capabilities.bounding | capabilities.inheritable : capabilities.ambient;
  capabilities.effective = user_ids.effective == 0 ? capabilities.permitted : capabilities.ambient;
  capabilities.keep = false;
  return user_ids.effective != user_ids.real || group_ids.effective != group_ids.real;
}

/* ---- Ids -------------------------------------------------------------------------------------
 */

#define KEEP (~0u) /* an argument of -1 */

static bool one_of(const struct ids *ids, u32 id, bool saved) {
  return id == ids->real || id == ids->effective || (saved && id == ids->saved);
}

/* Giving up root gives up what root may do. */
static void follow_user(const struct ids *old) {
  const struct ids *now = &user_ids;
  bool was_root = old->real == 0 || old->effective == 0 || old->saved == 0;
  bool is_root = now->real == 0 || now->effective == 0 || now->saved == 0;
  if (was_root && !is_root && !capabilities.keep) capabilities.permitted = capabilities.ambient = 0;
  if (was_root && !is_root && !capabilities.keep) capabilities.effective = 0;
  if (old->effective == 0 && now->effective != 0) capabilities.effective = 0;
  if (old->effective != 0 && now->effective == 0) capabilities.effective = capabilities.permitted;
}

static i64 set_ids(struct ids *ids, struct ids to) {
  struct ids old = *ids;
  to.files = to.effective;
  *ids = to;
  if (ids == &user_ids) follow_user(&old);
  return 0;
}

static i64 set_one(struct ids *ids, u32 id, u32 capability) {
  if (id == KEEP) return -EINVAL;
  if (capable(capability)) return set_ids(ids, (struct ids){id, id, id, id});
  if (id != ids->real && id != ids->saved) return -EPERM;
  return set_ids(ids, (struct ids){ids->real, id, ids->saved, id});
}

static i64 set_two(struct ids *ids, u32 real, u32 effective, u32 capability) {
  struct ids to = *ids;
  if (real != KEEP) to.real = real;
  if (effective != KEEP) to.effective = effective;
  bool allowed = one_of(ids, to.real, false) && one_of(ids, to.effective, true);
  if (!allowed && !capable(capability)) return -EPERM;
  if (real != KEEP || (effective != KEEP && effective != ids->real)) to.saved = to.effective;
  return set_ids(ids, to);
}

static i64 set_three(struct ids *ids, const u64 *a, u32 capability) {
  struct ids to = *ids;
  if ((u32)a[0] != KEEP) to.real = (u32)a[0];
  if ((u32)a[1] != KEEP) to.effective = (u32)a[1];
  if ((u32)a[2] != KEEP) to.saved = (u32)a[2];
  bool allowed = one_of(ids, to.real, true) && one_of(ids, to.effective, true) && one_of(ids, to.saved, true);
  return allowed || capable(capability) ? set_ids(ids, to) : -EPERM;
}

/* Answers the id as it was before, whether it changed or not. */
static i64 set_files(struct ids *ids, u32 id, u32 capability) {
  u32 old = ids->files;
  if (id != KEEP && (capable(capability) || one_of(ids, id, true) || id == old)) ids->files = id;
  if (ids == &user_ids && old == 0 && ids->files != 0) capabilities.effective &= ~CAPS_OF_FILES;
  if (ids == &user_ids && old != 0 && ids->files == 0)
    capabilities.effective |= capabilities.permitted & CAPS_OF_FILES;
  return old;
}

struct file_view view_as_real(void) {
  struct file_view view = {user_ids.files, group_ids.files, capabilities.effective};
  user_ids.files = user_ids.real;
  group_ids.files = group_ids.real;
  capabilities.effective = user_ids.real == 0 ? capabilities.permitted : 0;
  return view;
}

void view_restore(struct file_view view) {
  user_ids.files = view.user;
  group_ids.files = view.group;
  capabilities.effective = view.effective;
}

static i64 get_three(const struct ids *ids, const u64 *a) {
  const u32 values[3] = {ids->real, ids->effective, ids->saved};
  for (int i = 0; i < 3; i++) {
    if (!user_writable(a[i], sizeof(u32))) return -EFAULT;
    *(u32 *)a[i] = values[i];
  }
  return 0;
}

i64 sys_getuid(const u64 *a) { return user_ids.real; }
i64 sys_geteuid(const u64 *a) { return user_ids.effective; }
i64 sys_getgid(const u64 *a) { return group_ids.real; }
i64 sys_getegid(const u64 *a) { return group_ids.effective; }
i64 sys_setuid(const u64 *a) { return set_one(&user_ids, (u32)a[0], CAP_SETUID); }
i64 sys_setgid(const u64 *a) { return set_one(&group_ids, (u32)a[0], CAP_SETGID); }
i64 sys_setreuid(const u64 *a) { return set_two(&user_ids, (u32)a[0], (u32)a[1], CAP_SETUID); }
i64 sys_setregid(const u64 *a) { return set_two(&group_ids, (u32)a[0], (u32)a[1], CAP_SETGID); }
i64 sys_setresuid(const u64 *a) { return set_three(&user_ids, a, CAP_SETUID); }
i64 sys_setresgid(const u64 *a) { return set_three(&group_ids, a, CAP_SETGID); }
i64 sys_setfsuid(const u64 *a) { return set_files(&user_ids, (u32)a[0], CAP_SETUID); }
i64 sys_setfsgid(const u64 *a) { return set_files(&group_ids, (u32)a[0], CAP_SETGID); }
i64 sys_getresuid(const u64 *a) { return get_three(&user_ids, a); }
i64 sys_getresgid(const u64 *a) { return get_three(&group_ids, a); }

/* ---- Groups ----------------------------------------------------------------------------------
 */

enum { GROUPS_MAX = 65536 };
u32 groups[GROUPS_KEPT], group_count;

bool in_group(u32 gid) {
  if (gid == group_ids.files) return true;
  for (u32 i = 0; i < group_count; i++)
    if (groups[i] == gid) return true;
  return false;
}

i64 sys_getgroups(const u64 *a) {
  i32 room = (i32)a[0];
  if (room < 0) return -EINVAL;
  if (room == 0) return group_count;
  if ((u32)room < group_count) return -EINVAL;
  if (!user_writable(a[1], group_count * sizeof(u32))) return -EFAULT;
  memcpy((void *)a[1], groups, group_count * sizeof(u32));
  return group_count;
}

i64 sys_setgroups(const u64 *a) {
  u32 count = (u32)a[0];
  if (!capable(CAP_SETGID)) return -EPERM;
  if (count > GROUPS_MAX) return -EINVAL;
  if (count > GROUPS_KEPT) return -ENOMEM;
  if (!user_readable(a[1], count * sizeof(u32))) return -EFAULT;
  memcpy(groups, (const void *)a[1], count * sizeof(u32));
  group_count = count;
  return 0;
}

/* ---- Capabilities ----------------------------------------------------------------------------
 */

enum { CAPABILITY_V1 = 0x19980330, CAPABILITY_V2 = 0x20071026, CAPABILITY_V3 = 0x20080522 };

struct capability_header {
  u32 version;
  i32 pid;
};
struct capability_data { /* the low halves, then the high ones */
  u32 effective, permitted, inheritable;
};

/* The number of capability_data records of the header's version, or an error. */
static i64 capability_words(u64 header, bool probing) {
  if (!user_writable(header, sizeof(struct capability_header))) return -EFAULT;
  struct capability_header *h = (struct capability_header *)header;
  if (h->version == CAPABILITY_V1) return 1;
  if (h->version == CAPABILITY_V2 || h->version == CAPABILITY_V3) return 2;
  h->version = CAPABILITY_V3;
  return probing ? 0 : -EINVAL;
}

static bool own_pid(i32 pid) { return pid == 0 || pid == process_id() || thread_find(pid) != NULL; }

i64 sys_capget(const u64 *a) {
  i64 words = capability_words(a[0], a[1] == 0);
  if (words < 0 || a[1] == 0) return MIN(words, 0);
  i32 pid = ((const struct capability_header *)a[0])->pid;
  if (pid < 0) return -EINVAL;
  if (!own_pid(pid)) return -ESRCH;
  if (!user_writable(a[1], (u64)words * sizeof(struct capability_data))) return -EFAULT;
  struct capability_data *data = (struct capability_data *)a[1];
  for (i64 i = 0; i < words; i++)
    data[i] = (struct capability_data){(u32)(capabilities.effective >> 32 * i), (u32)(capabilities.permitted >> 32 * i),
                                       (u32)(capabilities.inheritable >> 32 * i)};
  return 0;
}

i64 sys_capset(const u64 *a) {
  i64 words = capability_words(a[0], false);
  if (words < 0) return words;
  if (!own_pid(((const struct capability_header *)a[0])->pid)) return -EPERM;
  if (!user_readable(a[1], (u64)words * sizeof(struct capability_data))) return -EFAULT;
  const struct capability_data *data = (const struct capability_data *)a[1];
  u64 effective = 0, permitted = 0, inheritable = 0;
  for (i64 i = 0; i < words; i++) {
    effective |= (u64)data[i].effective << 32 * i;
    permitted |= (u64)data[i].permitted << 32 * i;
    inheritable |= (u64)data[i].inheritable << 32 * i;
  }
  if (permitted & ~capabilities.permitted || effective & ~permitted) return -EPERM;
  if (inheritable & ~(capabilities.inheritable | capabilities.permitted)) return -EPERM;
  capabilities.effective = effective;
  capabilities.permitted = permitted;
  capabilities.inheritable = inheritable;
  capabilities.ambient &= permitted & inheritable;
  return 0;
}

i64 capability_bounding_read(u64 capability) {
  return capability > CAP_LAST ? -EINVAL : (i64)(capabilities.bounding >> capability & 1);
}

i64 capability_bounding_drop(u64 capability) {
  if (!capable(CAP_SETPCAP)) return -EPERM;
  if (capability > CAP_LAST) return -EINVAL;
  capabilities.bounding &= ~(1ull << capability);
  return 0;
}

/* ---- The machine's name ----------------------------------------------------------------------
 */

enum { UTS_FIELD = 65, NAME_LIMIT = 64 };
char domain_name[65] = "(none)";

static i64 set_name(const u64 *a, char *name, u64 room) {
  if ((i32)a[1] < 0 || a[1] > NAME_LIMIT) return -EINVAL;
  if (!user_readable(a[0], a[1])) return -EFAULT;
  memset(name, 0, room);
  memcpy(name, (const void *)a[0], MIN(a[1], room - 1));
  return 0;
}

i64 sys_sethostname(const u64 *a) { return set_name(a, (char *)BOOT->hostname, sizeof BOOT->hostname); }
i64 sys_setdomainname(const u64 *a) { return set_name(a, domain_name, sizeof domain_name); }

i64 sys_uname(const u64 *a) {
  if (!user_writable(a[0], 6 * UTS_FIELD)) return -EFAULT;
  const char *fields[6] = {"Linux", (const char *)BOOT->hostname, "6.1.0-mayfly", "#1 Mayfly", "x86_64", domain_name};
  memset((void *)a[0], 0, 6 * UTS_FIELD);
  for (int i = 0; i < 6; i++) memcpy((char *)a[0] + i * UTS_FIELD, fields[i], strnlen(fields[i], UTS_FIELD - 1));
  return 0;
}
