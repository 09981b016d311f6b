/* fs/pipe.c: a ring of 64 KiB whose pages are allocated when they are first written. */
#include "inode.h"

enum { PIPE_PAGES = 16, PIPE_BUF = 4096, SIGPIPE = 13 };
#define PIPE_SIZE (PIPE_PAGES * PAGE)

struct pipe {
  u8 *pages[PIPE_PAGES];
  u64 head, tail; /* bytes ever read and written */
  bool reader, writer;
  struct wait_queue readable, writable;
};

static u64 filled(const struct pipe *p) { return p->tail - p->head; }
static u64 room(const struct pipe *p) { return PIPE_SIZE - filled(p); }

static ssize_t wait_readable(struct file *f, struct pipe *p) {
  while (filled(p) == 0) {
    if (!p->writer) return 0;
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int error = sleep_on(&p->readable, FOREVER);
    if (error < 0) return error;
  }
  return 1;
}

static ssize_t pipe_read(struct file *f, void *buf, size_t n, off_t *pos) {
  struct pipe *p = f->state;
  if (n == 0) return 0;
  ssize_t ready = wait_readable(f, p);
  if (ready <= 0) return ready;
  n = pipe_peek(f, buf, n);
  pipe_discard(f, n);
  return (ssize_t)n;
}

/* Puts as much as there is room and memory for. */
static size_t fill(struct pipe *p, const u8 *buf, size_t n) {
  size_t done = 0;
  n = MIN(n, room(p));
  while (done < n) {
    u8 **page = &p->pages[p->tail / PAGE % PIPE_PAGES];
    u64 at = p->tail % PAGE, part = MIN(n - done, PAGE - at);
    if (*page == NULL && (*page = page_alloc(0)) == NULL) break;
    memcpy(*page + at, buf + done, part);
    done += part;
    p->tail += part;
  }
  if (done > 0) wake(&p->readable, POLLIN);
  return done;
}

static ssize_t broken(void) {
  signal_send(current, SIGPIPE);
  return -EPIPE;
}

/* Writes of at most PIPE_BUF bytes wait until they fit whole. */
static ssize_t pipe_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  struct pipe *p = f->state;
  size_t done = 0;
  u64 needed = n <= PIPE_BUF ? n : 1;
  if (!p->reader) return broken();
  while (done < n) {
    if (room(p) >= needed) {
      size_t part = fill(p, (const u8 *)buf + done, n - done);
      done += part;
      if (part == 0) return done > 0 ? (ssize_t)done : -ENOMEM;
      continue;
    }
    if (f->flags & O_NONBLOCK) return done > 0 ? (ssize_t)done : -EAGAIN;
    int error = sleep_on(&p->writable, FOREVER);
    if (error < 0) return done > 0 ? (ssize_t)done : error;
    if (!p->reader) return done > 0 ? (ssize_t)done : broken();
  }
  return (ssize_t)done;
}

static u32 poll_read_end(struct file *f) {
  const struct pipe *p = f->state;
  return (filled(p) > 0 ? POLLIN : 0) | (p->writer ? 0 : POLLHUP);
}

static u32 poll_write_end(struct file *f) {
  const struct pipe *p = f->state;
  return (room(p) >= PIPE_BUF ? POLLOUT : 0) | (p->reader ? 0 : POLLERR);
}

static struct wait_queue *read_queue(struct file *f) { return &((struct pipe *)f->state)->readable; }

static struct wait_queue *write_queue(struct file *f) { return &((struct pipe *)f->state)->writable; }

static i64 pipe_ioctl(struct file *f, u32 request, u64 arg) {
  if (request != FIONREAD) return -ENOTTY;
  *(int *)arg = (int)filled(f->state);
  return 0;
}

static void release(struct pipe *p) {
  if (p->reader || p->writer) return;
  for (u32 i = 0; i < PIPE_PAGES; i++)
    if (p->pages[i] != NULL) page_free(p->pages[i], 0);
  kfree(p);
}

static void close_read_end(struct file *f) {
  struct pipe *p = f->state;
  p->reader = false;
  wake(&p->writable, POLLERR);
  release(p);
}

static void close_write_end(struct file *f) {
  struct pipe *p = f->state;
  p->writer = false;
  wake(&p->readable, POLLHUP);
  release(p);
}

/* ---- For splice ------------------------------------------------------------------------------ */

static const struct file_ops read_end_ops, write_end_ops;

int pipe_end(const struct file *f) {
  return f->ops == &read_end_ops ? PIPE_READ_END : f->ops == &write_end_ops ? PIPE_WRITE_END : PIPE_NEITHER;
}

bool pipe_same(const struct file *a, const struct file *b) { return a->state == b->state; }

ssize_t pipe_wait_data(struct file *f, bool nonblock) {
  struct pipe *p = f->state;
  ssize_t ready = filled(p) == 0 && p->writer && nonblock ? -EAGAIN : wait_readable(f, p);
  return ready <= 0 ? ready : (ssize_t)filled(p);
}

ssize_t pipe_wait_room(struct file *f, bool nonblock) {
  struct pipe *p = f->state;
  while (p->reader && room(p) == 0) {
    if (nonblock || (f->flags & O_NONBLOCK)) return -EAGAIN;
    int error = sleep_on(&p->writable, FOREVER);
    if (error < 0) return error;
  }
  return p->reader ? (ssize_t)room(p) : broken();
}

size_t pipe_peek(const struct file *f, void *to, size_t n) {
  const struct pipe *p = f->state;
  n = MIN(n, filled(p));
  for (size_t done = 0; done < n;) {
    u64 from = p->head + done, at = from % PAGE, part = MIN(n - done, PAGE - at);
    memcpy((u8 *)to + done, p->pages[from / PAGE % PIPE_PAGES] + at, part);
    done += part;
  }
  return n;
}

void pipe_discard(struct file *f, size_t n) {
  struct pipe *p = f->state;
  p->head += n;
  wake(&p->writable, POLLOUT);
}

static const struct file_ops read_end_ops = {
    .read = pipe_read, .poll = poll_read_end, .queue = read_queue, .ioctl = pipe_ioctl, .close = close_read_end};
static const struct file_ops write_end_ops = {
    .write = pipe_write, .poll = poll_write_end, .queue = write_queue, .ioctl = pipe_ioctl, .close = close_write_end};

i64 pipe_new(u32 flags, struct file *ends[2]) {
  struct pipe *p = kzalloc(sizeof(*p));
  if (p == NULL) return -ENOMEM;
  wait_queue_init(&p->readable);
  wait_queue_init(&p->writable);
  ends[0] = file_new(&read_end_ops, p, O_RDONLY | (flags & O_NONBLOCK), "pipe");
  ends[1] = file_new(&write_end_ops, p, O_WRONLY | (flags & O_NONBLOCK), "pipe");
  if (ends[0] == NULL || ends[1] == NULL) {
    kfree(ends[0]);
    kfree(ends[1]);
    kfree(p);
    return -ENOMEM;
  }
  p->reader = p->writer = true;
  return 0;
}
