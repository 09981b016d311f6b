/* Faults: pages that want to be mapped, then what the program did wrong, then what we did wrong. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "sched.h"

enum {
  DIVIDE = 0,
  DEBUG = 1,
  BREAKPOINT = 3,
  OVERFLOW = 4,
  INVALID_OPCODE = 6,
  STACK_FAULT = 12,
  GENERAL_PROTECTION = 13,
  PAGE_FAULT = 14,
  X87 = 16,
  ALIGNMENT = 17,
  SIMD = 19
};
enum { SIGILL = 4, SIGTRAP = 5, SIGBUS = 7, SIGFPE = 8, SIGSEGV = 11 };

static int signal_of(u64 vector) {
  switch (vector) {
    case DIVIDE:
    case X87:
    case SIMD: return SIGFPE;
    case DEBUG:
    case BREAKPOINT: return SIGTRAP;
    case INVALID_OPCODE: return SIGILL;
    case ALIGNMENT: return SIGBUS;
    default: return SIGSEGV;
  }
}

extern u64 fault_address; /* arch/entry.S */
enum { FAULT_WRITE = 2 };

static bool in_kernel(const struct regs *r) {
  return r->rip >= (u64)kernel_text_start && r->rip < (u64)kernel_text_end;
}

static void print_registers(const struct regs *r) {
  kprint("rip %016lx rsp %016lx rbp %016lx rflags %08lx\n", r->rip, r->rsp, r->rbp, r->rflags);
  kprint("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r->rax, r->rbx, r->rcx, r->rdx);
  kprint("rsi %016lx rdi %016lx r8  %016lx r9  %016lx\n", r->rsi, r->rdi, r->r8, r->r9);
  kprint("r10 %016lx r11 %016lx r12 %016lx r13 %016lx\n", r->r10, r->r11, r->r12, r->r13);
  kprint("r14 %016lx r15 %016lx fs  %016lx gs  %016lx\n", r->r14, r->r15, fs_base_get(), gs_base_get());
}

void exception_handle(struct regs *r) {
  u64 address = r->vector == PAGE_FAULT ? fault_address : 0;
  if (r->vector == PAGE_FAULT && space_fault(address, r->error & FAULT_WRITE)) return;
  if (in_kernel(r)) panic("exception %lu error %lx at %lx, address %lx", r->vector, r->error, r->rip, address);
  kprint("%s[%d]: exception %lu error %lx address %lx\n", current->name, current->tid, r->vector, r->error, address);
  print_registers(r);
  process_exit(signal_of(r->vector));
}
