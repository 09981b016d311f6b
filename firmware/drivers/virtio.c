/* The virtio MMIO transport, version 2, and its split virtqueues. */
#include "virtio.h"
#include "abi.h"
#include "arch.h"
#include "lib.h"
#include "mm.h"

/* Register offsets, virtio 1.2 table 4.1, as indices of 32-bit words. */
enum {
  DEVICE_ID = 0x008 / 4,
  DEVICE_FEATURES = 0x010 / 4,
  DEVICE_FEATURES_SELECT = 0x014 / 4,
  DRIVER_FEATURES = 0x020 / 4,
  DRIVER_FEATURES_SELECT = 0x024 / 4,
  QUEUE_SELECT = 0x030 / 4,
  QUEUE_SIZE_MAX = 0x034 / 4,
  QUEUE_SIZE = 0x038 / 4,
  QUEUE_READY = 0x044 / 4,
  QUEUE_NOTIFY = 0x050 / 4,
  STATUS = 0x070 / 4,
  QUEUE_DESCRIPTORS = 0x080 / 4,
  QUEUE_AVAIL = 0x090 / 4,
  QUEUE_USED = 0x0a0 / 4,
  CONFIG = 0x100 / 4,
};

enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8 };
enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

#define DEVICES_MAX 16

/* Device ids by slot, read at the first virtio_open; 0 = nothing there. */
static u32 device_ids[DEVICES_MAX];
static bool probed;

static volatile u32 *registers_of(u32 slot) { return (volatile u32 *)(MMIO_VA + slot * MMIO_STRIDE); }

static void probe(void) {
  const struct boot *boot = ram_pointer(BOOT_GPA);
  u64 count = MIN(boot->device_count, (u64)DEVICES_MAX);
  for (u32 slot = 0; slot < count; slot++) device_ids[slot] = registers_of(slot)[DEVICE_ID];
  probed = true;
}

static volatile u32 *find(u32 id) {
  if (!probed) probe();
  for (u32 slot = 0; slot < DEVICES_MAX; slot++)
    if (device_ids[slot] == id) return registers_of(slot);
  return NULL;
}

static u64 offered_features(volatile u32 *r) {
  r[DEVICE_FEATURES_SELECT] = 0;
  u64 low = r[DEVICE_FEATURES];
  r[DEVICE_FEATURES_SELECT] = 1;
  return low | (u64)r[DEVICE_FEATURES] << 32;
}

static void accept_features(volatile u32 *r, u64 features) {
  r[DRIVER_FEATURES_SELECT] = 0;
  r[DRIVER_FEATURES] = (u32)features;
  r[DRIVER_FEATURES_SELECT] = 1;
  r[DRIVER_FEATURES] = (u32)(features >> 32);
}

bool virtio_open(struct virtio_device *d, u32 id, u64 wanted) {
  volatile u32 *r = find(id);
  if (r == NULL) return false;
  r[STATUS] = 0;
  r[STATUS] = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
  u64 features = offered_features(r) & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
  if (!(features & VIRTIO_F_VERSION_1)) return false;
  accept_features(r, features);
  r[STATUS] = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
  if (!(r[STATUS] & STATUS_FEATURES_OK)) return false;
  d->registers = r;
  d->features = features;
  return true;
}

void virtio_ready(struct virtio_device *d) {
  d->registers[STATUS] = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
}

u32 virtio_config(struct virtio_device *d, u32 offset) { return d->registers[CONFIG + offset / 4]; }

void virtio_host_poll(void) {
  outl(PORT_POLL, 0);
  barrier();
}

/* The high word of a queue's address is 0 after the reset; writing it again would be an exit for nothing. */
static void write_address(volatile u32 *r, u32 index, u64 gpa) {
  r[index] = (u32)gpa;
  if (gpa >> 32 != 0) r[index + 1] = (u32)(gpa >> 32);
}

/* One page: descriptors (16 * size), available ring (6 + 2 * size), used ring (6 + 8 * size, 4-aligned). */
static void lay_out(struct virtqueue *q, u8 *page) {
  q->descriptors = (struct virtqueue_descriptor *)(void *)page;
  u8 *avail = page + q->size * sizeof(struct virtqueue_descriptor);
  u8 *used = avail + ALIGN_UP(6 + 2 * q->size, 4);
  q->avail = (volatile u16 *)(void *)avail;
  q->used = (volatile u16 *)(void *)used;
  q->used_ring = (volatile struct virtqueue_used *)(void *)(used + 4);
  q->avail_event = (volatile u16 *)(void *)(used + 4 + q->size * sizeof(struct virtqueue_used));
}

bool virtqueue_start(struct virtqueue *q, struct virtio_device *d, u16 index, u16 size, void *memory) {
  volatile u32 *r = d->registers;
  r[QUEUE_SELECT] = index;
  u32 max = r[QUEUE_SIZE_MAX];
  if (max == 0) return false;
  *q = (struct virtqueue){.device = d, .index = index, .size = (u16)MIN(max, (u32)MIN(size, VIRTQUEUE_MAX))};
  lay_out(q, memory);
  q->free_count = q->size;
  for (u16 i = 0; i < q->size; i++) q->descriptors[i].next = (u16)(i + 1);
  q->avail[0] = AVAIL_NO_INTERRUPT;
  r[QUEUE_SIZE] = q->size;
  write_address(r, QUEUE_DESCRIPTORS, ram_gpa(q->descriptors));
  write_address(r, QUEUE_AVAIL, ram_gpa((const void *)(uintptr_t)q->avail));
  write_address(r, QUEUE_USED, ram_gpa((const void *)(uintptr_t)q->used));
  r[QUEUE_READY] = 1;
  return true;
}

/* The index went from `old` to `next`: does the host want to hear of it? (Section 2.7.10; the wrapping comparison is
 * the one given there.) */
static bool wants_notification(const struct virtqueue *q, u16 old, u16 next) {
  if (!(q->device->features & VIRTIO_F_EVENT_IDX)) return !(q->used[0] & USED_NO_NOTIFY);
  u16 event = *q->avail_event;
  return (u16)(next - event - 1) < (u16)(next - old);
}

bool virtqueue_add(struct virtqueue *q, const struct virtio_buffer *buffers, u16 out, u16 in, void *token) {
  u16 count = (u16)(out + in);
  if (count == 0 || q->free_count < count) return false;
  u16 head = q->free_head, at = head;
  for (u16 i = 0; i < count; i++) {
    struct virtqueue_descriptor *d = &q->descriptors[at];
    d->address = ram_gpa(buffers[i].data);
    d->length = buffers[i].size;
    d->flags = (u16)((i < out ? 0 : DESCRIPTOR_WRITE) | (i + 1 < count ? DESCRIPTOR_NEXT : 0));
    at = d->next;
  }
  q->free_head = at;
  q->free_count = (u16)(q->free_count - count);
  q->tokens[head] = token;
  q->avail[2 + (q->next_avail & (q->size - 1))] = head;
  barrier(); /* the entry before the index that publishes it */
  u16 old = q->next_avail++;
  q->avail[1] = q->next_avail;
  barrier(); /* the index before the question. For the compiler: the host looks only while the one vCPU is outside */
  if (wants_notification(q, old, q->next_avail)) q->device->registers[QUEUE_NOTIFY] = q->index;
  return true;
}

static void free_chain(struct virtqueue *q, u16 head) {
  u16 last = head, count = 1;
  while (q->descriptors[last].flags & DESCRIPTOR_NEXT) {
    last = q->descriptors[last].next;
    count++;
  }
  q->descriptors[last].next = q->free_head;
  q->free_head = head;
  q->free_count = (u16)(q->free_count + count);
}

void *virtqueue_take(struct virtqueue *q, u32 *length) {
  if (!virtqueue_has_used(q)) return NULL;
  barrier(); /* the index before the entry */
  volatile struct virtqueue_used *entry = &q->used_ring[q->last_used & (q->size - 1)];
  u32 id = entry->id;
  ASSERT(id < q->size && q->tokens[id] != NULL);
  q->last_used++;
  void *token = q->tokens[id];
  q->tokens[id] = NULL;
  if (length != NULL) *length = entry->length;
  free_chain(q, (u16)id);
  return token;
}
