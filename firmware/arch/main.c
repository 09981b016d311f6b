/* Boot order: one line each. */
#include "arch.h"
#include "file.h"
#include "identity.h"
#include "lib.h"
#include "mm.h"
#include "sched.h"

void exec_program(void); /* sched/exec.c */

void kernel_main(void) {
  SHARED->kernel_start = (u64)kernel_text_start;
  SHARED->kernel_end = (u64)kernel_text_end;
  SHARED->upcall_entry = (u64)upcall_entry;
  if (BOOT->abi_version != ABI_VERSION) panic("the VMM speaks ABI %lu, this kernel %d", BOOT->abi_version, ABI_VERSION);
  frames_init();  /* physical memory */
  tables_init();  /* page tables */
  space_init();   /* the program's address space */
  sched_init();   /* threads; from here on there is a current one */
  devices_init(); /* virtio: found, set up at first use */
  console_init();
  fs_init();      /* image layers, tmpfs, /proc, /dev */
  fd_init();      /* 0, 1, 2 */
  identity_init(); /* user and groups; what was made so far is root's */
  exec_program(); /* does not return */
}
