/* The program's address space: what mmap and its family do.
 *
 * Each operation changes the mappings (vmas.c), then has the blocks' page tables follow (blocks.c). Private mappings of
 * files are copied when made, except whole blocks of an image that lie right for it: those are shown as they are and
 * copied at the first write. Shared mappings show the files' own pages. */
#include "arch.h"
#include "blocks.h"
#include "errno.h"
#include "exec.h"
#include "file.h"
#include "lib.h"
#include "sched.h"
#include "tables.h"
#include "vmas.h"

#define SIGKILL 9
#define OUT_OF_MEMORY 0x80          /* in the wait status of PORT_EXIT: memory was short (docs/machine.md) */
#define STACK_MAX (8 * MiB)         /* MAP_GROWSDOWN grows up to this */
#define STACK_GAP (256 * PAGE)      /* and leaves this free below */
#define LARGE_HINT (64 * MiB)        /* from this size on, a mapping goes where it asks to */
#define LOW_GAP_START 0x40000000ull /* MAP_32BIT looks from here on, as Linux does */

u64 brk_start, brk_end;

void space_init(void) { vmas_init(); }

/* The page tables follow, and the processor forgets what it knew. */
static bool settle(u64 start, u64 end) {
  bool done = blocks_sync(start, end);
  tables_flush();
  return done;
}

static bool valid_range(u64 start, u64 size) {
  if (start + size < start) return false;
  u64 end = start + size;
  return (start >= USER_MIN && end <= PROGRAM_END) || (start >= LOW_ARENA && end <= RESERVE_ARENA_END);
}

bool space_owns(u64 address) { return valid_range(address, 1); }

bool space_mapped(u64 start, u64 size) {
  if (start + size < start) return false;
  for (u64 at = start; at < start + size;) {
    const struct vma *v = vma_at(at);
    if (v == NULL) return false;
    at = v->end;
  }
  return true;
}

/* --- faults --- */

/* As Linux's OOM killer: the program has memory mapped that there is no room for. */
static _Noreturn void out_of_memory(void) {
  kprint("mayfly: out of memory: %lu MiB in use\n", (frames_total() - frames_free()) / MiB);
  process_exit(SIGKILL | OUT_OF_MEMORY);
}

/* A stack that grows down to where it is touched. */
static struct vma *grow_down(u64 address) {
  size_t i = vma_index(address);
  struct vma *v = vma_get(i), *below = i == 0 ? NULL : vma_get(i - 1);
  u64 start = ALIGN_DOWN(address, PAGE);
  if (v == NULL || !(v->flags & MAP_GROWSDOWN) || v->end - start > STACK_MAX || start < USER_MIN) return NULL;
  if (below != NULL && below->prot != PROT_NONE && start - below->end < STACK_GAP) return NULL;
  v->start = start;
  if (!stale_clear(start, v->end)) out_of_memory();
  return v;
}

static bool allows(const struct vma *v, u64 error) {
  if (error & FAULT_WRITE) return v->prot & PROT_WRITE;
  if (error & FAULT_FETCH) return v->prot & PROT_EXEC;
  return v->prot != PROT_NONE;
}

/* The tables already allow what faulted: the processor remembered an older entry, which the fault made it forget. Twice in
 * a row at one address it is something else. */
static enum fault not_for_long(u64 address, u64 edits) {
  static u64 last, last_edits;
  if (edits != SHARED->stat_edits) return FAULT_FIXED;
  bool again = address == last && SHARED->stat_edits == last_edits;
  last = address;
  last_edits = SHARED->stat_edits;
  return again ? FAULT_DENIED : FAULT_FIXED;
}

enum fault space_fault(u64 address, u64 error) {
  struct vma *v = vma_at(address);
  if (v == NULL) v = grow_down(address);
  if (v == NULL) return FAULT_UNMAPPED;
  if (!allows(v, error)) return FAULT_DENIED;
  if (address >= vma_file_end(v)) return FAULT_BEYOND;
  u64 edits = SHARED->stat_edits;
  if (v->flags & VMA_PAGES) {
    if (file_page(v->file, (v->offset + (address - v->start)) / PAGE, true) == NULL) return FAULT_BEYOND;
    if (!block_show_pages(address)) out_of_memory();
  } else if (!block_back(address, error & FAULT_WRITE) || !blocks_sync(address, address + 1)) {
    out_of_memory();
  }
  tables_flush();
  return not_for_long(address, edits);
}

bool space_poke(u64 address, const void *bytes, size_t n) {
  if (!space_mapped(address, n)) return false;
  EACH_BLOCK(address, address + n, at, next) {
    if (!block_back(at, true)) return false;
    memcpy(block_bytes(at), (const u8 *)bytes + (at - address), next - at);
  }
  tables_flush();
  return true;
}

void space_own(u64 address) {
  const struct vma *v = vma_at(address);
  if (v == NULL) return;
  if (v->flags & VMA_PAGES) space_fault(address, 0);
  else block_back(address, true);
  tables_flush();
}

/* --- contents --- */

/* Zeroes what is not zero yet: a page that never was touched may not even exist on the host. */
static bool zero_used(u64 start, u64 end) {
  for (u64 at = start; at < end; at += PAGE) {
    const u64 *words = block_bytes(at);
    if (words == NULL) {
      at = ALIGN_DOWN(at, BLOCK) + BLOCK - PAGE;
      continue;
    }
    size_t i = 0;
    while (i < PAGE / 8 && words[i] == 0) i++;
    if (i == PAGE / 8) continue;
    if (!block_back(at, true)) return false;
    memset(block_bytes(at), 0, PAGE);
  }
  return true;
}

/* Guest-physical address of the file's bytes in an image, 0 when they lie elsewhere. */
static u64 image_gpa_of(struct file *f, u64 offset, u64 size) {
  if (f == NULL || f->ops->data == NULL) return 0;
  const void *p = f->ops->data(f, offset, size);
  if (p == NULL || (u64)p < IMAGE_VA || (u64)p >= RAM_VA) return 0;
  return (u64)p - IMAGE_VA + IMAGE_GPA;
}

static bool show_image(u64 va, u64 next, const struct vma *v) {
  if (va % BLOCK != 0 || next != va + BLOCK || (v->prot & PROT_WRITE)) return false;
  u64 gpa = image_gpa_of(v->file, v->offset + (va - v->start), BLOCK);
  return gpa != 0 && gpa % BLOCK == 0 && block_show_image(va, gpa);
}

static bool copy_in(u64 start, u64 end, const struct vma *v) {
  if (!block_back(start, true)) return false;
  u8 *to = block_bytes(start);
  ssize_t n = file_read_at(v->file, to, end - start, (off_t)(v->offset + (start - v->start)));
  if (n < 0) n = 0;
  memset(to + n, 0, end - start - (u64)n);
  return true;
}

/* [start, end) of a private mapping gets the bytes that its file has now. */
static bool fill_from_file(const struct vma *v, u64 start, u64 end) {
  u64 beyond = MAX(start, MIN(end, vma_file_end(v)));
  stale_forget(start, beyond);
  EACH_BLOCK(start, beyond, at, next)
  if (!show_image(at, next, v) && !copy_in(at, next, v)) return false;
  return stale_clear(beyond, end);
}

/* A mapping becomes accessible for the first time. */
static bool first_contents(struct vma *v, u64 start) {
  v->flags = (v->flags | VMA_TOUCHED) & ~(u32)MAP_NORESERVE;
  return v->file == NULL ? stale_clear(start, v->end) : fill_from_file(v, start, v->end);
}

/* --- taking away --- */

/* Removes what is mapped in [start, end). Two slots must have been reserved. The tables do not follow yet. */
static void remove_range(u64 start, u64 end) {
  vma_split(start);
  vma_split(end);
  size_t i = vma_index(start);
  for (struct vma *v; (v = vma_get(i)) != NULL && v->start < end; vma_erase(i))
    if (v->flags & VMA_TOUCHED) stale_note(v->start, v->end);
}

i64 space_unmap(u64 start, u64 size) {
  if (start % PAGE != 0 || size == 0) return -EINVAL;
  size = ALIGN_UP(size, PAGE);
  if (!valid_range(start, size)) return -EINVAL;
  if (!vmas_reserve(2)) return -ENOMEM;
  remove_range(start, start + size);
  return settle(start, start + size) ? 0 : -ENOMEM;
}

/* Only what is mapped is gone through: the address space is large. */
void space_clear(void) {
  struct vma *v;
  while ((v = vma_get(0)) != NULL)
    if (space_unmap(v->start, v->end - v->start) != 0) panic("no memory to unmap");
  brk_start = brk_end = 0;
}

static bool may_be_written(const struct vma *v) {
  return !(v->flags & MAP_SHARED) || v->file == NULL || (v->file->flags & O_ACCMODE) == O_RDWR;
}

static i64 protect_one(struct vma *v, u32 prot) {
  if ((prot & PROT_WRITE) && !may_be_written(v)) return -EACCES;
  v->prot = prot;
  if (prot == PROT_NONE || (v->flags & (VMA_TOUCHED | VMA_PAGES))) return 0;
  return first_contents(v, v->start) ? 0 : -ENOMEM;
}

/* Up to the first hole or error, as Linux does. */
static i64 protect_range(u64 start, u64 end, u32 prot) {
  for (u64 at = start; at < end;) {
    struct vma *v = vma_at(at);
    i64 error = v == NULL ? -ENOMEM : protect_one(v, prot);
    if (error != 0) return error;
    at = v->end;
  }
  return 0;
}

i64 space_protect(u64 start, u64 size, u32 prot) {
  size = ALIGN_UP(size, PAGE);
  u64 end = start + size;
  if (start % PAGE != 0) return -EINVAL;
  if (size == 0) return 0;
  if (!valid_range(start, size) || !vmas_reserve(2)) return -ENOMEM;
  vma_split(start);
  vma_split(end);
  i64 result = protect_range(start, end, prot);
  vmas_merge(start, end);
  return settle(start, end) ? result : -ENOMEM;
}

static bool discard_one(const struct vma *v, u64 start, u64 end) {
  if ((v->flags & VMA_PAGES) || !(v->flags & VMA_TOUCHED)) return true;
  return v->file == NULL ? zero_used(start, end) : fill_from_file(v, start, end);
}

i64 space_discard(u64 start, u64 size) {
  for (u64 at = start; at < start + size;) {
    const struct vma *v = vma_at(at);
    if (v == NULL) return -ENOMEM;
    u64 end = MIN(v->end, start + size);
    if (!discard_one(v, at, end)) return -ENOMEM;
    at = end;
  }
  tables_flush();
  return 0;
}

void space_file_shrunk(struct inode *of) {
  struct vma *v;
  for (size_t i = 0; (v = vma_get(i)) != NULL; i++)
    if ((v->flags & VMA_PAGES) && v->file->inode == of) blocks_sync(v->start, v->end);
  tables_flush();
}

/* --- making --- */

static u64 low_gap(u64 size, struct file *file, u64 offset) {
  u64 gpa = size >= BLOCK ? image_gpa_of(file, offset, PAGE) : 0;
  u64 align = gpa != 0 ? BLOCK : PAGE, phase = gpa % align;
  u64 low = vmas_gap(LOW_ARENA, LOW_ARENA_END, size, align, phase);
  return low != 0 ? low : vmas_gap(HIGH_ARENA, HIGH_ARENA_END, size, align, phase);
}

static u64 choose_address(u64 size, u32 prot, u32 flags, struct file *file, u64 offset) {
  if (flags & MAP_32BIT) return vmas_gap(LOW_GAP_START, PROGRAM_END, size, PAGE, 0);
  if (flags & VMA_PAGES) return vmas_gap(SHARED_ARENA, RESERVE_ARENA_END, size, PAGE, 0);
  /* Large reservations end where a block does: what threads use first of their stacks lies in one block, and the guard
   * below it in another, which is never touched. */
  if (file == NULL && prot == PROT_NONE && size >= BLOCK)
    return vmas_gap(RESERVE_ARENA, SHARED_ARENA, size, BLOCK, -size % BLOCK);
  if (file != NULL || (prot & PROT_EXEC)) return low_gap(size, file, offset);
  return vmas_gap(HIGH_ARENA, HIGH_ARENA_END, size, PAGE, 0);
}

static bool is_free(u64 start, u64 size) {
  const struct vma *v = vma_get(vma_index(start));
  return v == NULL || v->start >= start + size;
}

/* Hints near the program are followed: V8 wants its code within reach of the built-ins, SBCL its static objects where its core
 * was saved. So are those of large mappings, such as heaps of languages. Others (V8's random ones) would take a block each. */
static bool hint_usable(u64 hint, u64 size, u32 flags) {
  if (hint == 0 || hint % PAGE != 0 || !valid_range(hint, size) || !is_free(hint, size)) return false;
  if (hint < PROGRAM_END) return hint >= brk_end + 64 * MiB;
  bool large = size >= LARGE_HINT && hint + size <= SHARED_ARENA;
  return large && !(flags & (MAP_32BIT | VMA_PAGES));
}

/* ld.so maps a whole library and then its segments over that: the same bytes at the same places need no second copy. */
static bool same_bytes(u64 start, u64 end, struct file *f, u64 offset) {
  const struct vma *v = vma_at(start);
  return v != NULL && v->end >= end && v->file != NULL && v->file->inode == f->inode && f->inode != NULL &&
         !(v->prot & PROT_WRITE) && (v->flags & VMA_TOUCHED) && v->offset + (start - v->start) == offset;
}

static i64 check_fixed(u64 start, u64 size, u32 flags) {
  if (start % PAGE != 0) return -EINVAL;
  if (!valid_range(start, size)) return start < USER_MIN ? -EPERM : -ENOMEM;
  const struct vma *v = vma_get(vma_index(start));
  return (flags & MAP_FIXED_NOREPLACE) && v != NULL && v->start < start + size ? -EEXIST : 0;
}

/* The new mapping is in the array: gives it its contents. */
static bool fill_new(struct vma *v, bool copied) {
  if (copied) {
    v->flags |= VMA_TOUCHED;
    stale_forget(v->start, v->end);
    return true;
  }
  return v->prot == PROT_NONE || (v->flags & VMA_PAGES) || first_contents(v, v->start);
}

static bool place(struct vma v, bool copied) {
  remove_range(v.start, v.end);
  size_t i = vma_index(v.start);
  vma_insert(i, v);
  bool filled = fill_new(vma_get(i), copied);
  if (!filled) {
    stale_note(v.start, v.end);
    vma_erase(vma_index(v.start));
  } else {
    vmas_merge(v.start, v.end);
  }
  return settle(v.start, v.end) && filled;
}

/* A shared mapping of a file shows its pages; but what lies in an image and cannot be written is not copied for it. */
static bool shows_pages(struct file *f, u32 flags) {
  if (f == NULL || !(flags & MAP_SHARED) || !file_has_end(f)) return false;
  return (f->flags & O_ACCMODE) == O_RDWR || image_gpa_of(f, 0, 1) == 0;
}

i64 space_map(u64 hint, u64 size, u32 prot, u32 flags, struct file *file, u64 offset) {
  const u32 kept = MAP_TYPE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE | MAP_GROWSDOWN | MAP_32BIT;
  if (size == 0 || offset % PAGE != 0) return -EINVAL;
  if (ALIGN_UP(size, PAGE) < size) return -ENOMEM;
  size = ALIGN_UP(size, PAGE);
  u32 own = shows_pages(file, flags) ? VMA_PAGES : 0;
  u64 start = hint;
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    i64 error = check_fixed(hint, size, flags);
    if (error != 0) return error;
  } else if (!hint_usable(hint, size, flags | own)) {
    start = choose_address(size, prot, (flags & MAP_32BIT) | own, file, offset);
    if (start == 0) return -ENOMEM;
  }
  if (!vmas_reserve(3)) return -ENOMEM;
  bool copied = file != NULL && own == 0 && same_bytes(start, start + size, file, offset);
  struct vma v = {start, start + size, prot, (flags & kept) | own, file, offset};
  if (!place(v, copied)) return -ENOMEM;
  if (flags & MAP_POPULATE) space_populate(start, size);
  return (i64)start;
}

/* As if each page had been touched. */
i64 space_populate(u64 start, u64 size) {
  for (u64 at = start; at < start + size; at += PAGE) {
    const struct vma *v = vma_at(at);
    if (v == NULL) return -ENOMEM;
    if (v->prot == PROT_NONE || at >= vma_file_end(v)) return -EFAULT;
    if (v->flags & VMA_PAGES) {
      if (space_fault(at, 0) != FAULT_FIXED) return -EFAULT;
    } else if (!block_back(at, v->prot & PROT_WRITE)) {
      return -ENOMEM;
    } else {
      at = MIN(v->end, ALIGN_DOWN(at, BLOCK) + BLOCK) - PAGE;
    }
  }
  tables_flush();
  return 0;
}

bool space_resident(u64 address) {
  const struct vma *v = vma_at(address);
  if (v->flags & VMA_PAGES) return file_page(v->file, (v->offset + (address - v->start)) / PAGE, false) != NULL;
  return (v->flags & VMA_TOUCHED) && block_backed(address);
}

/* --- moving --- */

/* Bytes of the block at `from`, which is backed or all zeroes, to `to`, which is zero so far. */
static bool copy_bytes(u64 to, u64 from, u64 size) {
  for (u64 done = 0, part; done < size; done += part) {
    u64 source = from + done, target = to + done;
    part = MIN(size - done, MIN(BLOCK - source % BLOCK, BLOCK - target % BLOCK));
    if (block_bytes(source) == NULL) continue;
    if (!block_back(target, true)) return false;
    memcpy(block_bytes(target), block_bytes(source), part);
  }
  return true;
}

/* v's first old_size bytes, which lie at old, also at v->start; what it has more than those is new. */
static bool fill_moved(struct vma *v, u64 old, u64 old_size) {
  if (!(v->flags & VMA_TOUCHED)) return true;
  u64 common = MIN(old_size, v->end - v->start);
  if (!stale_clear(v->start, v->start + common) || !copy_bytes(v->start, old, common)) return false;
  return first_contents(v, v->start + common);
}

static i64 move(const struct remap *r, u64 to) {
  const struct vma *from = vma_at(r->old);
  struct vma v = *from;
  v.offset += r->old - from->start;
  v.start = to;
  v.end = to + r->new_size;
  remove_range(v.start, v.end);
  size_t i = vma_index(v.start);
  vma_insert(i, v);
  bool filled = fill_moved(vma_get(i), r->old, r->old_size);
  u64 gone_start = r->old, gone_end = r->old + r->old_size;
  if (!filled) {
    stale_note(v.start, v.end);
    vma_erase(vma_index(v.start));
  } else if (r->keep_old) {
    filled = space_discard(gone_start, r->old_size) == 0;
  } else {
    remove_range(gone_start, gone_end);
  }
  bool settled = blocks_sync(gone_start, gone_end);
  return settle(v.start, v.end) && settled && filled ? (i64)to : -ENOMEM;
}

/* More of the same directly behind it, if nothing is there. */
static bool extend(const struct vma *v, u64 end) {
  const struct vma *next = vma_get(vma_index(v->end));
  if (!valid_range(v->start, end - v->start) || (next != NULL && next->start < end)) return false;
  struct vma more = *v;
  more.start = v->end;
  more.end = end;
  more.offset += v->end - v->start;
  more.flags &= ~VMA_TOUCHED;
  return place(more, false);
}

i64 space_remap(const struct remap *r) {
  const struct vma *v = vma_at(r->old);
  if (v == NULL || v->end - r->old < r->old_size) return -EFAULT;
  if (r->keep_old && (v->file != NULL || (v->flags & MAP_SHARED))) return -EINVAL;
  if (!vmas_reserve(8)) return -ENOMEM;
  u64 old_end = r->old + r->old_size, new_end = r->old + r->new_size;
  if (r->fixed) {
    i64 error = check_fixed(r->to, r->new_size, 0);
    if (error != 0) return error;
    return move(r, r->to);
  }
  if (!r->keep_old) {
    if (r->new_size == r->old_size) return (i64)r->old;
    if (r->new_size < r->old_size) {
      i64 error = space_unmap(new_end, old_end - new_end);
      return error != 0 ? error : (i64)r->old;
    }
    if (v->end == old_end && extend(v, new_end)) return (i64)r->old;
  }
  if (!r->may_move) return -ENOMEM;
  u64 to = choose_address(r->new_size, v->prot, v->flags & (VMA_PAGES | MAP_32BIT), v->file, v->offset);
  return to == 0 ? -ENOMEM : move(r, to);
}
