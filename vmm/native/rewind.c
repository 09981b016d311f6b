/*
 * Rewind. The pages that a guest wrote are the anonymous pages of its private file mapping; they
 * are overwritten with the template's bytes and stay mapped, so that the next run takes no fault on
 * them.
 */
#include "rewind.h"

#include <stdlib.h>
#include <string.h>

#include "pagemap.h"

/* One instruction makes a few exits at most (fragments of one access); more means that the vCPU
 * makes no progress. */
enum { COMPLETIONS_MAX = 64 };

static const uint64_t CR4_PGE = 1 << 7;

struct rewinder *rewinder_create(struct mapping *memory, struct mapping *template, struct vcpu *vcpu,
                                 size_t excluded_count, size_t guarded_count) {
  struct rewinder *rewinder = calloc(1, sizeof(*rewinder));
  if (!rewinder) return NULL;
  rewinder->excluded = calloc(excluded_count + 1, sizeof(*rewinder->excluded));
  rewinder->guarded = calloc(guarded_count + 1, sizeof(*rewinder->guarded));
  if (!rewinder->excluded || !rewinder->guarded) {
    free(rewinder->excluded);
    free(rewinder->guarded);
    free(rewinder);
    return NULL;
  }
  rewinder->excluded_count = excluded_count;
  rewinder->guarded_count = guarded_count;
  rewinder->memory = mapping_ref(memory);
  rewinder->template = mapping_ref(template);
  rewinder->vcpu = vcpu ? vcpu_ref(vcpu) : NULL;
  return rewinder;
}

void rewinder_free(struct rewinder *rewinder) {
  mapping_unref(rewinder->memory);
  mapping_unref(rewinder->template);
  if (rewinder->vcpu) vcpu_unref(rewinder->vcpu);
  free(rewinder->excluded);
  free(rewinder->guarded);
  free(rewinder);
}

/*
 * KVM finishes a guest's I/O instruction when the vCPU is entered next. Registers that were reset
 * in between would take that instruction's result: an IN or an MMIO read would resume the old code,
 * a further fragment of an MMIO write would surface as an exit of the new run, and an OUT at the
 * very address where the template resumes would be skipped.
 */
static bool has_pending_io(const struct rewinder *rewinder) {
  const struct kvm_run *run = rewinder->vcpu->run;
  switch (rewinder->vcpu->last_exit) {
    case KVM_EXIT_IO: return run->io.direction == KVM_EXIT_IO_IN || run->s.regs.regs.rip == rewinder->regs.rip;
    case EXIT_INTERRUPTED: return false;
    default: return true;
  }
}

/* Whether the sync area says what the vCPU is to have, and not what it has. */
static bool has_pending_sregs(const struct rewinder *rewinder) {
  return (rewinder->vcpu->run->kvm_dirty_regs & KVM_SYNC_X86_SREGS) != 0;
}

static outcome complete_pending_io(struct rewinder *rewinder) {
  if (!has_pending_io(rewinder) && !(rewinder->flush && has_pending_sregs(rewinder))) return success();
  /* Registers that the caller marked dirty would be in force while the old instruction completes.
     */
  rewinder->vcpu->run->kvm_dirty_regs = 0;
  for (int i = 0; i < COMPLETIONS_MAX; i++) {
    int reason;
    outcome o = vcpu_complete_io(rewinder->vcpu, &reason);
    if (failed(o) || reason == EXIT_INTERRUPTED) return o;
  }
  return (outcome){"KVM_RUN (completion of pending I/O)", ELOOP};
}

static void load_registers(struct rewinder *rewinder) {
  struct kvm_run *run = rewinder->vcpu->run;
  uint64_t dirty = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  uint64_t pge = run->s.regs.sregs.cr4 & CR4_PGE;
  run->s.regs.regs = rewinder->regs;
  run->s.regs.sregs = rewinder->sregs;
  run->cr8 = rewinder->sregs.cr8; /* without an APIC, each entry takes it from here */
  /* A change of CR4.PGE flushes the whole TLB (SDM vol. 3, 4.10.4.1). */
  if (rewinder->flush) run->s.regs.sregs.cr4 = (rewinder->sregs.cr4 & ~CR4_PGE) | (pge ^ CR4_PGE);
  /* A run that was cut short may have left an exception half delivered, or an interrupt shadow: they must not reach
   * the next run. */
  if (rewinder->vcpu->vm->kvm->sync_fields & KVM_SYNC_X86_EVENTS) {
    memset(&run->s.regs.events, 0, sizeof(run->s.regs.events));
    run->s.regs.events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    dirty |= KVM_SYNC_X86_EVENTS;
  }
  run->kvm_dirty_regs = dirty;
}

struct copy {
  struct rewinder *rewinder;
  size_t next_excluded;
};

static void look_at_guards(struct rewinder *rewinder, size_t start, size_t end) {
  for (size_t i = 0; i < rewinder->guarded_count; i++) {
    const struct byte_range *guard = &rewinder->guarded[i];
    if (start < guard->end && end > guard->start) rewinder->guard_written = true;
  }
}

static void copy_back(struct rewinder *rewinder, size_t start, size_t end) {
  memcpy(rewinder->memory->bytes + start, rewinder->template->bytes + start, end - start);
  rewinder->pages_copied += (end - 1) / PAGE_BYTES - start / PAGE_BYTES + 1;
}

/* Copies [start, end) but for the excluded ranges. Ranges come in rising order, so each is looked
 * at once. */
static bool copy_range(void *context, size_t start, size_t end) {
  struct copy *copy = context;
  struct rewinder *rewinder = copy->rewinder;
  look_at_guards(rewinder, start, end);
  rewinder->over_budget |= rewinder->pages_copied + (end - start) / PAGE_BYTES > rewinder->pages_max;
  if (rewinder->over_budget) return true;
  while (copy->next_excluded < rewinder->excluded_count) {
    const struct byte_range *skip = &rewinder->excluded[copy->next_excluded];
    if (skip->start >= end) break;
    if (skip->start > start) copy_back(rewinder, start, skip->start);
    if (skip->end > start) start = skip->end;
    if (start >= end) return true;
    copy->next_excluded++;
  }
  copy_back(rewinder, start, end);
  return true;
}

outcome rewinder_rewind(struct rewinder *rewinder) {
  /* First, since the completion of an instruction may write guest memory. */
  outcome o = rewinder->vcpu ? complete_pending_io(rewinder) : success();
  if (failed(o)) return o;
  struct copy copy = {.rewinder = rewinder};
  rewinder->pages_copied = 0;
  rewinder->over_budget = false;
  o = pagemap_each_written(rewinder->memory->bytes, rewinder->memory->size, copy_range, &copy);
  if (!failed(o) && rewinder->vcpu) load_registers(rewinder);
  return o;
}

static bool list_pages(void *context, size_t start, size_t end) {
  struct page_list *list = context;
  size_t count = (end - start) / PAGE_BYTES;
  if (list->count + count > list->capacity) {
    size_t capacity = (list->count + count) * 2;
    uint32_t *pages = realloc(list->pages, capacity * sizeof(*pages));
    if (!pages) return false;
    list->pages = pages;
    list->capacity = capacity;
  }
  for (size_t i = 0; i < count; i++) list->pages[list->count++] = (uint32_t)(start / PAGE_BYTES + i);
  return true;
}

outcome rewinder_dirty_pages(const struct rewinder *rewinder, struct page_list *list) {
  return pagemap_each_written(rewinder->memory->bytes, rewinder->memory->size, list_pages, list);
}
