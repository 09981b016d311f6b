/* What only the processor offers, and the shared pages. */
#pragma once
#include "abi.h"
#include "types.h"

#define SHARED ((volatile struct shared *)(WINDOW_VA + SHARED_GPA))
#define BOOT ((const struct boot *)(WINDOW_VA + BOOT_GPA))

static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory"); }
static inline void barrier(void) { __asm__ volatile("" : : : "memory"); }
static inline u64 rdtsc(void) {
  u32 low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (u64)high << 32 | low;
}
static inline void cpuid(u32 leaf, u32 subleaf, u32 out[4]) {
  __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}
static inline u64 fs_base_get(void) {
  u64 v;
  __asm__ volatile("rdfsbase %0" : "=r"(v));
  return v;
}
static inline u64 gs_base_get(void) {
  u64 v;
  __asm__ volatile("rdgsbase %0" : "=r"(v));
  return v;
}
static inline void fs_base_set(u64 v) { __asm__ volatile("wrfsbase %0" : : "r"(v)); }
static inline void gs_base_set(u64 v) { __asm__ volatile("wrgsbase %0" : : "r"(v)); }
/* Vector state, the parts of `features`. */
static inline void fpu_save_parts(void *area, u64 features) {
  __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((u32)features), "d"((u32)(features >> 32)) : "memory");
}
static inline void fpu_restore_parts(const void *area, u64 features) {
  __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"((u32)features), "d"((u32)(features >> 32)) : "memory");
}
static inline u64 fpu_features(void) { /* XCR0 */
  u32 low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (u64)high << 32 | low;
}
static inline void fpu_save(void *area) { fpu_save_parts(area, ~0ull); }
static inline void fpu_restore(const void *area) { fpu_restore_parts(area, ~0ull); }

struct regs;

#define RFLAGS_TF 0x100

/* arch/debug.c: for a debugger, a report or a core file. */
struct siginfo;
extern u64 debug_auxv; /* the auxiliary vector on the program's stack */
bool debug_attached(void);
void debug_describe(void);
int debug_stop(int signal); /* until the VMM comes back; the signal that the program is to get, or 0 */
void debug_start(bool replaced); /* the program is about to begin, perhaps in the place of another one */
/* A debugger sees a signal before the program does, and may exchange it; false: it took the signal away. */
bool debug_passes(struct siginfo *info);
bool debug_call_end(struct regs *regs); /* of a system call: whether all registers must be restored */

/* arch/entry.S */
extern u64 fault_address;
extern u8 kernel_text_start[], kernel_text_end[], kernel_image_end[];
void switch_stacks(u64 *save, u64 load);
void thread_begin(void);
_Noreturn void start_program(struct regs *regs);
void upcall_entry(void);
void syscall_fast(void);

/* vdso/image.S: an ELF image for the program, outside the kernel's text range */
extern u8 vdso_start[], vdso_end[];

/* arch/patch.c: makes the system-call site at `after - 2` jump here next time. Returns where this call is to return. */
u64 patch_site(u64 after, u64 number);
/* Where a system call that returns to `after` begins, with its number in rax. */
u64 restart_address(u64 after);
bool is_trampoline(u64 address);
