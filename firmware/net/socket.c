/* The socket object: what is the same for all families, and the file in front of it. */
#include "socket.h"
#include "errno.h"
#include "interfaces.h"
#include "lib.h"
#include "mm.h"

enum { SIGPIPE = 13 };
enum { TIOCOUTQ = 0x5411, SIOCATMARK = 0x8905 };

struct socket *socket_new(u16 family, u8 type, u8 protocol, const struct transport *transport) {
  struct socket *s = kzalloc(sizeof *s);
  if (s == NULL) return NULL;
  s->family = family;
  s->type = type;
  s->protocol = protocol;
  s->transport = transport;
  inbox_init(&s->in);
  wait_queue_init(&s->queue);
  list_init(&s->bound);
  list_init(&s->accepting);
  list_init(&s->accept);
  return s;
}

static struct socket *next_accepted(struct socket *s) {
  if (list_empty(&s->accepting)) return NULL;
  struct socket *child = CONTAINER(s->accepting.next, struct socket, accept);
  list_remove(&child->accept);
  s->accepting_count--;
  return child;
}

void socket_free(struct socket *s) {
  for (struct socket *child; (child = next_accepted(s)) != NULL;) socket_free(child);
  s->transport->close(s);
  if (list_linked(&s->bound)) list_remove(&s->bound);
  inbox_clear(&s->in);
  file_put(s->name);
  kfree(s->options);
  kfree(s);
}

bool address_equal(const struct address *a, const struct address *b) {
  return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static i64 take_error(struct socket *s) {
  i64 error = s->error;
  s->error = 0;
  return -error;
}

static u64 deadline_of(u64 timeout) { return timeout == 0 ? FOREVER : clock_mono() + timeout; }

/* The answer when a sleep ended for another reason than a wake: a timeout says "try again". */
static i64 sleep_error(int slept) { return slept == -ETIMEDOUT ? -EAGAIN : slept; }

static i64 broken_pipe(const struct message *m) {
  if (!(m->flags & MSG_NOSIGNAL)) signal_send(current, SIGPIPE);
  return -EPIPE;
}

ssize_t socket_send(struct socket *s, struct message *m, bool nonblock) {
  struct wait_queue *queue = s->type == SOCK_DGRAM ? &local_room : &s->queue;
  u64 deadline = deadline_of(s->send_timeout);
  for (size_t sent = 0;;) {
    i64 result = s->error != 0 ? take_error(s) : s->transport->send(s, m, sent);
    if (result >= 0) {
      sent += (size_t)result;
      if (sent == m->size) return (ssize_t)sent;
      continue;
    }
    if (result == -EAGAIN && !nonblock) {
      int slept = sleep_on(queue, deadline);
      if (slept == 0) continue;
      result = sleep_error(slept);
    }
    if (sent > 0) return (ssize_t)sent;
    return result == -EPIPE ? broken_pipe(m) : result;
  }
}

/* What a receive finds now: bytes, 0 at the end, -EAGAIN when there may be more later. */
static ssize_t receive_now(struct socket *s, struct message *m, size_t offset) {
  if (!list_empty(&s->in.segments)) {
    size_t before = s->in.size;
    bool stream = s->type == SOCK_STREAM;
    size_t n = stream ? inbox_take(&s->in, m, offset) : inbox_take_datagram(&s->in, m);
    if (before != s->in.size || !stream) s->transport->consumed(s, before - s->in.size);
    return (ssize_t)n;
  }
  if (s->error != 0) return take_error(s);
  if (s->in_ended) return 0;
  if (s->type != SOCK_DGRAM && s->state != SOCKET_CONNECTED && s->state != SOCKET_CONNECTING) return -ENOTCONN;
  return -EAGAIN;
}

ssize_t socket_receive(struct socket *s, struct message *m, bool nonblock) {
  u64 deadline = deadline_of(s->receive_timeout);
  bool fill = (m->flags & MSG_WAITALL) && !(m->flags & MSG_PEEK) && s->type == SOCK_STREAM;
  if (s->type == SOCK_STREAM && m->size == 0) return 0;
  for (size_t got = 0;;) {
    ssize_t n = receive_now(s, m, got);
    if (n > 0) got += (size_t)n;
    if (n > 0 && fill && got < m->size && m->rights == NULL) continue;
    if (n == -EAGAIN && !nonblock) {
      int slept = sleep_on(&s->queue, deadline);
      if (slept == 0) continue;
      n = sleep_error(slept);
    }
    return got > 0 ? (ssize_t)got : n;
  }
}

i64 socket_accept(struct socket *s, bool nonblock, struct socket **child) {
  u64 deadline = deadline_of(s->receive_timeout);
  if (s->state != SOCKET_LISTENING) return s->type == SOCK_DGRAM ? -EOPNOTSUPP : -EINVAL;
  while ((*child = next_accepted(s)) == NULL) {
    if (s->state != SOCKET_LISTENING) return -EINVAL;
    if (nonblock) return -EAGAIN;
    int slept = sleep_on(&s->queue, deadline);
    if (slept < 0) return sleep_error(slept);
  }
  wake(&local_room, 0);
  return 0;
}

void socket_offer(struct socket *s, struct socket *child) {
  list_push(&s->accepting, &child->accept);
  s->accepting_count++;
  wake(&s->queue, POLLIN);
}

/* ---- the file ---- */

static ssize_t file_read(struct file *f, void *buf, size_t n, off_t *pos) {
  struct span span = {buf, n};
  struct message m = {.spans = &span, .span_count = 1, .size = n};
  ssize_t got = socket_receive(f->state, &m, f->flags & O_NONBLOCK);
  rights_free(m.rights); /* read() has nowhere to put them */
  return got;
}

static ssize_t file_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  struct span span = {(u8 *)(uintptr_t)buf, n};
  struct message m = {.spans = &span, .span_count = 1, .size = n};
  return socket_send(f->state, &m, f->flags & O_NONBLOCK);
}

static u32 connected_poll(struct socket *s) {
  u32 ready = 0;
  if (!list_empty(&s->in.segments)) ready |= POLLIN;
  if (s->in_ended) ready |= POLLIN | POLLRDHUP;
  if (s->in_ended && s->out_ended) ready |= POLLHUP;
  if (s->out_ended || s->transport->can_send(s)) ready |= POLLOUT;
  return ready;
}

static u32 file_poll_events(struct file *f) {
  struct socket *s = f->state;
  u32 ready = s->error != 0 ? POLLERR | POLLIN | POLLOUT : 0;
  if (s->state == SOCKET_LISTENING) return ready | (list_empty(&s->accepting) ? 0 : POLLIN);
  if (s->state == SOCKET_CONNECTING) return ready;
  if (s->state == SOCKET_FRESH && s->type != SOCK_DGRAM) return ready | POLLOUT | POLLHUP;
  return ready | connected_poll(s);
}

static struct wait_queue *file_wait_queue(struct file *f) { return &((struct socket *)f->state)->queue; }

static i64 file_ioctl(struct file *f, u32 request, u64 arg) {
  struct socket *s = f->state;
  i32 value = 0;
  if (request == FIONREAD) {
    struct list *first = s->in.segments.next;
    const struct segment *segment = CONTAINER(first, struct segment, link);
    bool datagram = s->type != SOCK_STREAM && first != &s->in.segments;
    value = datagram ? (i32)(segment->end - segment->start) : (i32)s->in.size;
  } else if (request != TIOCOUTQ && request != SIOCATMARK) {
    return interface_ioctl(request, arg);
  }
  if (!user_writable(arg, sizeof value)) return -EFAULT;
  *(i32 *)arg = value;
  return 0;
}

static void file_close(struct file *f) { socket_free(f->state); }

static const struct file_ops socket_ops = {.read = file_read,
                                           .write = file_write,
                                           .poll = file_poll_events,
                                           .queue = file_wait_queue,
                                           .ioctl = file_ioctl,
                                           .close = file_close};

struct file *socket_file(struct socket *s, u32 flags) {
  struct file *f = file_new(&socket_ops, s, O_RDWR | (flags & O_NONBLOCK), "socket");
  if (f == NULL) socket_free(s);
  return f;
}

struct socket *file_socket(struct file *f) {
  return f->ops == &socket_ops ? f->state : NULL;
}
