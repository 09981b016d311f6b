/* futex(2). */
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum {
  WAIT = 0,
  WAKE = 1,
  REQUEUE = 3,
  CMP_REQUEUE = 4,
  WAKE_OP = 5,
  WAIT_BITSET = 9,
  WAKE_BITSET = 10,
  CLOCK_REALTIME_FLAG = 256,
  OP_MASK = 127
};
#define BUCKETS 64

struct waiter {
  struct list link;
  struct thread *thread;
  u64 address;
  u32 bitset;
  bool woken;
};

static struct list buckets[BUCKETS];

static struct list *bucket_of(u64 address) {
  struct list *b = &buckets[(address >> 2 ^ address >> 12) % BUCKETS];
  if (b->next == NULL) list_init(b);
  return b;
}

int futex_wake(u64 address, int max, u32 bitset) {
  int woken = 0;
  LIST_EACH(bucket_of(address), item) {
    struct waiter *w = CONTAINER(item, struct waiter, link);
    if (woken == max) break;
    if (w->address != address || !(w->bitset & bitset)) continue;
    list_remove(&w->link);
    w->woken = true;
    thread_wake(w->thread);
    woken++;
  }
  return woken;
}

/* A word's waiters that move to itself stay where they are, but are counted. */
static int requeue(u64 from, u64 to, int max) {
  int moved = 0;
  LIST_EACH(bucket_of(from), item) {
    struct waiter *w = CONTAINER(item, struct waiter, link);
    if (moved == max) break;
    if (w->address != from) continue;
    moved++;
    if (from == to) continue;
    list_remove(&w->link);
    w->address = to;
    list_push(bucket_of(to), &w->link);
  }
  return moved;
}

static i64 wait(u64 address, u32 expected, u64 deadline, u32 bitset) {
  if (bitset == 0) return -EINVAL;
  if (*(volatile u32 *)address != expected) return -EAGAIN;
  struct waiter w = {.thread = current, .address = address, .bitset = bitset};
  list_push(bucket_of(address), &w.link);
  int result = 0;
  while (!w.woken && result == 0) result = sleep_until(deadline);
  if (w.woken) return 0;
  list_remove(&w.link);
  return result == -EINTR && deadline == FOREVER ? -ERESTARTSYS : result;
}

/* The lowest 12 bits of an operation, with their sign. */
static u32 signed12(u32 bits) { return (u32)((i32)(bits << 20) >> 20); }

/* futex(2), FUTEX_WAKE_OP: the second word is changed and compared as `op` says; -ENOSYS for an unknown operation, and, when
 * that is done, for an unknown comparison. */
static i64 wake_op(u32 *word, u32 op) {
  u32 argument = signed12(op >> 12), compare = signed12(op), old = *word;
  if (op & 0x80000000u) argument = 1u << (argument & 31);
  switch (op >> 28 & 7) {
    case 0: *word = argument; break;
    case 1: *word += argument; break;
    case 2: *word |= argument; break;
    case 3: *word &= ~argument; break;
    case 4: *word ^= argument; break;
    default: return -ENOSYS;
  }
  switch (op >> 24 & 15) {
    case 0: return old == compare;
    case 1: return old != compare;
    case 2: return (i32)old < (i32)compare;
    case 3: return (i32)old <= (i32)compare;
    case 4: return (i32)old > (i32)compare;
    case 5: return (i32)old >= (i32)compare;
    default: return -ENOSYS;
  }
}

static i64 deadline_of(u64 address, u32 op, u64 *deadline) {
  *deadline = FOREVER;
  if (address == 0) return 0;
  if (!user_readable(address, 16)) return -EFAULT;
  const i64 *t = (const i64 *)address;
  if (t[0] < 0 || t[1] < 0 || t[1] >= (i64)NS_PER_SEC) return -EINVAL;
  u64 ns = MIN((u64)t[0], FOREVER / NS_PER_SEC / 2) * NS_PER_SEC + (u64)t[1];
  bool relative = (op & OP_MASK) == WAIT;
  if (relative) *deadline = clock_mono() + ns;
  else if (op & CLOCK_REALTIME_FLAG) *deadline = ns - MIN(ns, clock_wall() - clock_mono());
  else *deadline = ns;
  return 0;
}

/* How many to wake, how many to move, and a second word. */
static i64 check_second(const u64 *a) {
  if ((i32)a[2] < 0 || (i32)a[3] < 0 || a[4] % 4 != 0) return -EINVAL;
  return user_readable(a[4], 4) ? 0 : -EFAULT;
}

static i64 wake_and_requeue(const u64 *a) {
  i64 error = check_second(a);
  if (error != 0) return error;
  if ((a[1] & OP_MASK) == CMP_REQUEUE && *(volatile u32 *)a[0] != (u32)a[5]) return -EAGAIN;
  int woken = futex_wake(a[0], (int)a[2], ~0u);
  return woken + requeue(a[0], a[4], (int)a[3]);
}

static i64 wake_both(const u64 *a) {
  if (a[4] % 4 != 0) return -EINVAL;
  if (!user_writable(a[4], 4)) return -EFAULT;
  i64 second = wake_op((u32 *)a[4], (u32)a[5]);
  if (second < 0) return second;
  int woken = futex_wake(a[0], (int)a[2], ~0u);
  return woken + (second ? futex_wake(a[4], (int)a[3], ~0u) : 0);
}

i64 sys_futex(const u64 *a) {
  u64 address = a[0];
  u32 op = (u32)a[1], value = (u32)a[2];
  if (address % 4 != 0) return -EINVAL;
  if (!user_readable(address, 4)) return -EFAULT;
  switch (op & OP_MASK) {
    case WAIT:
    case WAIT_BITSET: {
      u64 deadline;
      i64 error = deadline_of(a[3], op, &deadline);
      return error < 0 ? error : wait(address, value, deadline, (op & OP_MASK) == WAIT ? ~0u : (u32)a[5]);
    }
    case WAKE: return futex_wake(address, (int)value, ~0u);
    case WAKE_BITSET: return a[5] == 0 ? -EINVAL : futex_wake(address, (int)value, (u32)a[5]);
    case CMP_REQUEUE:
    case REQUEUE: return wake_and_requeue(a);
    case WAKE_OP: return wake_both(a);
    default: return -ENOSYS;
  }
}
