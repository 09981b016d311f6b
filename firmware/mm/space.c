/* The program's address space.
 *
 * Mappings are bookkeeping: a sorted array of vmas. Memory comes in 2 MiB blocks, mapped at the first touch of any
 * of their pages and then kept, whatever becomes of the mappings in them. Protection is checked where the kernel uses a
 * user pointer and when a fault arrives; the page tables only know "there" and "an image's, do not write".
 *
 * Unmapped bytes of a block that is there stay as they are and are noted as stale; the next mapping of them
 * clears them. Private mappings of files are copied when made, except whole blocks of an image that lie right
 * for it: those are mapped from the image and copied at the first write. */
#include "arch.h"
#include "errno.h"
#include "file.h"
#include "lib.h"
#include "mm.h"
#include "ranges.h"
#include "sched.h"

#define SIGKILL 9
#define OUT_OF_MEMORY 0x80    /* in the wait status of PORT_EXIT: memory was short (docs/machine.md) */
#define RESERVE_MIN (4 * MiB) /* PROT_NONE from this size on goes to the reserve arena, away from what is used */

#define VMA_TOUCHED 0x80000000u /* has been accessible: its bytes may be anything */

u64 brk_start, brk_end;

static struct vma *vmas;
static size_t vma_count, vma_capacity;
static struct range_set stale;

void space_init(void) {
  vma_capacity = 64;
  vmas = kmalloc(vma_capacity * sizeof *vmas);
  if (vmas == NULL) panic("no memory for the address space");
}

/* --- the array --- */

/* Index of the first vma that ends above address. */
static size_t index_of(u64 address) {
  size_t low = 0, high = vma_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (vmas[middle].end > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

static struct vma *lookup(u64 address) {
  static size_t last; /* most look-ups hit the same vma as the one before */
  if (last < vma_count && vmas[last].start <= address && address < vmas[last].end) return &vmas[last];
  size_t i = index_of(address);
  if (i == vma_count || vmas[i].start > address) return NULL;
  last = i;
  return &vmas[i];
}

const struct vma *space_find(u64 address) { return lookup(address); }

const struct vma *space_list(size_t *count) {
  *count = vma_count;
  return vmas;
}

static bool reserve_slots(size_t extra) {
  if (vma_count + extra <= vma_capacity) return true;
  struct vma *grown = krealloc(vmas, 2 * vma_capacity * sizeof *vmas);
  if (grown == NULL) return false;
  vmas = grown;
  vma_capacity *= 2;
  return true;
}

static void insert_at(size_t i, struct vma v) {
  memmove(vmas + i + 1, vmas + i, (vma_count - i) * sizeof *vmas);
  vmas[i] = v;
  vma_count++;
}

static void erase_at(size_t i) {
  if (vmas[i].file != NULL) file_put(vmas[i].file);
  vma_count--;
  memmove(vmas + i, vmas + i + 1, (vma_count - i) * sizeof *vmas);
}

/* Makes `address` a border between vmas. Slots must have been reserved. */
static void split_at(u64 address) {
  struct vma *v = lookup(address);
  if (v == NULL || v->start == address) return;
  struct vma upper = *v;
  upper.start = address;
  upper.offset += address - v->start;
  if (upper.file != NULL) file_ref(upper.file);
  v->end = address;
  insert_at((size_t)(v - vmas) + 1, upper);
}

static bool mergeable(const struct vma *a, const struct vma *b) {
  return a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->file == NULL && b->file == NULL;
}

static void merge_around(size_t i) {
  if (i + 1 < vma_count && mergeable(&vmas[i], &vmas[i + 1])) {
    vmas[i].end = vmas[i + 1].end;
    erase_at(i + 1);
  }
  if (i > 0 && mergeable(&vmas[i - 1], &vmas[i])) {
    vmas[i - 1].end = vmas[i].end;
    erase_at(i);
  }
}

/* --- user pointers --- */

static bool covered(u64 address, u64 size, u32 prot) {
  if (size == 0) return true;
  if (address + size < address) return false;
  for (u64 at = address; at < address + size;) {
    const struct vma *v = lookup(at);
    if (v == NULL || (v->prot & prot) != prot) return false;
    at = v->end;
  }
  return true;
}

bool user_readable(u64 address, u64 size) { return covered(address, size, PROT_READ); }
bool user_writable(u64 address, u64 size) { return covered(address, size, PROT_WRITE); }

ssize_t user_strlen(u64 address, size_t max) {
  size_t n = 0;
  while (n < max) {
    const struct vma *v = lookup(address + n);
    if (v == NULL || !(v->prot & PROT_READ)) return -EFAULT;
    size_t part = MIN(v->end - (address + n), max - n);
    size_t found = strnlen((const char *)(address + n), part);
    n += found;
    if (found < part) return (ssize_t)n;
  }
  return -ENAMETOOLONG;
}

/* --- blocks --- */

static bool block_map(u64 va) {
  void *block = block_alloc_zeroed();
  if (block == NULL) return false;
  if (tables_map(va, ram_gpa(block), true)) return true;
  page_free(block, 9);
  return false;
}

/* The block holds an image's bytes and is about to be written. */
static bool block_copy(u64 va, u64 entry) {
  void *block = page_alloc(9);
  if (block == NULL) return false;
  SHARED->stat_blocks++;
  memcpy(block, (const void *)(IMAGE_VA + (entry_gpa(entry) - IMAGE_GPA)), BLOCK);
  tables_remap(va, ram_gpa(block), true);
  return true;
}

bool space_make_writable(u64 va) {
  va = ALIGN_DOWN(va, BLOCK);
  u64 entry = tables_lookup(va);
  if (entry == 0) return block_map(va);
  return entry_writable(entry) || block_copy(va, entry);
}

static bool blocks_writable(u64 start, u64 end) {
  for (u64 va = ALIGN_DOWN(start, BLOCK); va < end; va += BLOCK)
    if (!space_make_writable(va)) return false;
  return true;
}

/* As Linux's OOM killer: the program has memory mapped that there is no room for. */
static _Noreturn void out_of_memory(void) {
  kprint("mayfly: out of memory: %lu MiB in use\n", (frames_total() - frames_free()) / MiB);
  process_exit(SIGKILL | OUT_OF_MEMORY);
}

bool space_fault(u64 address, bool write) {
  const struct vma *v = lookup(address);
  if (v == NULL || v->prot == PROT_NONE || (write && !(v->prot & PROT_WRITE))) return false;
  u64 entry = tables_lookup(address);
  if (entry != 0 && !(write && !entry_writable(entry))) return false; /* not a page's absence: a real fault */
  if (!space_make_writable(address)) out_of_memory();
  return true;
}

/* --- taking away --- */

static void note_stale(u64 start, u64 end) {
  for (u64 va = start; va < end;) {
    u64 next = MIN(end, ALIGN_DOWN(va, BLOCK) + BLOCK);
    u64 entry = tables_lookup(va);
    if (entry != 0) ranges_add(&stale, va, next);
    va = next;
  }
}

static void clear_range(u64 start, u64 end) {
  if (blocks_writable(start, end)) memset((void *)start, 0, end - start);
}

/* Like clear_range, but a page that is zero already is not written: it may not even exist on the host. */
static void clear_used(u64 start, u64 end) {
  for (u64 va = start; va < end; va += PAGE) {
    u64 entry = tables_lookup(va);
    if (entry == 0) {
      va = ALIGN_DOWN(va, BLOCK) + BLOCK - PAGE;
      continue;
    }
    const u64 *words = (const u64 *)va;
    size_t i = 0;
    while (i < PAGE / 8 && words[i] == 0) i++;
    if (i < PAGE / 8) clear_range(va, va + PAGE);
  }
}

/* Removes what is mapped in [start, end). Two slots must have been reserved. */
static void remove_range(u64 start, u64 end) {
  split_at(start);
  split_at(end);
  size_t i = index_of(start);
  while (i < vma_count && vmas[i].start < end) {
    if (vmas[i].flags & VMA_TOUCHED) note_stale(vmas[i].start, vmas[i].end);
    erase_at(i);
  }
}

static bool valid_range(u64 start, u64 size) {
  if (start + size < start) return false;
  u64 end = start + size;
  return (start >= USER_MIN && end <= PROGRAM_END) || (start >= LOW_ARENA && end <= RESERVE_ARENA_END);
}

i64 space_unmap(u64 start, u64 size) {
  if (start % PAGE != 0 || size == 0) return -EINVAL;
  size = ALIGN_UP(size, PAGE);
  if (!valid_range(start, size)) return -EINVAL;
  if (!reserve_slots(2)) return -ENOMEM;
  remove_range(start, start + size);
  return 0;
}

static void set_protection(struct vma *v, u32 prot) {
  v->prot = prot;
  if (prot == PROT_NONE || (v->flags & VMA_TOUCHED)) return;
  v->flags |= VMA_TOUCHED;
  ranges_take(&stale, v->start, v->end, clear_range);
}

i64 space_protect(u64 start, u64 size, u32 prot) {
  if (start % PAGE != 0) return -EINVAL;
  size = ALIGN_UP(size, PAGE);
  if (size == 0) return 0;
  if (start + size < start || !covered(start, size, 0)) return -ENOMEM;
  if (!reserve_slots(2)) return -ENOMEM;
  split_at(start);
  split_at(start + size);
  size_t i = index_of(start);
  for (; i < vma_count && vmas[i].start < start + size; i++) set_protection(&vmas[i], prot);
  /* Neighbours that became alike, from above so that the indices hold. */
  size_t low = index_of(start);
  while (i > low) {
    i--;
    if (i + 1 < vma_count && mergeable(&vmas[i], &vmas[i + 1])) merge_around(i);
  }
  if (low < vma_count) merge_around(low);
  return 0;
}

i64 space_discard(u64 start, u64 size) {
  if (start % PAGE != 0) return -EINVAL;
  size = ALIGN_UP(size, PAGE);
  if (!covered(start, size, 0)) return -ENOMEM;
  for (u64 at = start; at < start + size;) {
    const struct vma *v = lookup(at);
    u64 end = MIN(v->end, start + size);
    if (v->file == NULL && v->prot != PROT_NONE) clear_used(at, end);
    at = end;
  }
  return 0;
}

/* --- making --- */

/* Lowest gap of `size` bytes in [from, to) whose start is congruent to `phase` modulo `align`. */
static u64 find_gap(u64 from, u64 to, u64 size, u64 align, u64 phase) {
  u64 at = ALIGN_UP(from - phase, align) + phase;
  for (size_t i = index_of(from); at + size <= to; i++) {
    if (i == vma_count || vmas[i].start >= at + size) return at;
    if (vmas[i].end > at) at = ALIGN_UP(vmas[i].end - phase, align) + phase;
  }
  return 0;
}

/* Guest-physical address of the file's bytes in an image, 0 when they lie elsewhere. */
static u64 image_gpa_of(struct file *f, u64 offset, u64 size) {
  if (f == NULL || f->ops->data == NULL) return 0;
  const void *p = f->ops->data(f, offset, size);
  if (p == NULL || (u64)p < IMAGE_VA || (u64)p >= RAM_VA) return 0;
  return (u64)p - IMAGE_VA + IMAGE_GPA;
}

static u64 choose_address(u64 size, u32 prot, struct file *file, u64 offset) {
  if (file == NULL && !(prot & PROT_EXEC)) {
    if (prot == PROT_NONE && size >= RESERVE_MIN) return find_gap(RESERVE_ARENA, RESERVE_ARENA_END, size, PAGE, 0);
    return find_gap(HIGH_ARENA, HIGH_ARENA_END, size, PAGE, 0);
  }
  u64 align = PAGE, phase = 0;
  u64 gpa = size >= BLOCK ? image_gpa_of(file, offset, PAGE) : 0;
  if (gpa != 0) {
    align = BLOCK;
    phase = gpa % BLOCK;
  }
  u64 low = find_gap(LOW_ARENA, LOW_ARENA_END, size, align, phase);
  return low != 0 ? low : find_gap(HIGH_ARENA, HIGH_ARENA_END, size, align, phase);
}

static bool hint_usable(u64 hint, u64 size) {
  /* Only hints near the program are worth following: V8 wants its code within reach of the built-ins. Random ones
   * (V8's heap) would take a block each. */
  if (hint == 0 || hint % PAGE != 0 || hint < USER_MIN || hint + size > PROGRAM_END || hint + size < hint) return false;
  if (hint < brk_end + 64 * MiB) return false;
  size_t i = index_of(hint);
  return i == vma_count || vmas[i].start >= hint + size;
}

/* The part of a file that is copied rather than mapped from its image. */
static bool copy_in(u64 start, u64 end, struct file *f, u64 offset) {
  if (!blocks_writable(start, end)) return false;
  ssize_t n = file_read_at(f, (void *)start, end - start, (off_t)offset);
  if (n < 0) n = 0;
  memset((void *)(start + (u64)n), 0, end - start - (u64)n);
  return true;
}

static bool map_image_block(u64 va, struct file *f, u64 offset) {
  if (tables_lookup(va) != 0) return false;
  u64 gpa = image_gpa_of(f, offset, BLOCK);
  return gpa != 0 && gpa % BLOCK == 0 && tables_map(va, gpa, false);
}

static void forget(u64 start, u64 end) {
  (void)start;
  (void)end;
}

static bool populate(u64 start, u64 end, u32 prot, struct file *f, u64 offset) {
  ranges_take(&stale, start, end, forget);
  for (u64 va = start; va < end;) {
    u64 next = MIN(end, ALIGN_DOWN(va, BLOCK) + BLOCK);
    bool whole = va % BLOCK == 0 && next == va + BLOCK && !(prot & PROT_WRITE);
    u64 at = offset + (va - start);
    if (!(whole && map_image_block(va, f, at)) && !copy_in(va, next, f, at)) return false;
    va = next;
  }
  return true;
}

/* ld.so maps a whole library and then its segments over that: the same bytes at the same places need no second copy. */
static bool same_bytes(u64 start, u64 end, struct file *f, u64 offset) {
  const struct vma *v = lookup(start);
  return v != NULL && v->end >= end && v->file != NULL && v->file->inode == f->inode && f->inode != NULL &&
         !(v->prot & PROT_WRITE) && v->offset + (start - v->start) == offset;
}

i64 space_map(u64 hint, u64 size, u32 prot, u32 flags, struct file *file, u64 offset) {
  size = ALIGN_UP(size, PAGE);
  if (size == 0 || offset % PAGE != 0) return -EINVAL;
  u64 start = hint;
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    if (hint % PAGE != 0) return -EINVAL;
    if (!valid_range(hint, size)) return hint < USER_MIN ? -EPERM : -ENOMEM;
    size_t i = index_of(hint);
    if ((flags & MAP_FIXED_NOREPLACE) && i < vma_count && vmas[i].start < hint + size) return -EEXIST;
  } else if (!hint_usable(hint, size)) {
    start = choose_address(size, prot, file, offset);
    if (start == 0) return -ENOMEM;
  }
  if (!reserve_slots(3)) return -ENOMEM;
  u64 end = start + size;
  bool copied = file != NULL && same_bytes(start, end, file, offset);
  remove_range(start, end);
  if (file != NULL) file_ref(file);
  size_t i = index_of(start);
  u32 kept = flags & (MAP_TYPE | MAP_ANONYMOUS | MAP_STACK);
  insert_at(i, (struct vma){start, end, PROT_NONE, kept, file, offset});
  if (copied) ranges_take(&stale, start, end, forget);
  if (file == NULL || copied) set_protection(&vmas[i], prot);
  else if (!populate(start, end, prot, file, offset)) {
    space_unmap(start, size);
    return -ENOMEM;
  } else {
    vmas[i].prot = prot;
    vmas[i].flags |= VMA_TOUCHED;
  }
  if (file == NULL) merge_around(i);
  return (i64)start;
}
