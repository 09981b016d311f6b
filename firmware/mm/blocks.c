/* The program's memory in 2 MiB blocks.
 *
 * A block gets RAM (or an image's bytes) when one of its pages is first touched. It is mapped by one entry while all of
 * it has the same protection, else by a table of 4 KiB pages. Tables change when a protection does, not when memory is
 * used; docs/decisions/0009 has the reasons for what may differ (LENIENT below). */
#include "blocks.h"
#include "arch.h"
#include "file.h"
#include "lib.h"
#include "ranges.h"
#include "tables.h"
#include "vmas.h"

#define SLACK (64 * KiB)
/* A change of this size pays for an entry and a flush: first touches through 4 KiB entries cost more. */
#define MERGE_MIN (256 * KiB)
#define LENIENT (~0ull) /* not mapped, never was accessible: the tables need not tell */
#define MIXED (~1ull)   /* no one entry serves the whole block */

static struct range_set stale;

/* Given up once, and given up again: allocators that return the same memory over and over (malloc's trimming, V8's pages)
 * would pay for edits, a flush and first touches each time. The tables tell the first time, and no more after that. */
static struct range_set returned, churned;

/* --- what the mappings ask for: flags of an entry, 0 = no access, or LENIENT --- */

static u64 flags_of(u32 prot) {
  if (prot == PROT_NONE) return 0;
  return PRESENT | USER | ACCESSED | DIRTY | (prot & PROT_WRITE ? WRITABLE : 0) | (prot & PROT_EXEC ? 0 : NO_EXECUTE);
}

/* Holes between anonymous mappings, and what the heap will grow into. */
static bool lenient_hole(u64 address) {
  if (address >= HIGH_ARENA && address < HIGH_ARENA_END) return true;
  return brk_end != 0 && address >= brk_end && address < ALIGN_UP(brk_end, BLOCK);
}

static u64 wanted_of_stale(u64 at, u64 *until) { return ranges_hold(&churned, at, until) ? LENIENT : 0; }

static u64 wanted_of_hole(u64 at, u64 *until) {
  if (ranges_hold(&stale, at, until)) return wanted_of_stale(at, until);
  if (at < brk_end) *until = MIN(*until, brk_end);
  return lenient_hole(at) ? LENIENT : 0;
}

/* Memory that is reserved to be committed bit by bit (MAP_NORESERVE). Small ones lie between memory in use: V8 aligns its
 * pages so. Large ones are told from memory in use to 64 KiB, which is WebAssembly's page. */
static u64 wanted_of_reservation(const struct vma *v, u64 at, u64 *until) {
  if (ranges_hold(&stale, at, until)) return wanted_of_stale(at, until);
  if (at >= HIGH_ARENA && at < HIGH_ARENA_END) return LENIENT;
  const struct vma *below = vma_at(v->start - 1);
  u64 end = ALIGN_UP(v->start, SLACK);
  if (below == NULL || below->prot == PROT_NONE || at >= end || v->end - v->start < BLOCK) return 0;
  *until = MIN(*until, end);
  return LENIENT;
}

static u64 wanted_of_mapping(const struct vma *v, u64 at, u64 *until) {
  u64 end = vma_file_end(v);
  if (at >= end) return 0;
  *until = MIN(*until, end);
  bool reservation = v->prot == PROT_NONE && (v->flags & MAP_NORESERVE) && !(v->flags & VMA_TOUCHED);
  return reservation ? wanted_of_reservation(v, at, until) : flags_of(v->prot);
}

/* For the bytes from `at` to *until, which this may lower. *v: their mapping, or NULL. */
static u64 wanted(u64 at, u64 *until, const struct vma **v) {
  const struct vma *next = vma_get(vma_index(at));
  bool mapped = next != NULL && next->start <= at;
  *v = mapped ? next : NULL;
  if (next != NULL) *until = MIN(*until, mapped ? next->end : next->start);
  return mapped ? wanted_of_mapping(next, at, until) : wanted_of_hole(at, until);
}

static u64 wanted_of_block(u64 va) {
  u64 common = LENIENT;
  for (u64 at = va, until; at < va + BLOCK; at = until) {
    const struct vma *v;
    until = va + BLOCK;
    u64 flags = wanted(at, &until, &v);
    if (v != NULL && (v->flags & VMA_PAGES)) return MIXED;
    if (flags == LENIENT || flags == common) continue;
    if (common != LENIENT) return MIXED;
    common = flags;
  }
  return common == LENIENT ? flags_of(PROT_READ | PROT_WRITE) : common;
}

static bool unmapped(u64 va) {
  const struct vma *v = vma_get(vma_index(va));
  return v == NULL || v->start >= va + BLOCK;
}

/* --- what backs a block --- */

static u64 gpa_in(u64 entry) {
  return entry_is_table(entry) ? *table_backing(entry_table(entry)) : entry & ADDRESS_MASK;
}

static u64 gpa_of_block(u64 va) {
  const u64 *slot = tables_slot(va, false);
  return slot == NULL ? 0 : gpa_in(*slot);
}

static bool is_image(u64 gpa) { return gpa >= IMAGE_GPA; }

static void *pointer_to(u64 gpa) { return is_image(gpa) ? (void *)(IMAGE_VA + (gpa - IMAGE_GPA)) : ram_pointer(gpa); }

bool block_backed(u64 address) { return gpa_of_block(address) != 0; }

void *block_bytes(u64 address) {
  u64 gpa = gpa_of_block(address);
  return gpa == 0 ? NULL : pointer_to(gpa + address % BLOCK);
}

/* --- entries --- */

/* An image's bytes are copied before they are written. */
static u64 entry_for(u64 gpa, u64 flags) { return gpa | (is_image(gpa) ? flags & ~(u64)WRITABLE : flags); }

static u64 entry_for_file_page(const struct vma *v, u64 at, u64 flags) {
  const void *page = flags == 0 ? NULL : file_page(v->file, (v->offset + (at - v->start)) / PAGE, false);
  return page == NULL ? 0 : entry_for(ram_gpa(page), flags);
}

static u64 entry_for_own_page(u64 gpa, u64 flags, u64 old) {
  if (gpa == 0) return 0;
  if (flags != LENIENT) return flags == 0 ? 0 : entry_for(gpa, flags);
  /* So that using it later needs no edit. */
  return (old & ADDRESS_MASK) == gpa ? old : entry_for(gpa, flags_of(PROT_READ | PROT_WRITE));
}

static void table_fill(u64 *table, u64 va, bool fresh) {
  u64 gpa = *table_backing(table);
  for (u64 at = va, until; at < va + BLOCK; at = until) {
    const struct vma *v;
    until = va + BLOCK;
    u64 flags = wanted(at, &until, &v);
    bool shared = v != NULL && (v->flags & VMA_PAGES);
    for (u64 page = at; page < until; page += PAGE) {
      u64 *entry = &table[(page - va) / PAGE];
      u64 own = gpa == 0 ? 0 : gpa + (page - va);
      u64 value = shared ? entry_for_file_page(v, page, flags) : entry_for_own_page(own, flags, *entry);
      if (fresh) *entry = value; /* nobody sees the table yet */
      else entry_set(entry, value);
    }
  }
}

/* A block that only shows pages of files loses its table; a fault makes it again. */
static bool let_go(u64 va) {
  u64 *slot = tables_slot(va, false);
  if (slot == NULL || !entry_is_table(*slot) || gpa_in(*slot) != 0) return false;
  u64 *table = entry_table(*slot);
  entry_set(slot, 0);
  table_free(table);
  return true;
}

/* Several at once: a flush follows. In turns, from where the last time ended. */
static size_t let_tables_go(void) {
  enum { AT_ONCE = 32 };
  static u64 from = SHARED_ARENA;
  size_t count = 0;
  const struct vma *v;
  for (size_t i = vma_index(from); count < AT_ONCE && (v = vma_get(i)) != NULL; i++)
    for (u64 va = ALIGN_DOWN(MAX(v->start, from), BLOCK); va < v->end && count < AT_ONCE; va += BLOCK, from = va)
      count += let_go(va);
  if (count == 0) from = SHARED_ARENA;
  return count;
}

static bool make_room(void) { return let_tables_go() > 0 || let_tables_go() > 0; }

static u64 *slot_make(u64 va) {
  u64 *slot = tables_slot(va, true);
  return slot == NULL && make_room() ? tables_slot(va, true) : slot;
}

static bool make_table(u64 *slot, u64 va, u64 gpa) {
  u64 *table = table_new(gpa);
  if (table == NULL && make_room()) table = table_new(gpa);
  if (table == NULL) return false;
  table_fill(table, va, true);
  entry_set(slot, table_entry(table));
  return true;
}

static void drop(u64 *slot, u64 va) {
  u64 old = *slot, gpa = gpa_in(old);
  entry_set(slot, 0);
  if (entry_is_table(old)) table_free(entry_table(old));
  if (gpa != 0 && !is_image(gpa)) {
    page_free(ram_pointer(gpa), 9);
    SHARED->stat_blocks--;
  }
  stale_forget(va, va + BLOCK);
}

static void set_whole(u64 *slot, u64 gpa, u64 flags) {
  u64 old = *slot;
  /* Without access it keeps its address, so that the bytes are found again. */
  entry_set(slot, entry_for(gpa, flags) | LARGE);
  if (entry_is_table(old)) table_free(entry_table(old));
}

/* The block is backed by gpa (0: by nothing of its own), and `changed` of its bytes got another mapping: writes its
 * entries. */
static bool block_set(u64 *slot, u64 va, u64 gpa, u64 changed) {
  u64 flags = wanted_of_block(va);
  bool table = entry_is_table(*slot);
  if (gpa != 0 && flags != MIXED && (!table || changed >= MERGE_MIN)) set_whole(slot, gpa, flags);
  else if (table) {
    *table_backing(entry_table(*slot)) = gpa;
    table_fill(entry_table(*slot), va, false);
  } else if (flags == MIXED) {
    return make_table(slot, va, gpa);
  }
  return true;
}

bool blocks_sync(u64 start, u64 end) {
  for (u64 va = ALIGN_DOWN(start, BLOCK); va < end;) {
    u64 *slot = tables_slot(va, false);
    if (slot == NULL) { /* not even a table for this GiB */
      va = ALIGN_DOWN(va, GiB) + GiB;
      continue;
    }
    if (*slot != 0) {
      if (unmapped(va)) drop(slot, va);
      else if (!block_set(slot, va, gpa_in(*slot), MIN(end, va + BLOCK) - MAX(start, va))) return false;
    }
    va += BLOCK;
  }
  return true;
}

static bool replace(u64 *slot, u64 va, void *block) {
  if (block == NULL) return false;
  SHARED->stat_blocks++;
  if (block_set(slot, va, ram_gpa(block), 0)) return true;
  SHARED->stat_blocks--;
  page_free(block, 9);
  return false;
}

bool block_back(u64 address, bool own) {
  u64 va = ALIGN_DOWN(address, BLOCK);
  u64 *slot = slot_make(va);
  if (slot == NULL) return false;
  u64 gpa = gpa_in(*slot);
  if (gpa == 0) return replace(slot, va, block_alloc_zeroed());
  if (!own || !is_image(gpa)) return true;
  void *block = page_alloc(9);
  if (block != NULL) memcpy(block, pointer_to(gpa), BLOCK);
  return replace(slot, va, block);
}

bool block_show_image(u64 va, u64 gpa) {
  u64 *slot = slot_make(va);
  return slot != NULL && *slot == 0 && block_set(slot, va, gpa, BLOCK);
}

/* A page of a file is shown now: the block needs a table, but no RAM of its own. */
bool block_show_pages(u64 address) {
  u64 va = ALIGN_DOWN(address, BLOCK);
  u64 *slot = slot_make(va);
  return slot != NULL && block_set(slot, va, gpa_in(*slot), 0);
}

/* --- stale bytes --- */

static void note_return(u64 start, u64 end) {
  for (u64 at = start, until; at < end; at = until) {
    until = end;
    if (ranges_hold(&returned, at, &until)) ranges_add(&churned, at, until);
  }
  ranges_add(&returned, start, end);
}

void stale_note(u64 start, u64 end) {
  EACH_BLOCK(start, end, at, next) {
    if (!block_backed(at)) continue;
    ranges_add(&stale, at, next);
    note_return(at, next);
  }
}

void stale_forget(u64 start, u64 end) { ranges_take(&stale, start, end, NULL); }

static bool cleared;

static void clear(u64 start, u64 end) {
  EACH_BLOCK(start, end, at, next) {
    if (!block_backed(at)) continue;
    if (block_back(at, true)) memset(block_bytes(at), 0, next - at);
    else cleared = false;
  }
}

bool stale_clear(u64 start, u64 end) {
  cleared = true;
  ranges_take(&stale, start, end, clear);
  return cleared;
}
