/* Rewind: puts a used clone back to its template, in place. */
#ifndef MAYFLY_REWIND_H
#define MAYFLY_REWIND_H

#include "kvm.h"

struct byte_range {
  uint64_t start;
  uint64_t end;
};

struct rewinder {
  struct mapping *memory;   /* a private file mapping */
  struct mapping *template; /* the same bytes, never written */
  struct vcpu *vcpu;
  struct kvm_regs regs;
  struct kvm_sregs sregs;
  struct byte_range *excluded; /* sorted, disjoint */
  size_t excluded_count;
  struct byte_range *guarded; /* sorted, disjoint */
  size_t guarded_count;
  bool guard_written;    /* a page of a guarded range has been written since the memory was mapped */
  bool flush;            /* the next entry after a rewind flushes the guest's TLB */
  uint64_t pages_max;    /* copied by one rewind */
  bool over_budget;      /* the last rewind found more pages and left the rest as it was: use the memory no more */
  uint64_t pages_copied; /* by the last rewind */
};

struct page_list {
  uint32_t *pages;
  size_t count;
  size_t capacity;
};

/* Takes references to all three; ranges and registers are filled in by the caller. NULL when out of
 * memory. */
struct rewinder *rewinder_create(struct mapping *memory, struct mapping *template, struct vcpu *vcpu,
                                 size_t excluded_count, size_t guarded_count);
void rewinder_free(struct rewinder *rewinder);

/* Copies the template's bytes over every page that was written, up to pages_max, and has the next entry load the
 * saved registers. */
outcome rewinder_rewind(struct rewinder *rewinder);

/* Lists the page numbers that were written, excluded ones too. The caller frees list->pages, also
 * on failure. */
outcome rewinder_dirty_pages(const struct rewinder *rewinder, struct page_list *list);

#endif
