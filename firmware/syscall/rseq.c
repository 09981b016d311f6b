/* Restartable sequences: a thread that loses the processor within one goes on at its abort address. The processor's
 * number, which such a sequence usually begins with, is always 0. */
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

enum { RSEQ_UNREGISTER = 1, RSEQ_ALIGN = 32, RSEQ_SIZE = 32, SIGSEGV = 11 };

struct rseq {
  u32 cpu_start, cpu;
  u64 section;
  u32 flags, node, memory_cpu;
};
struct section {
  u32 version, flags;
  u64 start, length, abort;
};

static i64 leave(u64 address, u64 size, u64 signature) {
  struct rseq *area = (struct rseq *)address;
  if (current->rseq == 0 || current->rseq != address || size != current->rseq_size) return -EINVAL;
  if ((u32)signature != current->rseq_signature) return -EPERM;
  if (!user_writable(address, RSEQ_SIZE)) return -EFAULT;
  area->cpu_start = 0;
  area->cpu = ~0u;
  current->rseq = 0;
  return 0;
}

static i64 enter(u64 address, u64 size, u64 signature) {
  if (current->rseq != 0) {
    if (current->rseq != address || size != current->rseq_size) return -EINVAL;
    return (u32)signature == current->rseq_signature ? -EBUSY : -EPERM;
  }
  if (address % RSEQ_ALIGN != 0 || size < RSEQ_SIZE) return -EINVAL;
  if (!user_writable(address, size)) return -EFAULT;
  struct rseq *area = (struct rseq *)address;
  area->cpu_start = area->cpu = area->node = area->memory_cpu = 0;
  current->rseq = address;
  current->rseq_size = (u32)size;
  current->rseq_signature = (u32)signature;
  return 0;
}

i64 sys_rseq(const u64 *a) {
  u64 address = a[0], size = (u32)a[1], flags = (u32)a[2];
  if (flags & ~(u64)RSEQ_UNREGISTER) return -EINVAL;
  return flags != 0 ? leave(address, size, a[3]) : enter(address, size, a[3]);
}

void rseq_interrupted(struct regs *r) {
  if (current->rseq == 0 || !user_writable(current->rseq, RSEQ_SIZE)) return;
  struct rseq *area = (struct rseq *)current->rseq;
  const struct section *section = (const struct section *)area->section;
  if (area->section == 0) return;
  bool sane = user_readable(area->section, sizeof *section) && user_readable(section->abort - 4, 4) &&
              *(const u32 *)(section->abort - 4) == current->rseq_signature;
  area->section = 0;
  if (!sane) signal_send(current, SIGSEGV);
  else if (r->rip - section->start < section->length) r->rip = section->abort;
}
