/* The monitor's ways in and out. It has stacks of its own: the guest's IST1 belongs to the guest. */
.text
  lea boot_stack_top(%rip), %rsp
  xor %ebp, %ebp
  call monitor_main
  ud2

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
.macro HANDLER name, function
.globl \name
\name:
  PUSH_REGS
  cld
  mov %rsp, %rdi
  call \function
  POP_REGS
  add $8, %rsp
  iretq
.endm

HANDLER protection_entry, monitor_protection
.globl tick_entry
tick_entry:
  push $0
  jmp tick_common
HANDLER tick_common, monitor_tick

/* _Noreturn void enter_guest(const u64 frame[5], u64 data_selector): all other registers start as 0. */
.globl enter_guest
enter_guest:
  mov %rdi, %rsp
  mov %esi, %ds
  mov %esi, %es
  mov %esi, %fs
  mov %esi, %gs
.irp r, eax, ebx, ecx, edx, esi, edi, ebp, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
  xor %\r, %\r
.endr
  iretq

.bss
.balign 16
  .skip 16384
boot_stack_top:
  .skip 16384
.globl protection_stack_top
protection_stack_top:
  .skip 16384
.globl tick_stack_top
tick_stack_top:
