/* Physical memory: a buddy allocator from 4 KiB (order 0) to 2 MiB (order 9). RAM starts out zeroed; a block that
 * was never handed out still is, so that mapping fresh memory writes nothing. */
#include "arch.h"
#include "lib.h"
#include "list.h"
#include "mm.h"

#define TOP_ORDER 9
#define NOT_FREE 0 /* so that the table starts out right without being written */

static struct list free_lists[TOP_ORDER + 1];
static u8 *page_state; /* a byte a page: 1 + the order of the free chunk that begins here, or NOT_FREE */
static u64 first_block, block_count, free_pages;

void *ram_pointer(u64 gpa) { return (void *)(RAM_VA + gpa); }

u64 ram_gpa(const void *p) {
  u64 address = (u64)p;
  if (address >= RAM_VA) return address - RAM_VA;
  ASSERT(address >= WINDOW_VA && address < WINDOW_VA + WINDOW_SIZE);
  return address - WINDOW_VA;
}

static u64 page_index(const void *p) { return ((u64)p - RAM_VA) / PAGE; }
static void *page_at(u64 index) { return ram_pointer(index * PAGE); }

static void chunk_add(u64 index, unsigned order) {
  page_state[index] = (u8)(order + 1);
  list_insert(&free_lists[order], page_at(index));
}

static void chunk_take(u64 index, unsigned order) {
  ASSERT(page_state[index] == order + 1);
  page_state[index] = NOT_FREE;
  list_remove(page_at(index));
}

/* Virgin blocks are not in the lists: touching them for their links would cost a page each. */
static u64 virgin_next;

static void *virgin_take(void) {
  if (virgin_next == block_count) return NULL;
  return ram_pointer(virgin_next++ * BLOCK);
}

void frames_init(void) {
  for (unsigned i = 0; i <= TOP_ORDER; i++) list_init(&free_lists[i]);
  block_count = BOOT->ram_size / BLOCK;
  u64 at = ALIGN_UP((u64)kernel_image_end, PAGE);
  page_state = (u8 *)at;
  u64 end = ALIGN_UP(at + block_count * 512, PAGE);
  first_block = ALIGN_UP(end - WINDOW_VA, BLOCK) / BLOCK;
  if (first_block + 4 > block_count) panic("%lu MiB of memory are too few", BOOT->ram_size / MiB);
  if (end - WINDOW_VA > WINDOW_SIZE)
    panic("the kernel window is too small for %lu MiB of memory", BOOT->ram_size / MiB);
  virgin_next = first_block;
  free_pages = (block_count - first_block) * 512;
}

u64 frames_total(void) { return (block_count - first_block) * BLOCK; }
u64 frames_free(void) { return free_pages * PAGE; }

static void *chunk_find(unsigned order) {
  unsigned o = order;
  while (o <= TOP_ORDER && list_empty(&free_lists[o])) o++;
  u64 index;
  if (o <= TOP_ORDER) {
    index = page_index(free_lists[o].next);
    chunk_take(index, o);
  } else {
    void *virgin = virgin_take();
    if (virgin == NULL) return NULL;
    index = page_index(virgin);
    o = TOP_ORDER;
  }
  while (o > order) {
    o--;
    chunk_add(index + (1ull << o), o);
  }
  return page_at(index);
}

void *page_alloc(unsigned order) {
  ASSERT(order <= TOP_ORDER);
  void *p = chunk_find(order);
  if (p == NULL) return NULL;
  free_pages -= 1ull << order;
  return p;
}

void page_free(void *p, unsigned order) {
  u64 index = page_index(p);
  ASSERT(page_state[index] == NOT_FREE);
  free_pages += 1ull << order;
  while (order < TOP_ORDER) {
    u64 buddy = index ^ (1ull << order);
    if (page_state[buddy] != order + 1) break;
    chunk_take(buddy, order);
    index &= ~(1ull << order);
    order++;
  }
  chunk_add(index, order);
}

void *block_alloc_zeroed(void) {
  void *p = virgin_take();
  if (p != NULL) {
    free_pages -= 512;
  } else {
    p = page_alloc(TOP_ORDER);
    if (p != NULL) memset(p, 0, BLOCK);
  }
  return p;
}
