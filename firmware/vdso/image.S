/* vdso.c as it is linked, for the auxiliary vector. */
.section .rodata.vdso, "a", @progbits
.balign 4096
.globl vdso_start, vdso_end
vdso_start:
.incbin "build/vdso/vdso.so"
vdso_end:
.balign 4096
