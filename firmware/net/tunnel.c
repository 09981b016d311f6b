/* Connections of TCP sockets to the world outside, and questions to the name server: each a stream to the host's
 * NET_PORT, where the host opens the real socket if it lets this guest (docs/networking.md).
 *
 *   guest                      host
 *     OP_REQUEST  ────────────►          nobody there: RESET, "network unreachable"
 *                 ◄────────────  OP_RESPONSE
 *     where to    ────────────►          connects
 *                 ◄────────────  errno; after 0 the bytes of the connection
 *
 * From the answer on a TCP socket is one of vsock like any other. A UDP socket keeps its tunnel, which carries datagrams
 * behind their lengths; when it breaks, the next question makes another. */
#include "errno.h"
#include "lib.h"
#include "vsock.h"

enum { PART_SIZE = 2 + NET_DATAGRAM_MAX };

struct tunnel {
  u8 answer[NET_ANSWER_SIZE];
  u32 answer_size; /* bytes of it that are there */
  bool datagrams;
  struct address from;      /* of datagrams: whom they come from */
  u32 out_size, part_size;  /* used of what follows: */
  u32 out_capacity;         /* requests that wait for OP_RESPONSE: where to, then datagrams; */
  u8 bytes[];               /* behind them the datagram that is being received, with its length */
};

static u8 *part_of(struct tunnel *t) { return t->bytes + t->out_capacity; }

/* Bytes of the tunnel's own, not the program's. False: they did not all go, and the stream is of no use any more. */
static bool send_bytes(struct vsock *v, u8 *bytes, u32 size) {
  if (vsock_credit(v) < size) return false;
  struct span span = {bytes, size};
  struct message m = {.spans = &span, .span_count = 1, .size = size};
  for (u32 sent = 0, n; sent < size; sent += n) {
    n = vsock_send_data(v, &m, sent);
    if (n == 0) return false;
  }
  return true;
}

static struct vsock *tunnel_new(struct socket *s, const u8 ip[16], u16 port, bool datagrams) {
  u32 out = NET_REQUEST_SIZE + (datagrams ? PART_SIZE : 0), part = datagrams ? PART_SIZE : 0;
  struct tunnel *t = kmalloc(sizeof *t + out + part);
  struct vsock *v = t == NULL ? NULL : vsock_dial(s, NET_PORT);
  if (v == NULL) {
    kfree(t);
    return NULL;
  }
  *t = (struct tunnel){.datagrams = datagrams, .out_size = NET_REQUEST_SIZE, .out_capacity = out};
  u8 head[8] = {1, datagrams ? NET_DATAGRAM : NET_STREAM, (u8)(port >> 8), (u8)port};
  memcpy(t->bytes, head, sizeof head);
  memcpy(t->bytes + sizeof head, ip, 16);
  v->tunnel = t;
  return v;
}

/* ---- what comes of it, for vsock_connection.c ---- */

static void fail(struct vsock *v, int error) {
  struct socket *s = v->socket;
  if (s->type == SOCK_STREAM) {
    s->error = error;
    s->state = SOCKET_FRESH;
  }
  vsock_free(v);
  wake(&s->queue, 0);
}

static void reset(struct vsock *v, int error) {
  vsock_send_op(v, OP_RESET, 0);
  fail(v, error);
}

/* The stream stands: the host is told what it is for. */
void tunnel_opened(struct vsock *v) {
  struct tunnel *t = v->tunnel;
  vsock_data_room(); /* takes back what the host has seen; there is always room for this little */
  if (send_bytes(v, t->bytes, t->out_size)) t->out_size = 0;
  else reset(v, ENOBUFS);
}

/* The host has ended the stream. Where nobody listens, a resolver is told as by a closed port, or it would wait. */
void tunnel_over(struct vsock *v) {
  struct socket *s = v->socket;
  bool nobody = v->tunnel->out_size > 0;
  if (nobody && s->type == SOCK_DGRAM && s->state == SOCKET_CONNECTED) s->error = ECONNREFUSED;
  fail(v, nobody ? ENETUNREACH : ECONNRESET);
}

static void connected(struct vsock *v) {
  struct socket *s = v->socket;
  kfree(v->tunnel);
  v->tunnel = NULL;
  s->transport = &vsock_transport;
  s->state = SOCKET_CONNECTED;
  wake(&s->queue, POLLOUT);
}

static u32 take(u8 *to, u32 *have, u32 want, const u8 *bytes, u32 size) {
  u32 n = MIN(want - *have, size);
  memcpy(to + *have, bytes, n);
  *have += n;
  return n;
}

static void deliver(struct vsock *v) {
  struct tunnel *t = v->tunnel;
  struct socket *s = v->socket;
  struct span span = {part_of(t) + 2, t->part_size - 2};
  struct message m = {.spans = &span, .span_count = 1, .size = span.size};
  t->part_size = 0;
  if (s->in_ended || s->in.size + span.size > s->in.limit) return;
  if (s->state == SOCKET_CONNECTED && !address_equal(&s->remote, &t->from)) return;
  if (inbox_append_datagram(&s->in, &m, &t->from)) wake(&s->queue, POLLIN);
}

/* Datagrams from the bytes of the stream; false: the host sends what is none. */
static bool receive_datagrams(struct vsock *v, const u8 *bytes, u32 size) {
  struct tunnel *t = v->tunnel;
  u8 *part = part_of(t);
  while (size > 0) {
    u32 want = t->part_size < 2 ? 2 : 2 + (u32)(part[0] << 8 | part[1]);
    if (want > PART_SIZE) return false;
    u32 n = take(part, &t->part_size, want, bytes, size);
    bytes += n;
    size -= n;
    if (t->part_size > 2 && t->part_size == want) deliver(v);
  }
  return true;
}

/* Bytes of the host. Returns how many were the tunnel's own; v may be gone then. */
u32 tunnel_received(struct vsock *v, const u8 *bytes, u32 size) {
  struct tunnel *t = v->tunnel;
  u32 used = take(t->answer, &t->answer_size, NET_ANSWER_SIZE, bytes, size);
  if (t->answer_size < NET_ANSWER_SIZE) return used;
  int error = t->answer[2] | t->answer[3] << 8;
  if (t->answer[0] != 1 || error != 0 || (t->datagrams && !receive_datagrams(v, bytes + used, size - used))) {
    reset(v, error == 0 || error > 133 ? EIO : error); /* 133: Linux's last */
    return size;
  }
  if (t->datagrams) return size;
  connected(v);
  return used;
}

/* ---- for inet.c ---- */

i64 tunnel_wait(struct socket *s) {
  u64 deadline = s->send_timeout == 0 ? FOREVER : clock_mono() + s->send_timeout;
  while (s->state == SOCKET_CONNECTING) {
    int slept = sleep_on(&s->queue, deadline);
    if (slept == -ETIMEDOUT) return -EINPROGRESS;
    if (slept < 0) return slept;
  }
  i64 error = s->error;
  s->error = 0;
  return -error;
}

i64 tunnel_connect(struct socket *s, const u8 ip[16], u16 port, bool nonblock) {
  if (!vsock_start()) return -ENETUNREACH;
  if (tunnel_new(s, ip, port, false) == NULL) return -ENOMEM;
  s->state = SOCKET_CONNECTING;
  return nonblock ? -EINPROGRESS : tunnel_wait(s);
}

/* A datagram that finds no room is lost, as on a network. */
i64 tunnel_send(struct socket *s, struct message *m, const u8 ip[16], u16 port, const struct address *from) {
  u32 size = 2 + (u32)m->size;
  u8 bytes[PART_SIZE] = {(u8)(m->size >> 8), (u8)m->size};
  if (m->size > NET_DATAGRAM_MAX) return -EMSGSIZE;
  if (!vsock_start()) return -ENETUNREACH;
  message_gather(m, 0, bytes + 2, m->size);
  bool room = vsock_make_data_room(); /* what it receives may end the tunnel */
  struct vsock *v = s->link != NULL ? s->link : tunnel_new(s, ip, port, true);
  if (v == NULL) return -ENOMEM;
  struct tunnel *t = v->tunnel;
  t->from = *from;
  if (t->out_size > 0 && t->out_size + size <= t->out_capacity) {
    memcpy(t->bytes + t->out_size, bytes, size);
    t->out_size += size;
  } else if (t->out_size == 0 && room && !send_bytes(v, bytes, size)) {
    reset(v, 0);
  }
  return (i64)m->size;
}

void tunnel_close(struct socket *s) {
  struct vsock *v = s->link;
  if (v == NULL) return;
  vsock_send_op(v, OP_RESET, 0);
  vsock_free(v);
}
