/* Doubly linked, circular, intrusive lists. */
#pragma once
#include "types.h"

struct list {
  struct list *prev, *next;
};

#define LIST_INIT(name)                                                                                                \
  { &(name), &(name) }

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *l) { return l->next != NULL && l->next != l; }

static inline void list_insert(struct list *after, struct list *item) {
  item->prev = after;
  item->next = after->next;
  after->next->prev = item;
  after->next = item;
}
static inline void list_push(struct list *head, struct list *item) { list_insert(head->prev, item); }

static inline void list_remove(struct list *item) {
  item->prev->next = item->next;
  item->next->prev = item->prev;
  list_init(item);
}

#define LIST_EACH(head, item)                                                                                          \
  for (struct list *item = (head)->next, *item##_next = item->next; item != (head);                                    \
       item = item##_next, item##_next = item->next)
