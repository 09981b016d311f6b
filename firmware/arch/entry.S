/* Every way into the kernel and back to the program. All of it runs at CPL 3 but for one page.
 *
 * The kernel is never re-entered: the VMM delivers no upcall while rip lies between kernel_text_start and
 * kernel_text_end, so the scratch words below need no protection. */
#include "abi_asm.h"

#define SHARED_VA (WINDOW_VA + SHARED_GPA)
#define VECTOR_SYSCALL 256
#define VECTOR_TRAP 257
#define VECTOR_UPCALL 258

.bss
.balign 16
.skip 16384
boot_stack_top:
user_rsp: .quad 0
trap_rcx: .quad 0

/* struct regs of include/sched.h, from rdi downward. */
.macro PUSH_REGS
  push %rdi
  push %rsi
  push %rdx
  push %rcx
  push %rax
  push %r8
  push %r9
  push %r10
  push %r11
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
.endm

.macro POP_REGS
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  pop %r11
  pop %r10
  pop %r9
  pop %r8
  pop %rax
  pop %rcx
  pop %rdx
  pop %rsi
  pop %rdi
.endm

.section .text.entry, "ax"
.balign 16
.globl kernel_entry
kernel_entry:
  mov $boot_stack_top, %esp
  xor %ebp, %ebp
  call kernel_main
  ud2

/* What runs at CPL 0 and what it reads, in a page that holds nothing else: the VMM throws a clone away that wrote to it,
 * so that no guest gets further at CPL 0 than these lines (docs/decisions/0011-cpl0-is-one-page.md). */
.section .text.cpl0, "ax"

/* SYSCALL_TRAP_VA, for LSTAR. Hosts without VT-x or SVM stay at CPL 3 here; the others arrive at CPL 0 and go down first. SFMASK has
 * cleared TF, so that no single step traps here, where there is no handler for it. */
.globl syscall_trap
syscall_trap:
  mov %rcx, trap_rcx
  mov %cs, %ecx
  test $3, %cl
  jnz syscall_at_cpl3
  mov $syscall_at_cpl3, %ecx
  sysretq

/* CR2 cannot be read at CPL 3. This saves the address and goes on as the other exceptions do, at CPL 3 with the
 * frame on the IST stack. Each instruction here costs 2 us without VT-x. */
#define IST_TOP_VA (WINDOW_VA + IST_TOP_GPA)
.org PAGE_FAULT_STUB_VA - KERNEL_VA
.globl page_fault_stub
page_fault_stub:
  push %rax
  mov %cr2, %rax
  mov %rax, fault_address
  pop %rax
  mov $page_fault_frame, %esp
  iretq
.balign 16
page_fault_frame: .quad page_fault_entry, USER_CS, 0x202, IST_TOP_VA - 48, USER_DS

.section .text.entry, "ax"
syscall_at_cpl3:
  mov trap_rcx, %rcx
  mov %rsp, user_rsp
  mov SHARED_VA + OFFSET_kstack_top, %rsp
  push $USER_DS
  push user_rsp
  push %r11
  push $USER_CS
  push %rcx
  push %rax
  push $VECTOR_TRAP
  cld /* SYSRET brought it back */
  jmp syscall_common

/* A patched site: its trampoline has put the number into eax and the return address into rcx. */
.globl syscall_fast
syscall_fast:
  mov %rsp, user_rsp
  mov SHARED_VA + OFFSET_kstack_top, %rsp
  push $USER_DS
  push user_rsp
  push $0x202
  push $USER_CS
  push %rcx
  push %rax
  push $VECTOR_SYSCALL
syscall_common:
  PUSH_REGS
  mov %rsp, %rdi
  call syscall_dispatch
  test %eax, %eax
  jnz return_full
  add $48, %rsp /* r15 to rbx: C code kept them */
  pop %r11
  pop %r10
  pop %r9
  pop %r8
  pop %rax
  pop %rcx
  pop %rdx
  pop %rsi
  pop %rdi
  add $16, %rsp
  pop %rcx
  mov 16(%rsp), %rsp
  jmp *%rcx

/* The VMM put {rip, cs, rflags, rsp, ss} on the kernel stack and us into rip. */
.globl upcall_entry
upcall_entry:
  push $0
  push $VECTOR_UPCALL
  PUSH_REGS
  cld /* the program may have been copying downward */
  mov %rsp, %rdi
  call upcall_handle
.globl return_full
return_full:
  POP_REGS
  add $16, %rsp
  iretq

/* The first thread: its registers lie at rdi, at the top of its kernel stack. */
.globl start_program
start_program:
  mov %rdi, %rsp

/* First step of a new thread, on its own kernel stack with its registers laid out. */
.globl thread_begin
thread_begin:
  call thread_started
  jmp return_full

/* void switch_stacks(u64 *save, u64 load) */
.globl switch_stacks
switch_stacks:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

/* Exceptions arrive on the IST stack. The frame moves to the kernel stack that it belongs to (the thread's, or
 * below what the kernel was doing), so that the next exception finds the IST stack free. SS: processors keep it at the
 * change of stacks, but QEMU clears it, and then a fault that comes while this one is handled could not return. */
exception_common:
  PUSH_REGS
  mov $USER_DS, %eax
  mov %eax, %ss
  mov 136(%rsp), %rax /* rip */
  mov 160(%rsp), %rdx /* rsp */
  cmp $kernel_text_start, %rax
  jb 1f
  cmp $trampolines, %rax /* up to the end: what faults there is an instruction of the program, on its stack */
  jb 2f
1:
  mov SHARED_VA + OFFSET_kstack_top, %rdx
2:
  and $-16, %rdx
  sub $176, %rdx
  mov %rsp, %rsi
  mov %rdx, %rdi
  mov $22, %ecx
  cld
  rep movsq
  mov %rdx, %rsp
  mov %rdx, %rdi
  call exception_handle
  jmp return_full

.altmacro
.macro EXCEPTION n
.balign 16
  .if (\n == 8) || ((\n >= 10) && (\n <= 14)) || (\n == 17) || (\n == 21) || (\n == 29) || (\n == 30)
  .else
  push $0
  .endif
  push $\n
  jmp exception_common
.endm

/* At EXCEPTION_STUBS_VA, 16 bytes each. */
.section .text.exceptions, "ax"
.globl exception_stubs
exception_stubs:
.set i, 0
.rept 32
  EXCEPTION %i
  .set i, i + 1
.endr

.section .text.entry
page_fault_entry:
  push $14
  jmp exception_common

.data
.balign 16
.globl fault_address
fault_address: .quad 0

/* Filled by arch/patch.c; inside the kernel's text range, so that no upcall arrives in one. */
.section .trampolines, "awx", @progbits
.globl trampolines, trampolines_end
.balign 4096
trampolines:
  .skip 0x10000
trampolines_end:
