/* The program's mappings, and the questions that system calls ask of them before they use a pointer. */
#include "vmas.h"
#include "errno.h"
#include "file.h"
#include "lib.h"

static struct vma *vmas;
static size_t vma_count, vma_capacity;

void vmas_init(void) {
  vma_capacity = 64;
  vmas = kmalloc(vma_capacity * sizeof *vmas);
  if (vmas == NULL) panic("no memory for the address space");
}

size_t vma_index(u64 address) {
  size_t low = 0, high = vma_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (vmas[middle].end > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

struct vma *vma_get(size_t i) {
  return i < vma_count ? &vmas[i] : NULL;
}

struct vma *vma_at(u64 address) {
  static size_t last; /* most look-ups hit the same vma as the one before */
  if (last < vma_count && vmas[last].start <= address && address < vmas[last].end) return &vmas[last];
  size_t i = vma_index(address);
  if (i == vma_count || vmas[i].start > address) return NULL;
  last = i;
  return &vmas[i];
}

const struct vma *space_find(u64 address) { return vma_at(address); }

const struct vma *space_list(size_t *count) {
  *count = vma_count;
  return vmas;
}

bool vmas_reserve(size_t extra) {
  if (vma_count + extra <= vma_capacity) return true;
  struct vma *grown = krealloc(vmas, 2 * vma_capacity * sizeof *vmas);
  if (grown == NULL) return false;
  vmas = grown;
  vma_capacity *= 2;
  return true;
}

void vma_insert(size_t i, struct vma v) {
  if (v.file != NULL) file_ref(v.file);
  if (v.flags & VMA_PAGES) file_count_mapping(v.file, 1);
  memmove(vmas + i + 1, vmas + i, (vma_count - i) * sizeof *vmas);
  vmas[i] = v;
  vma_count++;
}

void vma_erase(size_t i) {
  if (vmas[i].flags & VMA_PAGES) file_count_mapping(vmas[i].file, -1);
  if (vmas[i].file != NULL) file_put(vmas[i].file);
  vma_count--;
  memmove(vmas + i, vmas + i + 1, (vma_count - i) * sizeof *vmas);
}

void vma_split(u64 address) {
  struct vma *v = vma_at(address);
  if (v == NULL || v->start == address) return;
  struct vma upper = *v;
  upper.start = address;
  upper.offset += address - v->start;
  v->end = address;
  vma_insert((size_t)(v - vmas) + 1, upper);
}

static bool mergeable(const struct vma *a, const struct vma *b) {
  if (a->end != b->start || a->prot != b->prot || a->flags != b->flags || a->file != b->file) return false;
  return a->file == NULL || a->offset + (a->end - a->start) == b->offset;
}

/* Neighbours in and around [start, end) that became alike; from above, so that the indices hold. */
void vmas_merge(u64 start, u64 end) {
  size_t i = vma_index(end);
  if (i == vma_count) i--;
  for (; i > 0 && i < vma_count && vmas[i].end >= start; i--) {
    if (!mergeable(&vmas[i - 1], &vmas[i])) continue;
    vmas[i - 1].end = vmas[i].end;
    vma_erase(i);
  }
}

u64 vmas_gap(u64 from, u64 to, u64 size, u64 align, u64 phase) {
  u64 at = ALIGN_UP(from - phase, align) + phase;
  for (size_t i = vma_index(from); at + size <= to; i++) {
    if (i == vma_count || vmas[i].start >= at + size) return at;
    if (vmas[i].end > at) at = ALIGN_UP(vmas[i].end - phase, align) + phase;
  }
  return 0;
}

u64 vma_file_end(const struct vma *v) {
  if (v->file == NULL || !file_has_end(v->file)) return v->end;
  u64 size = ALIGN_UP(file_size(v->file), PAGE);
  return size <= v->offset ? v->start : MIN(v->end, v->start + (size - v->offset));
}

/* --- user pointers --- */

static bool covered(u64 address, u64 size, u32 prot) {
  if (size == 0) return true;
  if (address + size < address) return false;
  for (u64 at = address; at < address + size;) {
    const struct vma *v = vma_at(at);
    if (v == NULL || !(v->prot & prot)) return false;
    u64 end = vma_file_end(v);
    if (at >= end) return false;
    at = end;
  }
  return true;
}

/* The processor knows no memory that can be written or executed and not read. */
bool user_readable(u64 address, u64 size) { return covered(address, size, PROT_READ | PROT_WRITE | PROT_EXEC); }
bool user_writable(u64 address, u64 size) { return covered(address, size, PROT_WRITE); }

bool still_there(const struct held *held) {
  u32 prot = held != NULL && held->writable ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;
  for (u32 i = 0; held != NULL && i < held->count; i++)
    if (!covered((u64)held->spans[i].data, held->spans[i].size, prot)) return false;
  return true;
}

ssize_t user_strlen(u64 address, size_t max) {
  size_t n = 0;
  while (n <= max) {
    if (!user_readable(address + n, 1)) return -EFAULT;
    size_t part = MIN(vma_file_end(vma_at(address + n)) - (address + n), max + 1 - n);
    size_t found = strnlen((const char *)(address + n), part);
    n += found;
    if (found < part) return (ssize_t)n;
  }
  return -ENAMETOOLONG;
}
