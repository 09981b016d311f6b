/* System calls whose answer is always the same error. ENOSYS tells a program to do without; EPERM is what a container
 * answers to calls that are for the owner of the machine. */
#include "syscall.h"

#define REFUSED(number, name, format, error, why)                                                                      \
  i64 sys_##name(const u64 *a) { return -error; }
#include "refused.def"
