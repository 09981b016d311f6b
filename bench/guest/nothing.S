/* Ends with its first instructions. */
.globl _start
_start:
  mov $231, %eax
  xor %edi, %edi
  syscall
