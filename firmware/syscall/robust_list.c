/* Robust mutexes: what a thread held when it ended is marked, and one waiter is told (get_robust_list(2)). */
#include "errno.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum { LIST_LIMIT = 2048 }; /* the list may be a circle */
#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK 0x3fffffffu

struct head {
  u64 next;
  i64 offset; /* from an entry to its futex word */
  u64 pending;
};

i64 sys_set_robust_list(const u64 *a) {
  if (a[1] != sizeof(struct head)) return -EINVAL;
  current->robust_list = a[0];
  return 0;
}

i64 sys_get_robust_list(const u64 *a) {
  struct thread *t = a[0] == 0 ? current : thread_find((i32)a[0]);
  if (t == NULL) return -ESRCH;
  if (!user_writable(a[1], 8) || !user_writable(a[2], 8)) return -EFAULT;
  *(u64 *)a[1] = t->robust_list;
  *(u64 *)a[2] = sizeof(struct head);
  return 0;
}

static void owner_died(u64 address, bool taking) {
  if (address % 4 != 0 || !user_writable(address, 4)) return;
  u32 *word = (u32 *)address;
  if (taking && *word == 0) { /* given back, and the wake-up was still to come */
    futex_wake(address, 1, ~0u);
    return;
  }
  if ((*word & FUTEX_TID_MASK) != (u32)current->tid) return;
  u32 old = *word;
  *word = (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
  if (old & FUTEX_WAITERS) futex_wake(address, 1, ~0u);
}

/* Bit 0 of a pointer says: priority inheritance. */
static u64 entry_of(u64 pointer) { return pointer & ~1ull; }

void robust_list_exit(void) {
  u64 list = current->robust_list;
  if (list == 0 || !user_readable(list, sizeof(struct head))) return;
  struct head head = *(const struct head *)list;
  u64 entry = head.next, pending = entry_of(head.pending);
  for (int i = 0; i < LIST_LIMIT && entry_of(entry) != list; i++) {
    u64 at = entry_of(entry);
    if (!user_readable(at, 8)) return;
    entry = *(const u64 *)at; /* before the word is given away */
    if (at != pending) owner_died(at + (u64)head.offset, false);
  }
  if (pending != 0) owner_died(pending + (u64)head.offset, true);
}
