/* The VMM's place on a processor without one: loads the state that vcpu-state.ts describes and enters the guest kernel
 * at CPL 3. From then on it runs at CPL 0 in supervisor-only memory, does what the VMM does at each port, and ticks.
 *
 * An OUT gets here because the I/O bitmap refuses our ports: that is a #GP, and its gate leads here first. Any other
 * #GP goes on to the guest kernel's own stub, with the frame that the processor would have made. */
#include "../../../firmware/include/arch.h"
#include "parameters.h"

struct frame {
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  u64 error, rip, cs, rflags, rsp, ss;
};

extern u8 protection_entry[], tick_entry[], protection_stack_top[], tick_stack_top[];
_Noreturn void enter_guest(const u64 frame[5], u64 data_selector);

enum { VECTOR_PROTECTION = 13, VECTOR_TICK = 32, INTERRUPT_GATE = 0x8e };
enum { IST_PROTECTION = 2, IST_TICK = 3 };
enum { OUTL = 0xef };
enum { FIRST_PORT = PORT_IDLE, LAST_PORT = FIRST_PORT + 0x1f, DEBUG_EXIT_PORT = 0xf4 };
#define TICK_NS 1000000
#define LAPIC_VA 0xfee00000

static u64 *word_at(u64 offset) { return (u64 *)(MONITOR_VA + offset); }
static u64 parameter(u64 offset) { return *word_at(offset); }

static _Noreturn void finish(u64 kind, u64 value) {
  *word_at(RESULT_KIND) = kind;
  *word_at(RESULT_VALUE) = value;
  for (;;) outl(DEBUG_EXIT_PORT, 0);
}

/* ---- set-up ---- */

static void set_gate(unsigned vector, u64 target, u64 ist) {
  u64 *gate = (u64 *)(parameter(PARAMETER_IDT_BASE) + 16 * vector);
  gate[0] = (target & 0xffff) | (u64)KERNEL_CS << 16 | ist << 32 | (u64)INTERRUPT_GATE << 40 |
            (target >> 16 & 0xffff) << 48;
  gate[1] = target >> 32;
}

static void load_table(int which, u64 base, u64 limit) {
  struct {
    u16 limit;
    u64 base;
  } __attribute__((packed)) pointer = {(u16)limit, base};
  if (which == VECTOR_PROTECTION) __asm__ volatile("lidt %0" : : "m"(pointer));
  else __asm__ volatile("lgdt %0" : : "m"(pointer));
}

static void set_up_traps(void) {
  u8 *tss = (u8 *)(WINDOW_VA + TSS_GPA);
  *(volatile u64 *)(tss + 0x24 + 8 * (IST_PROTECTION - 1)) = (u64)protection_stack_top;
  *(volatile u64 *)(tss + 0x24 + 8 * (IST_TICK - 1)) = (u64)tick_stack_top;
  for (unsigned port = FIRST_PORT; port <= LAST_PORT; port++) tss[0x68 + port / 8] |= (u8)(1u << port % 8);
  set_gate(VECTOR_PROTECTION, (u64)protection_entry, IST_PROTECTION);
  set_gate(VECTOR_TICK, (u64)tick_entry, IST_TICK);
}

static void load_processor(void) {
  load_table(0, parameter(PARAMETER_GDT_BASE), parameter(PARAMETER_GDT_LIMIT));
  load_table(VECTOR_PROTECTION, parameter(PARAMETER_IDT_BASE), 16 * (VECTOR_TICK + 1) - 1);
  __asm__ volatile("ltr %w0" : : "r"(parameter(PARAMETER_TR)));
  const u64 *msr = word_at(PARAMETER_MSRS);
  for (u64 i = 0; i < parameter(PARAMETER_MSR_COUNT); i++, msr += 2)
    __asm__ volatile("wrmsr" : : "c"((u32)msr[0]), "a"((u32)msr[1]), "d"((u32)(msr[1] >> 32)));
  u32 supported[4];
  cpuid(0xd, 0, supported);
  u64 features = parameter(PARAMETER_XCR0) & supported[0];
  __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)features), "d"(0));
}

static volatile u32 *lapic(u32 offset) { return (volatile u32 *)(LAPIC_VA + (u64)offset); }

static void start_ticks(void) {
  *lapic(0x0f0) = 0x1ff;                      /* enabled, spurious vector 255 */
  *lapic(0x3e0) = 0xb;                        /* divide by 1 */
  *lapic(0x320) = 1 << 17 | (u32)VECTOR_TICK; /* periodic */
  *lapic(0x380) = TICK_NS;
}

_Noreturn void monitor_main(void) {
  set_up_traps();
  load_processor();
  start_ticks();
  u64 frame[5] = {parameter(PARAMETER_RIP), parameter(PARAMETER_CS), parameter(PARAMETER_RFLAGS), 0,
                  parameter(PARAMETER_SS)};
  enter_guest(frame, parameter(PARAMETER_SS));
}

/* ---- what the VMM does at an exit ---- */

static void wait_for_tick(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

static void flush_translations(void) {
  u64 root;
  __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(root) : : "memory");
}

static void serve_port(u16 port, u32 value) {
  switch (port) {
    case PORT_IDLE:
    case PORT_POLL: wait_for_tick(); return;
    case PORT_FLUSH: flush_translations(); return;
    case PORT_EXIT: finish(KIND_EXIT, value);
    case PORT_PANIC: finish(KIND_PANIC, 0);
    default: finish(KIND_UNKNOWN_PORT, port);
  }
}

/* To the guest kernel, as the processor would have: its gate has IST1 and leads to CPL 3. */
static void pass_on(struct frame *f) {
  u64 *top = (u64 *)(WINDOW_VA + IST_TOP_GPA) - 6;
  const u64 *from = &f->error;
  for (int i = 0; i < 6; i++) top[i] = from[i];
  f->rip = parameter(PARAMETER_PROTECTION_STUB);
  f->cs = USER_CS;
  f->rsp = (u64)top;
  f->ss = USER_DS;
  f->rflags &= ~(u64)0x14100; /* RF, NT, TF */
}

/* Only the kernel calls. Elsewhere rip may not even be readable: after a jump to no address it is that address. */
static bool is_call(const struct frame *f) {
  u16 port = (u16)f->rdx;
  bool in_kernel = f->rip >= WINDOW_VA && f->rip < WINDOW_VA + WINDOW_SIZE;
  return f->error == 0 && in_kernel && *(const u8 *)f->rip == OUTL && port >= FIRST_PORT && port <= LAST_PORT;
}

void monitor_protection(struct frame *f) {
  if ((f->cs & 3) == 0) finish(KIND_MONITOR_FAULT, f->rip);
  if (is_call(f)) {
    serve_port((u16)f->rdx, (u32)f->rax);
    f->rip++;
  } else pass_on(f);
}

/* QEMU clears SS at each exception with a stack of its own. The kernel loads it again, but a tick may come before that:
 * KVM would go on there, IRETQ does not. */
static void keep_ss(struct frame *f) {
  if (f->ss == 3) f->ss = USER_DS;
}

/* Machine#preempt of machine.ts. */
void monitor_tick(struct frame *f) {
  *lapic(0x0b0) = 0; /* end of interrupt */
  if (f->rip >= MONITOR_VA) return;
  keep_ss(f);
  if (SHARED->kernel_end == 0 || (f->rip >= SHARED->kernel_start && f->rip < SHARED->kernel_end)) {
    SHARED->preempt_pending = 1;
    return;
  }
  u64 *stack = (u64 *)SHARED->kstack_top - 5;
  const u64 *from = &f->rip;
  for (int i = 0; i < 5; i++) stack[i] = from[i];
  f->rip = SHARED->upcall_entry;
  f->rsp = (u64)stack;
  f->rflags = parameter(PARAMETER_RFLAGS);
}
