/* The devices as the scheduler sees them. Each is set up at its first use, so booting costs no register access. */
#include "file.h"
#include "virtio.h"

void devices_init(void) {}

void devices_poll(void) {
  console_poll();
  vsock_poll();
}
