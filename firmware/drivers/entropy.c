/* virtio-entropy (section 5.4): only for a host that left the shared page's entropy empty. */
#include "lib.h"
#include "mm.h"
#include "virtio.h"

/* Our VMM answers at the first; a device may take its time. */
#define POLLS 1000

static struct virtio_device device;
static struct virtqueue requests;

static bool start(void) {
  if (requests.size > 0) return true;
  void *ring = page_alloc(0);
  if (ring == NULL) return false;
  memset(ring, 0, PAGE);
  if (virtio_open(&device, VIRTIO_ENTROPY, 0) && virtqueue_start(&requests, &device, 0, 8, ring)) {
    virtio_ready(&device);
    return true;
  }
  page_free(ring, 0);
  return false;
}

size_t entropy_read(void *to, size_t size) {
  if (!start()) return 0;
  u8 *page = page_alloc(0);
  if (page == NULL) return 0;
  struct virtio_buffer buffer = {page, (u32)MIN(size, PAGE)};
  u32 got = 0;
  if (virtqueue_add(&requests, &buffer, 0, 1, page)) {
    for (int i = 0; i < POLLS && !virtqueue_has_used(&requests); i++) virtio_host_poll();
    if (virtqueue_take(&requests, &got) == NULL) return 0; /* the buffer stays with the host */
    got = MIN(got, buffer.size);
    memcpy(to, page, got);
  }
  memset(page, 0, PAGE);
  page_free(page, 0);
  return got;
}
