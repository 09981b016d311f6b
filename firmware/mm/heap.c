/* The kernel's heap: size classes carved from pages; larger requests get their own power-of-two run of pages.
 * Each page run starts with a header, so that kfree finds size class or order from the pointer alone. */
#include "lib.h"
#include "list.h"
#include "mm.h"

#define MAGIC 0x6d61796679ull
#define HEADER 64
#define CLASS_COUNT 14
#define MAX_ORDER 9

static const u16 class_sizes[CLASS_COUNT] = {16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 672, 1008, 1344, 2016};

struct slab {
  u64 magic;
  struct list link; /* in its size class while it has free cells */
  void *free;       /* singly linked through the cells */
  u16 used, capacity, cell;
  u8 order;
  bool large;
  u8 kind;
};
_Static_assert(sizeof(struct slab) <= HEADER, "header");

static struct list classes[CLASS_COUNT];
static bool ready;

static void heap_init(void) {
  for (int i = 0; i < CLASS_COUNT; i++) list_init(&classes[i]);
  ready = true;
}

static struct slab *slab_of(void *p) {
  /* Large runs are handed out HEADER bytes in, cells never cross a page: the header is at the page's start. */
  struct slab *s = (struct slab *)ALIGN_DOWN((u64)p, PAGE);
  ASSERT(s->magic == MAGIC);
  return s;
}

static struct slab *slab_new(int kind) {
  struct slab *s = page_alloc(0);
  if (s == NULL) return NULL;
  u16 cell = class_sizes[kind];
  *s = (struct slab){.magic = MAGIC, .cell = cell, .capacity = (u16)((PAGE - HEADER) / cell), .kind = (u8)kind};
  for (int i = s->capacity - 1; i >= 0; i--) {
    void **c = (void **)((u64)s + HEADER + (u64)i * cell);
    *c = s->free;
    s->free = c;
  }
  list_insert(&classes[kind], &s->link);
  return s;
}

static void *alloc_large(size_t size) {
  unsigned order = 0;
  while (order <= MAX_ORDER && (PAGE << order) < size + HEADER) order++;
  if (order > MAX_ORDER) return NULL;
  struct slab *s = page_alloc(order);
  if (s == NULL) return NULL;
  *s = (struct slab){.magic = MAGIC, .large = true, .order = (u8)order};
  return (u8 *)s + HEADER;
}

void *kmalloc(size_t size) {
  if (!ready) heap_init();
  int kind = 0;
  while (kind < CLASS_COUNT && class_sizes[kind] < size) kind++;
  if (kind == CLASS_COUNT) return alloc_large(size);
  struct slab *s;
  if (list_empty(&classes[kind])) s = slab_new(kind);
  else s = CONTAINER(classes[kind].next, struct slab, link);
  if (s == NULL) return NULL;
  void **cell = s->free;
  s->free = *cell;
  if (++s->used == s->capacity) list_remove(&s->link);
  return cell;
}

void *kzalloc(size_t size) {
  void *p = kmalloc(size);
  if (p != NULL) memset(p, 0, size);
  return p;
}

static size_t capacity_of(void *p) {
  struct slab *s = slab_of(p);
  return s->large ? (PAGE << s->order) - HEADER : s->cell;
}

void *krealloc(void *p, size_t size) {
  if (p == NULL) return kmalloc(size);
  size_t have = capacity_of(p);
  if (size <= have) return p;
  void *q = kmalloc(size);
  if (q == NULL) return NULL;
  memcpy(q, p, have);
  kfree(p);
  return q;
}

void kfree(void *p) {
  if (p == NULL) return;
  struct slab *s = slab_of(p);
  if (s->large) {
    s->magic = 0;
    page_free(s, s->order);
    return;
  }
  ASSERT(s->used > 0);
  if (s->used-- == s->capacity) list_insert(&classes[s->kind], &s->link);
  *(void **)p = s->free;
  s->free = p;
  if (s->used == 0 && s->link.next != s->link.prev) { /* keep the last one of a kind */
    list_remove(&s->link);
    s->magic = 0;
    page_free(s, 0);
  }
}
