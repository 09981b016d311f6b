/* Page tables: four levels, 2 MiB leaves, accessed and dirty set from the start, so that the processor never writes
 * them. The VMM made the window, RAM, images and MMIO; here the program's blocks are added. An edit costs
 * tens of microseconds where KVM shadows page tables, so entries are made once and kept. */
#include "arch.h"
#include "lib.h"
#include "mm.h"

enum { PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80 };
#define ADDRESS_MASK 0x000ffffffffff000ull

static u64 pool_next;

void tables_init(void) { pool_next = BOOT->pt_next; }

static u64 *table_at(u64 gpa) { return (u64 *)(WINDOW_VA + gpa); }

static u64 *table_below(u64 *entry, bool create) {
  if (!(*entry & PRESENT)) {
    if (!create || pool_next >= PT_END_GPA) return NULL;
    *entry = pool_next | PRESENT | WRITABLE | USER | ACCESSED;
    pool_next += PAGE;
  }
  return table_at(*entry & ADDRESS_MASK);
}

static u64 *leaf(u64 va, bool create) {
  u64 *level3 = table_below(&table_at(PT_GPA)[va >> 39 & 511], create);
  if (level3 == NULL) return NULL;
  u64 *level2 = table_below(&level3[va >> 30 & 511], create);
  return level2 == NULL ? NULL : &level2[va >> 21 & 511];
}

static u64 entry_for(u64 gpa, bool writable) {
  return gpa | PRESENT | USER | ACCESSED | DIRTY | LARGE | (writable ? WRITABLE : 0);
}

bool tables_map(u64 va, u64 gpa, bool writable) {
  u64 *entry = leaf(va, true);
  if (entry == NULL) return false;
  ASSERT(!(*entry & PRESENT));
  *(volatile u64 *)entry = entry_for(gpa, writable);
  return true;
}

u64 tables_lookup(u64 va) {
  u64 *entry = leaf(va, false);
  return entry == NULL ? 0 : *entry;
}

bool entry_writable(u64 entry) { return entry & WRITABLE; }
u64 entry_gpa(u64 entry) { return entry & ADDRESS_MASK & ~(BLOCK - 1); }

void tables_remap(u64 va, u64 gpa, bool writable) {
  *(volatile u64 *)leaf(va, false) = entry_for(gpa, writable);
  outl(PORT_FLUSH, 0);
}
