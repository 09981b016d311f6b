/* The processor's page tables below the root: entries, and the pages that tables are made of. */
#pragma once
#include "types.h"

enum { PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80 };
#define NO_EXECUTE (1ull << 63)
#define ADDRESS_MASK 0x000ffffffffff000ull

/* The level-2 entry of a 2 MiB block; NULL: there is none, or (create) no page for its table is left. */
u64 *tables_slot(u64 va, bool create);
/* A block's table of 4 KiB pages, for its level-2 entry. */
bool entry_is_table(u64 entry);
u64 *entry_table(u64 entry);
u64 *table_new(u64 gpa); /* empty; for the block whose RAM is at gpa (0: none). NULL: no page is left */
void table_free(u64 *table);
u64 table_entry(const u64 *table); /* what links it */
u64 *table_backing(const u64 *table);
/* Writes an entry, and remembers if the processor must be told to forget the old one. */
void entry_set(u64 *entry, u64 value);
void tables_flush(void); /* does so, before the program runs again */
