/* The end of the machine when the kernel's own state is wrong. The VMM walks the stack. */
#include "arch.h"
#include "lib.h"
#include "thread.h"

void panic(const char *format, ...) {
  static bool panicking; /* what describes the program may panic too: then the first reason is told */
  if (!panicking) {
    char text[sizeof SHARED->panic_message];
    va_list args;
    va_start(args, format);
    vsnprint(text, sizeof text, format, args);
    va_end(args);
    for (unsigned i = 0; i < sizeof text; i++) SHARED->panic_message[i] = (u8)text[i];
    SHARED->panic_rip = (u64)__builtin_return_address(0);
    SHARED->panic_frame = *(const u64 *)__builtin_frame_address(0);
    panicking = true;
    if (current != NULL) debug_describe();
  }
  for (;;) outl(PORT_PANIC, 0);
}
