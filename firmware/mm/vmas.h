/* The program's mappings: a sorted array of vmas. Private to mm/. */
#pragma once
#include "mm.h"

#define VMA_TOUCHED 0x80000000u /* has been accessible: its bytes in the block may be anything */
#define VMA_PAGES 0x40000000u   /* shows a file's own pages; none of the block's RAM is used */

void vmas_init(void);
struct vma *vma_at(u64 address); /* the one that holds address, or NULL */
size_t vma_index(u64 address);   /* of the first that ends above address */
struct vma *vma_get(size_t i);   /* NULL: past the last */
bool vmas_reserve(size_t extra); /* room, so that the next `extra` insertions and splits cannot fail */
void vma_insert(size_t i, struct vma v);
void vma_erase(size_t i);
void vma_split(u64 address); /* makes address a border */
void vmas_merge(u64 start, u64 end);
/* Lowest gap of `size` bytes in [from, to) whose start is congruent to `phase` modulo `align`; 0 = none. */
u64 vmas_gap(u64 from, u64 to, u64 size, u64 align, u64 phase);
/* Where a mapping's file ends, rounded up to pages: what lies beyond cannot be touched. v->end if there is no such end. */
u64 vma_file_end(const struct vma *v);
