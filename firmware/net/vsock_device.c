/* The virtio-vsock device (section 5.10): its queues, its buffers, the packets that go out. */
#include "vsock.h"
#include "lib.h"
#include "mm.h"

#define VIRTIO_VSOCK_F_STREAM 1ull
enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUE_EVENT };
enum { EVENT_TRANSPORT_RESET = 0, EVENTS = 4 };

#define RECEIVE_BUFFERS 64
#define RECEIVE_ORDER 2 /* 16 KiB each: together one connection's credit */
#define OUTBOX_ORDER 6  /* 256 KiB */
#define PACKET_MAX (64u * 1024)
#define CONTROL_ROOM 4096u /* data leaves this much of the outbox to control packets, */
#define CONTROL_SLOTS 16   /* and so many descriptors */

static struct {
  struct virtio_device device;
  enum { VSOCK_UNTRIED, VSOCK_RUNNING, VSOCK_ABSENT } stage;
  struct virtqueue receive, events;
  struct outbox out;
  u64 cid;
  bool out_starved; /* a writer waits for room in the outbox */
  u32 event_words[EVENTS];
} vsock;

/* ---- set-up ---- */

static void post(struct segment *s) {
  struct virtio_buffer buffer = {s->data, s->capacity};
  bool added = virtqueue_add(&vsock.receive, &buffer, 0, 1, s);
  ASSERT(added);
}

static u32 posted(void) { return vsock.receive.size - vsock.receive.free_count; }
static u32 wanted(void) { return MIN((u32)RECEIVE_BUFFERS, (u32)vsock.receive.size); }

/* Buffers that readers hold come back through vsock_recycle; new ones are made only when half are out. */
static void refill(u32 least) {
  while (posted() < least) {
    struct segment *s = page_alloc(RECEIVE_ORDER);
    if (s == NULL) return;
    *s = (struct segment){.capacity = (PAGE << RECEIVE_ORDER) - sizeof *s, .memory = SEGMENT_VSOCK};
    post(s);
  }
}

void vsock_recycle(struct segment *s) {
  if (posted() < wanted()) post(s);
  else page_free(s, RECEIVE_ORDER);
}

static void post_event(u32 *word) {
  virtqueue_add(&vsock.events, &(struct virtio_buffer){word, sizeof *word}, 0, 1, word);
}

static void read_cid(void) { vsock.cid = virtio_config(&vsock.device, 0) | (u64)virtio_config(&vsock.device, 4) << 32; }

static bool start_device(void) {
  u8 *pages = page_alloc(2), *bytes = page_alloc(OUTBOX_ORDER);
  if (pages == NULL || bytes == NULL) return false;
  memset(pages, 0, 4 * PAGE);
  struct virtio_device *d = &vsock.device;
  if (!virtio_open(d, VIRTIO_VSOCK, VIRTIO_VSOCK_F_STREAM) ||
      !virtqueue_start(&vsock.receive, d, QUEUE_RECEIVE, VIRTQUEUE_MAX, pages) ||
      !outbox_start(&vsock.out, d, QUEUE_TRANSMIT, VIRTQUEUE_MAX, pages + PAGE, bytes, PAGE << OUTBOX_ORDER) ||
      !virtqueue_start(&vsock.events, d, QUEUE_EVENT, EVENTS, pages + 2 * PAGE))
    return false;
  read_cid();
  virtio_ready(d);
  return true;
}

bool vsock_start(void) {
  if (vsock.stage != VSOCK_UNTRIED) return vsock.stage == VSOCK_RUNNING;
  vsock_table_init();
  vsock.stage = start_device() ? VSOCK_RUNNING : VSOCK_ABSENT;
  if (vsock.stage == VSOCK_ABSENT) return false;
  refill(wanted());
  for (int i = 0; i < EVENTS; i++) post_event(&vsock.event_words[i]);
  return true;
}

u64 vsock_cid(void) { return vsock.cid; }

/* ---- sending ---- */

static struct vsock_header header_to(u64 cid, u32 port, u32 peer_port, u16 op) {
  return (struct vsock_header){.source_cid = vsock.cid,
                               .target_cid = cid,
                               .source_port = port,
                               .target_port = peer_port,
                               .type = VSOCK_TYPE_STREAM,
                               .op = op};
}

static struct vsock_header header_of(struct vsock *v, u16 op) {
  struct vsock_header h = header_to(v->peer_cid, v->port, v->peer_port, op);
  h.buffer_alloc = VSOCK_CREDIT;
  h.forwarded = v->consumed_told = v->consumed;
  return h;
}

/* Data keeps CONTROL_ROOM free, and packets are received only while there is some: so there is always room here,
 * unless the host leaves everything lying. */
static void send_control(const struct vsock_header *h) {
  u32 size;
  u8 *room = outbox_room(&vsock.out, sizeof *h, &size);
  if (room == NULL) {
    virtio_host_poll();
    room = outbox_room(&vsock.out, sizeof *h, &size);
    if (room == NULL) return;
  }
  memcpy(room, h, sizeof *h);
  outbox_send(&vsock.out, sizeof *h);
}

void vsock_send_stray(u64 cid, u32 port, u32 peer_port, u16 op) {
  struct vsock_header h = header_to(cid, port, peer_port, op);
  send_control(&h);
}

void vsock_send_op(struct vsock *v, u16 op, u32 flags) {
  struct vsock_header h = header_of(v, op);
  h.flags = flags;
  send_control(&h);
}

static bool enough_room(void) {
  struct outbox *o = &vsock.out;
  return o->queue.free_count > CONTROL_SLOTS && o->size - o->pending > 2 * CONTROL_ROOM;
}

bool vsock_data_room(void) {
  if (!enough_room()) outbox_empty(&vsock.out); /* takes back what the host has seen */
  bool room = enough_room();
  if (!room) vsock.out_starved = true;
  return room;
}

bool vsock_make_data_room(void) {
  if (vsock_data_room()) return true;
  virtio_host_poll();
  outbox_empty(&vsock.out);
  vsock_poll();
  return vsock_data_room();
}

u32 vsock_send_data(struct vsock *v, const struct message *m, size_t offset) {
  u32 size;
  u8 *room = outbox_room(&vsock.out, sizeof(struct vsock_header) + 1, &size);
  if (room == NULL) return 0;
  u32 n = (u32)MIN(m->size - offset, (size_t)MIN(vsock_credit(v), PACKET_MAX));
  n = MIN(n, size - (u32)sizeof(struct vsock_header));
  struct vsock_header h = header_of(v, OP_DATA);
  h.size = n;
  memcpy(room, &h, sizeof h);
  message_gather(m, offset, room + sizeof h, n);
  outbox_send(&vsock.out, n + (u32)sizeof h);
  v->sent += n;
  return n;
}

/* ---- polling ---- */

static void wake_starved(void) {
  outbox_empty(&vsock.out);
  if (!enough_room()) return;
  vsock.out_starved = false;
  vsock_wake_all(POLLOUT);
}

static bool control_room(void) {
  struct outbox *o = &vsock.out;
  if (o->queue.free_count < 2 || o->size - o->pending < CONTROL_ROOM / 2) outbox_empty(o);
  return o->queue.free_count >= 2 && o->size - o->pending >= CONTROL_ROOM / 2;
}

void vsock_poll(void) {
  if (vsock.stage != VSOCK_RUNNING) return;
  struct segment *segment;
  u32 length;
  while (control_room() && (segment = virtqueue_take(&vsock.receive, &length)) != NULL) {
    bool taken = vsock_receive(segment, length);
    if (!taken) post(segment);
  }
  refill(wanted() / 2);
  for (u32 *word; (word = virtqueue_take(&vsock.events, NULL)) != NULL;) {
    if (*word == EVENT_TRANSPORT_RESET) {
      vsock_reset_all();
      read_cid();
    }
    post_event(word);
  }
  if (vsock.out_starved) wake_starved();
}
