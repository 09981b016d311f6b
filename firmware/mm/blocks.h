/* The program's memory in 2 MiB blocks: what backs them, and what the page tables say. Private to mm/. */
#pragma once
#include "types.h"

/* Makes the page tables say for [start, end) what the mappings do. Blocks that nothing backs stay away until they are
 * touched. False: memory is short. */
bool blocks_sync(u64 start, u64 end);
/* Backs the block that holds address (with `own`, by RAM that may be written) and makes its tables. False: memory is
 * short. */
bool block_back(u64 address, bool own);
/* The block shows an image's bytes from now on, which lie at gpa. False: it is backed already, or memory is short. */
bool block_show_image(u64 va, u64 gpa);
/* Where the kernel reaches the program's bytes at address, whatever the program may do there: up to the block's end.
 * NULL: nothing backs it, it is all zeroes. Only for writing after block_back(address, true). */
void *block_bytes(u64 address);
/* The block shows pages of files. False: memory is short. */
bool block_show_pages(u64 address);
bool block_backed(u64 address);

/* For what happens to each part of [start, end) within one block. */
#define EACH_BLOCK(start, end, at, next)                                                                               \
  for (u64 at = (start), next; at < (end) && (next = MIN((end), ALIGN_DOWN(at, BLOCK) + BLOCK), true); at = next)

/* Bytes that were accessible once and are not mapped any more: cleared before they are mapped again, never shown. */
void stale_note(u64 start, u64 end);
bool stale_clear(u64 start, u64 end);  /* zeroes them; false: memory is short */
void stale_forget(u64 start, u64 end); /* they are overwritten anyway */
