/* The virtqueue and the outbox against a device that is played here: random chains, answers in any order, indices
 * that wrap around. Build and run: make -f virtio.mk */
#include "abi.h"
#include "arch.h"
#include "lib.h"
#include "mm.h"

static void host_exit(u16 port);
#define outl(port, value) host_exit(port)
#include "../../drivers/virtio.c"
#include "../../drivers/outbox.c"
#include "../../net/inbox.c"
#undef outl

int printf(const char *format, ...);
_Noreturn void abort(void);
void *mmap(void *address, size_t size, int protection, int flags, int fd, long offset);
void *malloc(size_t size);
void free(void *p);
void *aligned_alloc(size_t alignment, size_t size);

/* ---- the kernel around the files under test ---- */

static struct boot boot = {.device_count = 2};
void *ram_pointer(u64 gpa) { return gpa == BOOT_GPA ? (void *)&boot : NULL; }
u64 ram_gpa(const void *p) { return (u64)p & 0xffffffffffff; }
void panic(const char *format, ...) {
  printf("panic: %s\n", format);
  abort();
}
void *kmalloc(size_t size) { return malloc(size); }
void kfree(void *p) { free(p); }
void *page_alloc(unsigned order) { return aligned_alloc(PAGE, PAGE << order); }
void page_free(void *p, unsigned order) { free(p); }
void file_ref(struct file *f) { f->refs++; }
void file_put(struct file *f) { f->refs--; }
static int recycled;
void vsock_recycle(struct segment *s) { recycled++, free(s); }

#define CHECK(x) ((x) ? (void)0 : panic("line " LINE(__LINE__) ": " #x))
#define LINE(n) LINE_TEXT(n)
#define LINE_TEXT(n) #n

static u64 seed = 88172645463325252ull;
static u32 roll(u32 below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (u32)(seed >> 11) % below;
}

/* ---- the device ---- */

static volatile u32 *registers;
static u16 device_seen, device_used;

static void open_device(struct virtio_device *d) {
  registers = mmap((void *)MMIO_VA, 2 * MMIO_STRIDE, 3, 0x32, -1, 0);
  CHECK((u64)registers == MMIO_VA);
  u32 slot = MMIO_STRIDE / 4;
  registers[slot + DEVICE_ID] = VIRTIO_VSOCK;
  registers[slot + DEVICE_FEATURES] = 0xffffffff; /* whichever half is asked for */
  registers[slot + QUEUE_SIZE_MAX] = 64;
  CHECK(!virtio_open(d, VIRTIO_NET, 0));
  CHECK(virtio_open(d, VIRTIO_VSOCK, 1));
  CHECK(d->features == (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | 1));
  virtio_ready(d);
  CHECK(d->registers[STATUS] == 15);
  d->registers[QUEUE_NOTIFY] = ~0u;
}

static void open_queue(struct virtqueue *q, struct virtio_device *d) {
  void *page = page_alloc(0);
  memset(page, 0, PAGE);
  CHECK(virtqueue_start(q, d, 3, VIRTQUEUE_MAX, page));
  CHECK(q->size == 64);
  CHECK((u8 *)(uintptr_t)(q->avail_event + 1) <= (u8 *)page + PAGE);
  device_seen = device_used = 0;
}

static void never_kick(struct virtqueue *q) { *q->avail_event = (u16)(device_seen - 1); }

static bool device_pop(struct virtqueue *q, u16 *head) {
  if (device_seen == q->avail[1]) return false;
  *head = q->avail[2 + (device_seen++ & (q->size - 1))];
  never_kick(q);
  return true;
}

static void device_return(struct virtqueue *q, u16 head, u32 length) {
  q->used_ring[device_used & (q->size - 1)] = (struct virtqueue_used){head, length};
  q->used[1] = ++device_used;
}

static void host_exit(u16 port) { CHECK(port == PORT_POLL); }

/* ---- the tests ---- */

static u8 memory[64][4];

/* Chains of up to four buffers; the device holds any number and returns them in any order. */
static void random_chains(struct virtio_device *d) {
  static struct virtqueue q;
  u16 held[64];
  u32 held_count = 0, added = 0, taken = 0;
  open_queue(&q, d);
  never_kick(&q);
  for (int step = 0; step < 400000; step++) {
    u32 what = roll(3);
    if (what == 0) {
      struct virtio_buffer buffers[4];
      u16 out = (u16)roll(3), in = (u16)roll(3), free_before = q.free_count;
      for (int i = 0; i < 4; i++) buffers[i] = (struct virtio_buffer){memory[roll(64)], roll(5)};
      bool fits = out + in > 0 && out + in <= free_before;
      CHECK(virtqueue_add(&q, buffers, out, in, (void *)(u64)(added + 1)) == fits);
      added += fits;
      CHECK(q.free_count == free_before - (fits ? out + in : 0));
    } else if (what == 1 && held_count < 64) {
      held_count += device_pop(&q, &held[held_count]);
    } else if (held_count > 0) {
      u32 which = roll(held_count);
      device_return(&q, held[which], which);
      held[which] = held[--held_count];
      u32 length;
      CHECK(virtqueue_take(&q, &length) != NULL && length == which);
      CHECK(virtqueue_take(&q, &length) == NULL);
      taken++;
    }
  }
  for (u16 head; device_pop(&q, &head);) held[held_count++] = head;
  while (held_count > 0) device_return(&q, held[--held_count], 0);
  while (virtqueue_take(&q, NULL) != NULL) taken++;
  CHECK(added == taken && q.free_count == q.size && added > 70000); /* more than 2^16: the indices wrapped */
  CHECK(d->registers[QUEUE_NOTIFY] == ~0u);
}

static void notifications(struct virtio_device *d) {
  static struct virtqueue q;
  struct virtio_buffer buffer = {memory[0], 4};
  open_queue(&q, d);
  *q.avail_event = 1; /* tell me when index 1 is passed */
  virtqueue_add(&q, &buffer, 1, 0, memory);
  CHECK(d->registers[QUEUE_NOTIFY] == ~0u);
  virtqueue_add(&q, &buffer, 1, 0, memory);
  CHECK(d->registers[QUEUE_NOTIFY] == 3);
  d->registers[QUEUE_NOTIFY] = ~0u;
  virtqueue_add(&q, &buffer, 1, 0, memory);
  CHECK(d->registers[QUEUE_NOTIFY] == ~0u);
}

/* Every byte that goes in comes out, once and in order, whatever the sizes. */
static void outbox_stream(struct virtio_device *d) {
  static struct outbox o;
  static u8 bytes[1000];
  u8 next_in = 0, next_out = 0;
  u64 total = 0;
  u32 refused = 0;
  open_queue(&o.queue, d);
  o.bytes = bytes;
  o.size = sizeof bytes;
  never_kick(&o.queue);
  for (int step = 0; step < 300000; step++) {
    if (roll(2) == 0) {
      u32 size, least = 1 + roll(300);
      u8 *room = outbox_room(&o, least, &size);
      refused += room == NULL;
      if (room == NULL) continue;
      CHECK(size >= least && room >= bytes && room + size <= bytes + sizeof bytes);
      size = least + roll(size - least + 1);
      for (u32 i = 0; i < size; i++) room[i] = next_in++;
      outbox_send(&o, size);
      total += size;
    } else {
      u16 head;
      if (!device_pop(&o.queue, &head)) continue;
      const u8 *from = (const u8 *)o.queue.descriptors[head].address;
      for (u32 i = 0; i < o.queue.descriptors[head].length; i++) CHECK(from[i] == next_out++);
      device_return(&o.queue, head, 0);
    }
  }
  for (u16 head; device_pop(&o.queue, &head);) device_return(&o.queue, head, 0);
  CHECK(outbox_empty(&o) && o.queue.free_count == o.queue.size && total > 1000000 && refused > 1000);
}

/* A stream through an inbox, in random pieces; and datagrams, which stay whole. */
static void inbox_stream(void) {
  static u8 out[70000], got[70000];
  struct inbox in;
  u8 next_in = 0, next_out = 0;
  size_t waiting = 0;
  inbox_init(&in);
  for (int step = 0; step < 20000; step++) {
    size_t n = roll(roll(8) == 0 ? 70000 : 200) + 1;
    struct span spans[2] = {{NULL, n / 3}, {NULL, n - n / 3}};
    struct message m = {.spans = spans, .span_count = 2, .size = n};
    if (roll(2) == 0 && waiting < 500000) {
      spans[0].data = out, spans[1].data = out + n / 3;
      for (size_t i = 0; i < n; i++) out[i] = next_in++;
      CHECK(inbox_append(&in, &m, 0, n) == n);
      waiting += n;
    } else {
      spans[0].data = got, spans[1].data = got + n / 3;
      size_t taken = inbox_take(&in, &m, 0);
      CHECK(taken == MIN(n, waiting));
      for (size_t i = 0; i < taken; i++) CHECK(got[i] == next_out++);
      waiting -= taken;
    }
    CHECK(in.size == waiting);
  }
  inbox_clear(&in);
  CHECK(in.size == 0 && list_empty(&in.segments));
}

static void inbox_rights(void) {
  struct file f = {.refs = 2};
  struct inbox in;
  u8 text[] = "abcdef", back[16];
  struct span span = {text, 6};
  struct message m = {.spans = &span, .span_count = 1, .size = 6};
  inbox_init(&in);
  inbox_append(&in, &m, 0, 6);
  m.rights = kmalloc(sizeof *m.rights + sizeof(struct file *));
  m.rights->count = 1;
  m.rights->files[0] = &f;
  inbox_append(&in, &m, 0, 6);
  CHECK(m.rights == NULL);
  inbox_append(&in, &m, 0, 6);
  span = (struct span){back, sizeof back};
  m.size = sizeof back;
  CHECK(inbox_take(&in, &m, 0) == 12 && m.rights != NULL && m.rights->files[0] == &f);
  rights_free(m.rights);
  CHECK(f.refs == 1);
  m.rights = NULL;
  CHECK(inbox_take(&in, &m, 0) == 6 && m.rights == NULL);
  inbox_clear(&in);
}

int main(void) {
  static struct virtio_device d;
  open_device(&d);
  random_chains(&d);
  notifications(&d);
  outbox_stream(&d);
  inbox_stream();
  inbox_rights();
  printf("ok virtio_queue\n");
  return 0;
}
