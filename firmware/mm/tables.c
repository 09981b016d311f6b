/* Page tables: four levels, leaves of 2 MiB and, where a block needs it, of 4 KiB. Accessed and dirty are set from the
 * start, so that the processor never writes them. The VMM made the window, RAM, images and MMIO; here the program's
 * blocks are added. An edit costs tens of microseconds where KVM shadows page tables. */
#include "tables.h"
#include "arch.h"
#include "lib.h"
#include "mm.h"

#define POOL_PAGES ((PT_END_GPA - PT_GPA) / PAGE)
#define LINK (PRESENT | WRITABLE | USER | ACCESSED | DIRTY)

static u64 pool_next;
static u16 free_pages[POOL_PAGES]; /* indices of pages that were tables */
static size_t free_count;
static u64 backing[POOL_PAGES]; /* of tables of 4 KiB pages: the block's own RAM */
static bool flush_due;

void tables_init(void) { pool_next = BOOT->pt_next; }

static u64 *table_at(u64 gpa) { return (u64 *)(WINDOW_VA + gpa); }
static u64 gpa_of(const u64 *table) { return (u64)table - WINDOW_VA; }
static size_t index_of(const u64 *table) { return (gpa_of(table) - PT_GPA) / PAGE; }

static u64 *page_take(void) {
  u64 gpa;
  if (free_count > 0) gpa = PT_GPA + free_pages[--free_count] * PAGE;
  else if (pool_next < PT_END_GPA) gpa = pool_next, pool_next += PAGE;
  else return NULL;
  memset(table_at(gpa), 0, PAGE);
  return table_at(gpa);
}

u64 *table_new(u64 gpa) {
  u64 *table = page_take();
  if (table != NULL) backing[index_of(table)] = gpa;
  return table;
}

void table_free(u64 *table) { free_pages[free_count++] = (u16)index_of(table); }
u64 table_entry(const u64 *table) { return gpa_of(table) | LINK; }
u64 *table_backing(const u64 *table) { return &backing[index_of(table)]; }

bool entry_is_table(u64 entry) { return (entry & (PRESENT | LARGE)) == PRESENT; }
u64 *entry_table(u64 entry) { return table_at(entry & ADDRESS_MASK); }

static u64 *table_below(u64 *entry, bool create) {
  if (!(*entry & PRESENT)) {
    u64 *table = create ? page_take() : NULL;
    if (table == NULL) return NULL;
    *entry = table_entry(table);
  }
  return entry_table(*entry);
}

u64 *tables_slot(u64 va, bool create) {
  u64 *level3 = table_below(&table_at(PT_GPA)[va >> 39 & 511], create);
  if (level3 == NULL) return NULL;
  u64 *level2 = table_below(&level3[va >> 30 & 511], create);
  return level2 == NULL ? NULL : &level2[va >> 21 & 511];
}

/* Does `value` take away nothing of what `old` allowed? Then a processor that still holds the old entry faults at most
 * once more than it must. */
static bool only_adds(u64 old, u64 value) {
  if (!(old & PRESENT)) return true;
  u64 same = PRESENT | LARGE | ADDRESS_MASK;
  return (old & same) == (value & same) && !(old & ~value & WRITABLE) && !(value & ~old & NO_EXECUTE);
}

void entry_set(u64 *entry, u64 value) {
  u64 old = *entry;
  if (old == value) return;
  if (!only_adds(old, value)) flush_due = true;
  *(volatile u64 *)entry = value;
  SHARED->stat_edits++;
}

void tables_flush(void) {
  if (!flush_due) return;
  flush_due = false;
  SHARED->stat_flushes++;
  outl(PORT_FLUSH, 0);
}
