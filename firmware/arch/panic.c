/* The end of the machine when the kernel's own state is wrong. */
#include "arch.h"
#include "lib.h"

static void record_frames(void) {
  const u64 *frame = __builtin_frame_address(0);
  for (unsigned i = 0; i < COUNT(SHARED->panic_frames); i++) {
    u64 at = (u64)frame;
    bool plausible = (at >= WINDOW_VA && at < WINDOW_VA + WINDOW_SIZE) || at >= RAM_VA;
    if (!plausible || at % 8 != 0 || frame[1] == 0) break;
    SHARED->panic_frames[i] = frame[1];
    frame = (const u64 *)frame[0];
  }
}

void panic(const char *format, ...) {
  char text[sizeof SHARED->panic_message];
  va_list args;
  va_start(args, format);
  vsnprint(text, sizeof text, format, args);
  va_end(args);
  for (unsigned i = 0; i < sizeof text; i++) SHARED->panic_message[i] = (u8)text[i];
  SHARED->panic_rip = (u64)__builtin_return_address(0);
  record_frames();
  for (;;) outl(PORT_PANIC, 0);
}
