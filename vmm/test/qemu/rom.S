/* What an x86 processor executes after reset: from real mode to long mode with the control registers of the parameter
 * block, then on to the monitor. The page tables lie in memory already. */
#include "parameters.h"

.section .text
.code16
rom_start:
  cli
  lgdtl %cs:gdt_pointer - rom_start
  mov %cr0, %eax
  or $1, %eax
  mov %eax, %cr0
  ljmpl $0x08, $protected

.code32
protected:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %ss
  mov MONITOR_GPA + PARAMETER_CR4, %eax
  mov %eax, %cr4
  mov MONITOR_GPA + PARAMETER_CR3, %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx /* EFER */
  mov MONITOR_GPA + PARAMETER_EFER, %eax
  and $~0x400, %eax /* LMA follows from paging */
  xor %edx, %edx
  wrmsr
  mov MONITOR_GPA + PARAMETER_CR0, %eax
  mov %eax, %cr0
  ljmpl $0x18, $long_mode

.code64
long_mode:
  mov $MONITOR_VA + MONITOR_ENTRY, %rax
  jmp *%rax

.balign 8
gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdt_pointer:
  .word 31
  .long gdt

.org 0xfff0
.code16
reset:
  jmp rom_start
.org 0x10000
