/* Faults: pages that want to be mapped, then what the program did wrong, then what we did wrong. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "thread.h"

enum {
  DIVIDE = 0,
  DEBUG = 1,
  BREAKPOINT = 3,
  INVALID_OPCODE = 6,
  STACK_FAULT = 12,
  GENERAL_PROTECTION = 13,
  PAGE_FAULT = 14,
  X87 = 16,
  ALIGNMENT = 17,
  SIMD = 19
};
/* si_code of the faults (sigaction(2)). */
enum { FPE_INTDIV = 1, FPE_FLTDIV = 3, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV };
enum { ILL_ILLOPN = 2, SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRALN = 1, BUS_ADRERR = 2 };

/* What faults in a trampoline is an instruction of the program that was moved there. */
static bool in_kernel(const struct regs *r) {
  return r->rip >= (u64)kernel_text_start && r->rip < (u64)kernel_text_end && !is_trampoline(r->rip);
}

/* A call that is a jump comes in with the program's flags. Those that trap or fault here are taken away when they do:
 * a single step (TF), alignment checks (AC), and NT, with which iretq faults. */
enum { NESTED_TASK = 1 << 14, ALIGNMENT_CHECK = 1 << 18 };

static bool drop_flags(struct regs *r) {
  bool theirs = r->vector == DEBUG || r->vector == ALIGNMENT || r->vector == GENERAL_PROTECTION;
  u64 flags = r->rflags & (RFLAGS_TF | ALIGNMENT_CHECK | NESTED_TASK);
  r->rflags &= ~flags;
  return theirs && flags != 0;
}

/* The flags of x87 and SSE are alike: which unmasked one is set. */
static i32 float_code(u32 raised) {
  if (raised & 1) return FPE_FLTINV;
  if (raised & 4) return FPE_FLTDIV;
  if (raised & 8) return FPE_FLTOVF;
  return raised & 0x12 ? FPE_FLTUND : FPE_FLTRES;
}

static i32 x87_code(void) {
  u16 status, control;
  __asm__ volatile("fnstsw %0; fnstcw %1" : "=m"(status), "=m"(control));
  return float_code(status & ~(u32)control);
}

static i32 simd_code(void) {
  u32 mxcsr;
  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  return float_code(mxcsr & ~(mxcsr >> 7));
}

/* What the program is told; everything without a case has no address. */
static struct siginfo siginfo_of(const struct regs *r, u64 address, enum fault fault) {
  switch (r->vector) {
    case DIVIDE: return (struct siginfo){.signo = SIGFPE, .code = FPE_INTDIV, .address = r->rip};
    case X87: return (struct siginfo){.signo = SIGFPE, .code = x87_code(), .address = r->rip};
    case SIMD: return (struct siginfo){.signo = SIGFPE, .code = simd_code(), .address = r->rip};
    case DEBUG: return (struct siginfo){.signo = SIGTRAP, .code = TRAP_TRACE, .address = r->rip};
    case BREAKPOINT: return (struct siginfo){.signo = SIGTRAP, .code = SI_KERNEL};
    case INVALID_OPCODE: return (struct siginfo){.signo = SIGILL, .code = ILL_ILLOPN, .address = r->rip};
    case STACK_FAULT: return (struct siginfo){.signo = SIGBUS, .code = SI_KERNEL};
    case ALIGNMENT: return (struct siginfo){.signo = SIGBUS, .code = BUS_ADRALN};
    case PAGE_FAULT: {
      if (fault == FAULT_BEYOND) return (struct siginfo){.signo = SIGBUS, .code = BUS_ADRERR, .address = address};
      i32 code = fault == FAULT_UNMAPPED ? SEGV_MAPERR : SEGV_ACCERR;
      return (struct siginfo){.signo = SIGSEGV, .code = code, .address = address};
    }
    default: return (struct siginfo){.signo = SIGSEGV, .code = SI_KERNEL};
  }
}

static struct siginfo note_fault(const struct regs *r, u64 address, enum fault fault) {
  current->fault.vector = r->vector;
  current->fault.error = r->error;
  if (r->vector == PAGE_FAULT) current->fault.address = address;
  return siginfo_of(r, address, fault);
}

/* The fault becomes a signal. */
static void program_fault(struct regs *r, u64 address, enum fault fault) {
  struct siginfo info = note_fault(r, address, fault);
  signal_force(r, &info);
  signals_deliver(r);
}

/* A system call checks its pointers, after a sleep again (current->held). What is left is memory that nothing backs: the call
 * cannot go on. */
static _Noreturn void kernel_fault(const struct regs *r, u64 address, enum fault fault) {
  struct siginfo info = note_fault(r, address, fault);
  debug_passes(&info);
  process_killed(&info);
}

void exception_handle(struct regs *r) {
  u64 address = r->vector == PAGE_FAULT ? fault_address : 0;
  enum fault fault = r->vector == PAGE_FAULT ? space_fault(address, r->error) : FAULT_DENIED;
  if (fault == FAULT_FIXED) return;
  if ((in_kernel(r) || is_trampoline(r->rip)) && drop_flags(r)) return;
  if (!in_kernel(r)) {
    program_fault(r, address, fault);
    return;
  }
  if (r->vector == PAGE_FAULT && space_owns(address)) kernel_fault(r, address, fault);
  SHARED->panic_regs = (u64)r;
  panic("exception %lu error %lx at %lx, address %lx", r->vector, r->error, r->rip, address);
}
