/* mmap and its family. */
#include "mm.h"
#include "file.h"
#include "lib.h"
#include "syscall.h"

enum { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4 };
enum { MS_ASYNC = 1, MS_INVALIDATE = 2, MS_SYNC = 4 };
enum { MCL_CURRENT = 1, MCL_FUTURE = 2, MCL_ONFAULT = 4, MLOCK_ONFAULT = 1 };
enum { PROT_ALL = PROT_READ | PROT_WRITE | PROT_EXEC, PROT_SEM = 8 };

static i64 check_file(const struct file *f, u32 type, u32 prot) {
  if (f == NULL || (f->flags & O_PATH)) return -EBADF;
  bool shared = type != MAP_PRIVATE;
  if ((f->flags & O_ACCMODE) == O_WRONLY) return -EACCES;
  if (shared && (prot & PROT_WRITE) && (f->flags & O_ACCMODE) != O_RDWR) return -EACCES;
  if ((f->ops->data == NULL && f->inode == NULL) || f->ops->getdents != NULL) return -ENODEV;
  return shared && (prot & PROT_WRITE) && !file_has_end(f) ? -ENODEV : 0;
}

i64 sys_mmap(const u64 *a) {
  u64 hint = a[0], size = a[1], offset = a[5];
  u32 prot = (u32)a[2] & PROT_ALL, flags = (u32)a[3], type = flags & MAP_TYPE;
  struct file *f = NULL;
  if (offset % PAGE != 0) return -EINVAL;
  if (!(flags & MAP_ANONYMOUS)) {
    f = fd_get((int)a[4]);
    i64 error = type == 0 || type > MAP_SHARED_VALIDATE ? 0 : check_file(f, type, prot);
    if (f == NULL) return -EBADF;
    if (error != 0) return error;
  }
  if (type == 0 || type > MAP_SHARED_VALIDATE || (type == MAP_SHARED_VALIDATE && f == NULL)) return -EINVAL;
  return space_map(hint, size, prot, flags, f, f == NULL ? 0 : offset);
}

i64 sys_munmap(const u64 *a) { return space_unmap(a[0], a[1]); }

i64 sys_mprotect(const u64 *a) {
  if (a[2] & ~(u64)(PROT_ALL | PROT_SEM)) return -EINVAL;
  return space_protect(a[0], a[1], (u32)a[2] & PROT_ALL);
}

enum {
  MADV_NORMAL,
  MADV_WILLNEED = 3,
  MADV_DONTNEED,
  MADV_FREE = 8,
  MADV_DONTFORK = 10,
  MADV_DOFORK,
  MADV_HUGEPAGE = 14,
  MADV_WIPEONFORK = 18,
  MADV_KEEPONFORK,
  MADV_PAGEOUT = 21,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE
};

/* Hints about a kernel's caches and about fork mean nothing here; they are checked as Linux does. */
static bool is_hint(u64 advice) {
  return advice <= MADV_WILLNEED || advice == MADV_DONTFORK || advice == MADV_DOFORK ||
         (advice >= MADV_HUGEPAGE && advice <= MADV_PAGEOUT);
}

static i64 populate(u64 start, u64 size, u32 prot) {
  for (u64 at = start; at < start + size;) {
    const struct vma *v = space_find(at);
    if (v == NULL) return -ENOMEM;
    if (v->prot == PROT_NONE || (prot & ~v->prot)) return -EINVAL;
    at = v->end;
  }
  return space_populate(start, size);
}

static bool all_anonymous(u64 start, u64 size) {
  for (u64 at = start; at < start + size;) {
    const struct vma *v = space_find(at);
    if (v != NULL && (v->file != NULL || (v->flags & MAP_SHARED))) return false;
    if (v == NULL) return true;
    at = v->end;
  }
  return true;
}

i64 sys_madvise(const u64 *a) {
  u64 start = a[0], size = ALIGN_UP(a[1], PAGE), advice = (u32)a[2];
  bool known = is_hint(advice) || advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_POPULATE_READ ||
               advice == MADV_POPULATE_WRITE;
  if (!known || start % PAGE != 0 || size < a[1] || start + size < start) return -EINVAL;
  if (size == 0) return 0;
  switch (advice) {
    case MADV_FREE:
      if (!all_anonymous(start, size)) return -EINVAL;
      return space_discard(start, size);
    case MADV_DONTNEED: return space_discard(start, size);
    case MADV_POPULATE_READ: return populate(start, size, 0);
    case MADV_POPULATE_WRITE: return populate(start, size, PROT_WRITE);
    case MADV_WIPEONFORK:
      if (!all_anonymous(start, size)) return -EINVAL;
  }
  return space_mapped(start, size) ? 0 : -ENOMEM;
}

static bool overlap(const struct remap *r) { return r->old < r->to + r->new_size && r->to < r->old + r->old_size; }

i64 sys_mremap(const u64 *a) {
  struct remap r = {a[0],
                    ALIGN_UP(a[1], PAGE),
                    ALIGN_UP(a[2], PAGE),
                    a[3] & MREMAP_MAYMOVE,
                    a[3] & MREMAP_FIXED,
                    a[3] & MREMAP_DONTUNMAP,
                    a[4]};
  if (a[3] & ~(u64)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) return -EINVAL;
  if ((r.fixed || r.keep_old) && !r.may_move) return -EINVAL;
  if (r.keep_old && r.old_size != r.new_size) return -EINVAL;
  if (r.old % PAGE != 0 || r.new_size == 0) return -EINVAL;
  if ((r.fixed || r.keep_old) && r.to % PAGE != 0) return -EINVAL;
  if (r.fixed && (r.to + r.new_size < r.to || overlap(&r))) return -EINVAL;
  if (r.old_size == 0) return -EINVAL; /* a second view of shared pages */
  return space_remap(&r);
}

i64 sys_brk(const u64 *a) {
  u64 want = a[0], have = ALIGN_UP(brk_end, PAGE), need = ALIGN_UP(want, PAGE);
  if (want < brk_start || need < want) return (i64)brk_end;
  if (need > have) {
    u32 flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (space_map(have, need - have, PROT_READ | PROT_WRITE, flags, NULL, 0) < 0) return (i64)brk_end;
  } else if (need < have && space_unmap(need, have - need) < 0) {
    return (i64)brk_end;
  }
  brk_end = want;
  return (i64)want;
}

/* Shared mappings are the file's own pages: there is nothing to write back. */
i64 sys_msync(const u64 *a) {
  u64 size = ALIGN_UP(a[1], PAGE);
  bool both = (a[2] & MS_ASYNC) && (a[2] & MS_SYNC);
  if (a[0] % PAGE != 0 || (a[2] & ~(u64)(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || both) return -EINVAL;
  return space_mapped(a[0], size) ? 0 : -ENOMEM;
}

/* Nothing is ever paged out; locking means being there. */
static i64 lock(u64 start, u64 size, bool populate_now) {
  u64 first = ALIGN_DOWN(start, PAGE), all = ALIGN_UP(size + (start - first), PAGE);
  if (!space_mapped(first, all)) return -ENOMEM;
  if (populate_now && space_populate(first, all) < 0) return -ENOMEM;
  return 0;
}

i64 sys_mlock(const u64 *a) { return lock(a[0], a[1], true); }
i64 sys_munlock(const u64 *a) { return lock(a[0], a[1], false); }
i64 sys_mlock2(const u64 *a) {
  return a[2] & ~(u64)MLOCK_ONFAULT ? -EINVAL : lock(a[0], a[1], !(a[2] & MLOCK_ONFAULT));
}
i64 sys_mlockall(const u64 *a) {
  return a[0] == 0 || a[0] == MCL_ONFAULT || (a[0] & ~(u64)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ? -EINVAL : 0;
}
i64 sys_munlockall(const u64 *a) {
  (void)a;
  return 0;
}

i64 sys_mincore(const u64 *a) {
  u64 pages = ALIGN_UP(a[1], PAGE) / PAGE;
  if (a[0] % PAGE != 0) return -EINVAL;
  if (pages * PAGE < a[1]) return -ENOMEM;
  if (!user_writable(a[2], pages)) return -EFAULT;
  if (!space_mapped(a[0], pages * PAGE)) return -ENOMEM;
  u8 *out = (u8 *)a[2];
  for (u64 i = 0; i < pages; i++) out[i] = space_resident(a[0] + i * PAGE);
  return 0;
}
