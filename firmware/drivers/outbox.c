/* A transmit queue over a ring of bytes.
 *
 *        tail = head - pending            head
 *   ┌────────┬──────────────────────────────┬──────────────┐
 *   │ free   │ messages the host has to see │ free         │
 *   └────────┴──────────────────────────────┴──────────────┘
 *
 * A message is contiguous; when the end of the ring is too short for one, it is skipped and charged to that message.
 * An empty ring starts again at 0, so that a guest that answers one request dirties the same first pages each time. */
#include "lib.h"
#include "virtio.h"

bool outbox_start(struct outbox *o, struct virtio_device *d, u16 index, u16 queue_size, void *memory, void *bytes,
                  u32 size) {
  *o = (struct outbox){.bytes = bytes, .size = size};
  return virtqueue_start(&o->queue, d, index, queue_size, memory);
}

static void reclaim(struct outbox *o) {
  /* The token of a message is the number of bytes that it was charged. */
  for (void *charge; (charge = virtqueue_take(&o->queue, NULL)) != NULL;) o->pending -= (u32)(uintptr_t)charge;
}

bool outbox_empty(struct outbox *o) {
  reclaim(o);
  return o->pending == 0;
}

static u8 *find_room(struct outbox *o, u32 least, u32 *size) {
  o->skipped = 0;
  if (o->pending == 0) o->head = 0;
  u32 free = o->size - o->pending;
  u32 to_end = o->size - o->head;
  *size = MIN(free, to_end);
  if (*size >= least) return o->bytes + o->head;
  if (to_end > free) return NULL;
  o->skipped = to_end;
  *size = free - to_end;
  return *size >= least ? o->bytes : NULL;
}

u8 *outbox_room(struct outbox *o, u32 least, u32 *size) {
  u8 *room = o->queue.free_count > 0 && o->pending > 0 ? find_room(o, least, size) : NULL;
  if (room != NULL) return room;
  reclaim(o);
  return o->queue.free_count > 0 ? find_room(o, least, size) : NULL;
}

void outbox_send(struct outbox *o, u32 size) {
  u32 start = o->skipped > 0 ? 0 : o->head;
  u32 charge = size + o->skipped;
  struct virtio_buffer message = {o->bytes + start, size};
  bool added = virtqueue_add(&o->queue, &message, 1, 0, (void *)(uintptr_t)charge);
  ASSERT(added);
  o->head = start + size;
  if (o->head == o->size) o->head = 0;
  o->pending += charge;
}
