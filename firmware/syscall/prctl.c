/* prctl and arch_prctl: settings of the process and its threads, most of them only kept. */
#include "arch.h"
#include "identity.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum {
  SET_PDEATHSIG = 1,
  GET_PDEATHSIG,
  GET_DUMPABLE,
  SET_DUMPABLE,
  GET_KEEPCAPS = 7,
  SET_KEEPCAPS,
  GET_TIMING = 13,
  SET_TIMING,
  SET_NAME,
  GET_NAME,
  GET_SECCOMP = 21,
  CAPBSET_READ = 23,
  CAPBSET_DROP,
  GET_TSC,
  GET_SECUREBITS = 27,
  SET_TIMERSLACK = 29,
  GET_TIMERSLACK,
  SET_MM = 35,
  SET_CHILD_SUBREAPER,
  GET_CHILD_SUBREAPER,
  SET_NO_NEW_PRIVS,
  GET_NO_NEW_PRIVS,
  SET_THP_DISABLE = 41,
  GET_THP_DISABLE,
};

bool no_new_privileges;
static u32 death_signal, subreaper;
static u32 dumpable = 1;
static bool huge_pages_off;
static u64 timer_slack = 50000; /* ns */

static i64 put_int(u64 address, u32 value) {
  if (!user_writable(address, sizeof value)) return -EFAULT;
  *(u32 *)address = value;
  return 0;
}

static i64 set_thread_name(u64 address) {
  enum { LENGTH = sizeof current->name - 1 };
  ssize_t n = user_strlen(address, LENGTH);
  if (n == -EFAULT) return -EFAULT;
  memset(current->name, 0, sizeof current->name);
  memcpy(current->name, (const void *)address, n < 0 ? LENGTH : (size_t)n);
  return 0;
}

static i64 get_thread_name(u64 address) {
  if (!user_writable(address, sizeof current->name)) return -EFAULT;
  memcpy((void *)address, current->name, sizeof current->name);
  return 0;
}

static i64 set_bounded(u32 *setting, u64 value, u64 most) {
  if (value > most) return -EINVAL;
  *setting = (u32)value;
  return 0;
}

static i64 set_no_new_privileges(const u64 *a) {
  if (a[1] != 1 || a[2] != 0 || a[3] != 0 || a[4] != 0) return -EINVAL;
  no_new_privileges = true;
  return 0;
}

static i64 set_keep_capabilities(u64 value) {
  if (value > 1) return -EINVAL;
  capabilities.keep = value;
  return 0;
}

static i64 set_timer_slack(u64 ns) {
  timer_slack = (i64)ns <= 0 ? 50000 : ns;
  return 0;
}

i64 sys_prctl(const u64 *a) {
  enum { SIGNAL_MAX = 64, TSC_ENABLE = 1 };
  bool rest_is_zero = a[2] == 0 && a[3] == 0 && a[4] == 0;
  switch ((i32)a[0]) {
    case SET_PDEATHSIG: return set_bounded(&death_signal, a[1], SIGNAL_MAX); /* the parent never dies */
    case GET_PDEATHSIG: return put_int(a[1], death_signal);
    case GET_DUMPABLE: return dumpable;
    case SET_DUMPABLE: return set_bounded(&dumpable, a[1], 1);
    case GET_KEEPCAPS: return capabilities.keep;
    case SET_KEEPCAPS: return set_keep_capabilities(a[1]);
    case GET_TIMING: return 0;
    case SET_TIMING: return a[1] == 0 ? 0 : -EINVAL;
    case SET_NAME: return set_thread_name(a[1]);
    case GET_NAME: return get_thread_name(a[1]);
    case GET_SECCOMP: return 0;
    case CAPBSET_READ: return capability_bounding_read(a[1]);
    case CAPBSET_DROP: return capability_bounding_drop(a[1]);
    case GET_TSC: return put_int(a[1], TSC_ENABLE);
    case GET_SECUREBITS: return 0;
    case SET_TIMERSLACK: return set_timer_slack(a[1]);
    case GET_TIMERSLACK: return (i64)timer_slack;
    case SET_MM: return -EPERM;
    case SET_CHILD_SUBREAPER: subreaper = a[1] != 0; return 0;
    case GET_CHILD_SUBREAPER: return put_int(a[1], subreaper);
    case SET_NO_NEW_PRIVS: return set_no_new_privileges(a);
    case GET_NO_NEW_PRIVS: return a[1] == 0 && rest_is_zero ? no_new_privileges : -EINVAL;
    case SET_THP_DISABLE:
      if (!rest_is_zero) return -EINVAL;
      huge_pages_off = a[1] != 0;
      return 0;
    case GET_THP_DISABLE: return a[1] == 0 && rest_is_zero ? huge_pages_off : -EINVAL;
    default: return -EINVAL;
  }
}

#define TASK_SIZE 0x7ffffffff000ull /* a base beyond it would fault when it is loaded */

i64 sys_arch_prctl(const u64 *a) {
  enum { SET_GS = 0x1001, SET_FS, GET_FS, GET_GS };
  switch ((u32)a[0]) {
    case SET_FS:
    case SET_GS:
      if (a[1] >= TASK_SIZE) return -EPERM;
      if ((u32)a[0] == SET_FS) fs_base_set(a[1]);
      else gs_base_set(a[1]);
      return 0;
    case GET_FS:
    case GET_GS:
      if (!user_writable(a[1], 8)) return -EFAULT;
      *(u64 *)a[1] = (u32)a[0] == GET_FS ? fs_base_get() : gs_base_get();
      return 0;
    default: return -EINVAL;
  }
}
