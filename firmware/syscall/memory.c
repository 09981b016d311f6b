/* mmap and its family. */
#include "mm.h"
#include "file.h"
#include "lib.h"
#include "syscall.h"

enum { MADV_DONTNEED = 4, MADV_FREE = 8, MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2 };

i64 sys_mmap(const u64 *a) {
  u64 hint = a[0], size = a[1], offset = a[5];
  u32 prot = (u32)a[2] & 7, flags = (u32)a[3];
  u32 type = flags & MAP_TYPE;
  if (type == 0 || type > 3) return -EINVAL;
  if (flags & MAP_ANONYMOUS) return space_map(hint, size, prot, flags, NULL, 0);
  struct file *f = fd_get((int)a[4]);
  if (f == NULL) return -EBADF;
  if ((f->flags & O_ACCMODE) == O_WRONLY || (f->flags & O_PATH)) return -EACCES;
  if (f->ops->data == NULL && f->inode == NULL) return -ENODEV;
  /* Shared writable mappings of files would need write-back. */
  if (type != MAP_PRIVATE && (prot & PROT_WRITE)) return -ENODEV;
  return space_map(hint, size, prot, flags, f, offset);
}

i64 sys_munmap(const u64 *a) { return space_unmap(a[0], a[1]); }
i64 sys_mprotect(const u64 *a) { return space_protect(a[0], a[1], (u32)a[2] & 7); }

i64 sys_madvise(const u64 *a) {
  if (a[0] % PAGE != 0) return -EINVAL;
  return a[2] == MADV_DONTNEED || a[2] == MADV_FREE ? space_discard(a[0], a[1]) : 0;
}

static i64 move_mapping(const struct vma *v, u64 old, u64 old_size, u64 new_size) {
  u32 prot = v->prot;
  i64 to = space_map(0, new_size, prot | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
  if (to < 0) return to;
  memcpy((void *)to, (const void *)old, old_size);
  space_protect((u64)to, new_size, prot);
  space_unmap(old, old_size);
  return to;
}

i64 sys_mremap(const u64 *a) {
  u64 old = a[0], old_size = ALIGN_UP(a[1], PAGE), new_size = ALIGN_UP(a[2], PAGE);
  if (old % PAGE != 0 || new_size == 0 || old_size == 0) return -EINVAL;
  if (a[3] & ~(u64)MREMAP_MAYMOVE) return -EINVAL; /* MREMAP_FIXED, DONTUNMAP */
  const struct vma *v = space_find(old);
  if (v == NULL || v->end < old + old_size) return -EFAULT;
  if (new_size <= old_size) {
    if (new_size < old_size) space_unmap(old + new_size, old_size - new_size);
    return (i64)old;
  }
  if (v->file == NULL) {
    u32 flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    i64 grown = space_map(old + old_size, new_size - old_size, v->prot, flags, NULL, 0);
    if (grown >= 0) return (i64)old;
  }
  if (!(a[3] & MREMAP_MAYMOVE)) return -ENOMEM;
  return move_mapping(space_find(old), old, old_size, new_size);
}

i64 sys_brk(const u64 *a) {
  u64 want = a[0], have = ALIGN_UP(brk_end, PAGE), need = ALIGN_UP(want, PAGE);
  if (want < brk_start) return (i64)brk_end;
  if (need > have) {
    u32 flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (space_map(have, need - have, PROT_READ | PROT_WRITE, flags, NULL, 0) < 0) return (i64)brk_end;
  } else if (need < have) {
    space_unmap(need, have - need);
  }
  brk_end = want;
  return (i64)want;
}

i64 sys_msync(const u64 *a) { return a[0] % PAGE != 0 ? -EINVAL : 0; }
i64 sys_mlock(const u64 *a) {
  (void)a;
  return 0;
}
i64 sys_munlock(const u64 *a) {
  (void)a;
  return 0;
}

i64 sys_mincore(const u64 *a) {
  u64 pages = ALIGN_UP(a[1], PAGE) / PAGE;
  if (a[0] % PAGE != 0) return -EINVAL;
  if (!user_writable(a[2], pages)) return -EFAULT;
  u8 *out = (u8 *)a[2];
  for (u64 i = 0; i < pages; i++) {
    if (space_find(a[0] + i * PAGE) == NULL) return -ENOMEM;
    out[i] = tables_lookup(a[0] + i * PAGE) != 0;
  }
  return 0;
}
