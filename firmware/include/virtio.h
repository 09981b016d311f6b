/* drivers/virtio.c: the virtio 1.2 MMIO transport (section 4.2) and split virtqueues (section 2.7).
 *
 * Two facts of this machine shape the driver. Each access to a register is an exit, so each register is touched as
 * seldom as the specification allows. And the host looks at every queue whenever the guest makes the idle exit or
 * the poll exit, so in the steady state there is neither a notification nor an interrupt. */
#pragma once
#include "types.h"

enum {
  VIRTIO_NET = 1,
  VIRTIO_BLOCK = 2,
  VIRTIO_CONSOLE = 3,
  VIRTIO_ENTROPY = 4,
  VIRTIO_BALLOON = 5,
  VIRTIO_VSOCK = 19
};

#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct virtio_device {
  volatile u32 *registers;
  u64 features; /* negotiated */
};

/* A queue of this size has its three parts in one page: one page to dirty, one page to rewind. */
#define VIRTQUEUE_MAX 128

struct virtqueue_descriptor {
  u64 address;
  u32 length;
  u16 flags, next;
};
struct virtqueue_used {
  u32 id, length;
};

struct virtqueue {
  struct virtio_device *device;
  u16 index, size;
  u16 free_head, free_count;
  u16 next_avail; /* our copy of the available index */
  u16 last_used;  /* used entries before this one have been taken */
  struct virtqueue_descriptor *descriptors;
  volatile u16 *avail; /* flags, index, ring[size], used_event */
  volatile u16 *used;  /* flags, index */
  volatile struct virtqueue_used *used_ring;
  volatile u16 *avail_event;   /* the host wants a notification when the index passes this */
  void *tokens[VIRTQUEUE_MAX]; /* by head descriptor */
};

/* A piece of kernel memory that the device reads or writes; contiguous in guest-physical memory. */
struct virtio_buffer {
  void *data;
  u32 size;
};

/* Finds the device with this id, resets it and negotiates `wanted` of what it offers. Then start the queues, then call
 * virtio_ready. False: there is none, or it did not accept. */
bool virtio_open(struct virtio_device *d, u32 id, u64 wanted);
void virtio_ready(struct virtio_device *d);
u32 virtio_config(struct virtio_device *d, u32 offset); /* a word of the configuration space */

/* `memory` is a zeroed page of RAM; size a power of two, at most VIRTQUEUE_MAX (made smaller if the device says so). */
bool virtqueue_start(struct virtqueue *q, struct virtio_device *d, u16 index, u16 size, void *memory);
/* Offers a chain of `out` buffers for the device to read and then `in` buffers for it to write. False: no room. */
bool virtqueue_add(struct virtqueue *q, const struct virtio_buffer *buffers, u16 out, u16 in, void *token);
/* Takes back the next used chain: its token and the number of bytes written into it; NULL when there is none. */
void *virtqueue_take(struct virtqueue *q, u32 *length);
static inline bool virtqueue_has_used(const struct virtqueue *q) {
  return q->used != NULL && q->used[1] != q->last_used;
}

/* Asks the host to look at all queues now; returns when it has. For full rings only. */
void virtio_host_poll(void);

/* drivers/outbox.c: bytes on their way out: a transmit queue over a ring of bytes, one descriptor per message. The
 * device uses messages in order. */
struct outbox {
  struct virtqueue queue;
  u8 *bytes;
  u32 size;
  u32 head;    /* where the next message starts */
  u32 pending; /* bytes between the oldest unused message and head */
  u32 skipped; /* bytes at the ring's end that the message being written leaves out */
};
bool outbox_start(struct outbox *o, struct virtio_device *d, u16 index, u16 queue_size, void *memory, void *bytes,
                  u32 size);
/* Room for one message: at least `least` contiguous bytes, *size tells how many. NULL: full; the ring drains while the
 * host looks at it. */
u8 *outbox_room(struct outbox *o, u32 least, u32 *size);
void outbox_send(struct outbox *o, u32 size); /* the first `size` bytes of that room are the message */
bool outbox_empty(struct outbox *o);

/* drivers/entropy.c: fills `to` from the host's entropy device; returns the number of bytes, 0 without a device. */
size_t entropy_read(void *to, size_t size);

/* Polled by devices_poll: take what the host has used, wake who waited. */
void console_poll(void);
void vsock_poll(void);
