/* process_vm_readv(2) and process_vm_writev(2). The process is the only one: what remains is its own memory, which profilers and unwinders
 * read this way because a bad address is an error then, not a signal. */
#include "errno.h"
#include "lib.h"
#include "mm.h"
#include "sched.h"
#include "syscall.h"

/* Where a walk through vectors is. */
struct place {
  const struct iovec *v;
  u64 count, at;
};

/* The next address; *left is what is there, up to the page's end, 0 at the end of all. */
static u64 next(struct place *p, u64 *left) {
  while (p->count > 0 && p->at == p->v->size) {
    p->v++;
    p->count--;
    p->at = 0;
  }
  if (p->count == 0) return *left = 0;
  u64 address = p->v->base + p->at;
  *left = MIN(p->v->size - p->at, PAGE - address % PAGE);
  return address;
}

/* Nobody else runs meanwhile, so the vectors stay what they are, unless they are what is written. */
static i64 copy(struct place from, struct place to) {
  i64 done = 0;
  for (;;) {
    u64 there, room, source = next(&from, &there), target = next(&to, &room), n = MIN(there, room);
    if (n == 0) return done;
    if (!user_readable(source, n) || !user_writable(target, n)) return done > 0 ? done : -EFAULT;
    memmove((void *)target, (const void *)source, n);
    from.at += n;
    to.at += n;
    done += (i64)n;
  }
}

static i64 size_of(const struct iovec *v, u64 count) {
  i64 size = 0;
  for (u64 i = 0; i < count; i++) {
    if ((i64)v[i].size < 0 || (i64)(v[i].size + (u64)size) < 0) return -EINVAL;
    size += (i64)v[i].size;
  }
  return size;
}

static i64 transfer(const u64 *a, bool write) {
  struct iovec *v = NULL;
  if (a[5] != 0 || a[2] > IOV_MAX || a[4] > IOV_MAX) return -EINVAL;
  if (!user_readable(a[1], a[2] * sizeof *v) || !user_readable(a[3], a[4] * sizeof *v)) return -EFAULT;
  v = kmalloc((a[2] + a[4] + 1) * sizeof *v);
  if (v == NULL) return -ENOMEM;
  memcpy(v, (const void *)a[1], a[2] * sizeof *v);
  memcpy(v + a[2], (const void *)a[3], a[4] * sizeof *v);
  struct place own = {v, a[2], 0}, other = {v + a[2], a[4], 0};
  i64 local = size_of(own.v, own.count), remote = size_of(other.v, other.count);
  i64 result = local <= 0 ? local : remote <= 0 ? remote : thread_find((int)a[0]) == NULL ? -ESRCH : 0;
  if (result == 0 && local > 0 && remote > 0) result = write ? copy(own, other) : copy(other, own);
  kfree(v);
  return result;
}

i64 sys_process_vm_readv(const u64 *a) { return transfer(a, false); }
i64 sys_process_vm_writev(const u64 *a) { return transfer(a, true); }
