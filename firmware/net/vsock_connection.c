/* The connections of vsock: the table of them, and what arrives for each. */
#include "vsock.h"
#include "errno.h"
#include "lib.h"

#define TABLE_SIZE 64
#define HOST_BACKLOG 512u /* streams that the host has for a guest */
static struct list table[TABLE_SIZE];

void vsock_table_init(void) {
  for (int i = 0; i < TABLE_SIZE; i++) list_init(&table[i]);
}

static struct list *bucket(u32 port, u32 peer_port) { return &table[(port ^ peer_port * 31) % TABLE_SIZE]; }
static struct vsock *vsock_of(struct list *link) { return CONTAINER(link, struct vsock, chain); }

static struct vsock *find(u32 port, u64 peer_cid, u32 peer_port) {
  LIST_EACH(bucket(port, peer_port), link) {
    struct vsock *v = vsock_of(link);
    if (v->port == port && v->peer_port == peer_port && v->peer_cid == peer_cid) return v;
  }
  return NULL;
}

struct vsock *vsock_new(struct socket *s, u32 port, u64 peer_cid, u32 peer_port) {
  struct vsock *v = kzalloc(sizeof *v);
  if (v == NULL) return NULL;
  v->socket = s;
  v->port = port;
  v->peer_cid = peer_cid;
  v->peer_port = peer_port;
  s->link = v;
  list_push(bucket(port, peer_port), &v->chain);
  return v;
}

void vsock_free(struct vsock *v) {
  v->socket->link = NULL;
  list_remove(&v->chain);
  kfree(v->tunnel);
  kfree(v);
}

u32 vsock_credit(const struct vsock *v) {
  u32 under_way = v->sent - v->peer_forwarded;
  return v->peer_alloc > under_way ? v->peer_alloc - under_way : 0;
}

void vsock_count(struct vsock *v, u32 n) {
  v->consumed += n;
  if (v->consumed - v->consumed_told >= VSOCK_CREDIT / 2) vsock_send_op(v, OP_CREDIT_UPDATE, 0);
}

static void refuse(const struct vsock_header *h) {
  vsock_send_stray(h->source_cid, h->target_port, h->source_port, OP_RESET);
}

/* An AF_VSOCK socket, or else a TCP one: an unmodified server is reachable from outside. */
static struct socket *find_listener(u32 port) {
  struct socket *s = vsock_listener(port);
  return s != NULL || port > 0xffff ? s : inet_listener((u16)port);
}

static void update_credit(struct vsock *v, const struct vsock_header *h) {
  bool was_empty = vsock_credit(v) == 0;
  v->peer_alloc = h->buffer_alloc;
  v->peer_forwarded = h->forwarded;
  if (was_empty && vsock_credit(v) > 0) wake(&v->socket->queue, POLLOUT);
}

/* The host lets in only so many connections, which need not come again for a backlog that is full: those of a burst are
 * taken in, as a network would let them wait. */
static bool has_place(const struct socket *listener) {
  return listener->accepting_count <= MAX(listener->backlog, HOST_BACKLOG);
}

/* A connection from outside becomes a child of whoever listens on the port; RESET when nobody does. */
static void on_request(const struct vsock_header *h) {
  struct socket *listener = find_listener(h->target_port);
  struct socket *child = listener == NULL ? NULL : socket_new(listener->family, SOCK_STREAM, 0, &vsock_transport);
  struct vsock *v = child == NULL ? NULL : vsock_new(child, h->target_port, h->source_cid, h->source_port);
  if (v != NULL) {
    child->local = vsock_address(vsock_cid(), h->target_port);
    child->remote = vsock_address(h->source_cid, h->source_port);
    if (listener->family != AF_VSOCK) inet_name_child(child, listener, (u16)h->source_port);
    child->state = SOCKET_CONNECTED;
    update_credit(v, h);
  }
  if (v != NULL && has_place(listener)) {
    vsock_send_op(v, OP_RESPONSE, 0);
    socket_offer(listener, child);
    return;
  }
  if (listener == NULL) inet_tell_ports();
  refuse(h);
  if (v != NULL) vsock_free(v);
  if (child != NULL) socket_free(child);
}

static void end_connection(struct vsock *v, int error) {
  struct socket *s = v->socket;
  if (v->tunnel != NULL) {
    tunnel_over(v);
    return;
  }
  if (s->state == SOCKET_CONNECTING) {
    s->error = ECONNRESET;
    s->state = SOCKET_FRESH;
  } else if (!s->in_ended) {
    s->error = error;
  }
  s->in_ended = s->out_ended = s->state == SOCKET_CONNECTED;
  vsock_free(v);
  wake(&s->queue, 0);
}

static void on_shutdown(struct vsock *v, u32 flags) {
  struct socket *s = v->socket;
  if (v->tunnel != NULL) {
    vsock_send_op(v, OP_RESET, 0);
    tunnel_over(v);
    return;
  }
  v->peer_shutdown |= flags & SHUTDOWN_BOTH;
  if (v->peer_shutdown & SHUTDOWN_SEND) s->in_ended = true;
  if (v->peer_shutdown & SHUTDOWN_RECEIVE) s->out_ended = true;
  if (v->peer_shutdown == SHUTDOWN_BOTH && list_empty(&s->in.segments)) {
    vsock_send_op(v, OP_RESET, 0);
    vsock_free(v);
  }
  wake(&s->queue, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

/* Data behind a header and `skip` bytes. Returns whether the inbox took the buffer over. */
static bool on_data(struct vsock *v, struct segment *segment, u32 skip, u32 size) {
  struct socket *s = v->socket;
  if (s->in_ended || size == 0) {
    v->consumed += size;
    return false;
  }
  /* Small packets that wait together share a buffer: else a slow reader would hold a page for each byte. */
  struct span span = {segment->data + sizeof(struct vsock_header) + skip, size};
  struct message m = {.spans = &span, .span_count = 1, .size = size};
  struct inbox *in = &s->in;
  const struct segment *tail = list_empty(&in->segments) ? NULL : CONTAINER(in->segments.prev, struct segment, link);
  bool copy = tail != NULL && tail->capacity - tail->end >= size;
  if (copy) {
    inbox_append(in, &m, 0, size);
  } else {
    segment->start = (u32)sizeof(struct vsock_header) + skip;
    segment->end = segment->start + size;
    inbox_push(in, segment);
  }
  wake(&s->queue, POLLIN);
  return !copy;
}

/* A tunnel takes what is its own; once it is through, there may be more behind it. */
static bool on_tunnel_data(struct vsock *v, struct segment *segment, u32 size) {
  struct socket *s = v->socket;
  u32 used = tunnel_received(v, segment->data + sizeof(struct vsock_header), size);
  if (s->link == NULL) return false;
  vsock_count(v, used);
  return on_data(v, segment, used, size - used);
}

static void on_response(struct vsock *v) {
  if (v->tunnel != NULL) {
    tunnel_opened(v);
  } else if (v->socket->state == SOCKET_CONNECTING) {
    v->socket->state = SOCKET_CONNECTED;
    wake(&v->socket->queue, POLLOUT);
  }
}

/* Whom a packet of no connection concerns. News of credit for one that was closed here is no reason for a reset. */
static void on_stray(const struct vsock_header *h) {
  if (h->op == OP_REQUEST && h->type == VSOCK_TYPE_STREAM) on_request(h);
  else if (h->op != OP_RESET && h->op != OP_CREDIT_UPDATE) refuse(h);
}

/* Returns whether the buffer was taken over. */
bool vsock_receive(struct segment *segment, u32 length) {
  struct vsock_header h;
  if (length < sizeof h) return false;
  memcpy(&h, segment->data, sizeof h);
  if (h.size > MIN(length, segment->capacity) - sizeof h) return false;
  struct vsock *v = h.type == VSOCK_TYPE_STREAM ? find(h.target_port, h.source_cid, h.source_port) : NULL;
  if (v == NULL) {
    on_stray(&h);
    return false;
  }
  update_credit(v, &h);
  switch (h.op) {
    case OP_DATA: return v->tunnel != NULL ? on_tunnel_data(v, segment, h.size) : on_data(v, segment, 0, h.size);
    case OP_RESET: end_connection(v, ECONNRESET); break;
    case OP_SHUTDOWN: on_shutdown(v, h.flags); break;
    case OP_CREDIT_REQUEST: vsock_send_op(v, OP_CREDIT_UPDATE, 0); break;
    case OP_RESPONSE: on_response(v); break;
    default: break; /* OP_CREDIT_UPDATE: the header said it all */
  }
  return false;
}

void vsock_reset_all(void) {
  for (int i = 0; i < TABLE_SIZE; i++) {
    struct list *chain = &table[i];
    while (!list_empty(chain)) end_connection(vsock_of(chain->next), ECONNRESET);
  }
}

void vsock_wake_all(u32 events) {
  for (int i = 0; i < TABLE_SIZE; i++) LIST_EACH(&table[i], link) wake(&vsock_of(link)->socket->queue, events);
}
