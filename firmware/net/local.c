/* Connections within the kernel: a write puts its bytes straight into the inbox of the socket at the other end. */
#include "errno.h"
#include "lib.h"
#include "socket.h"

struct wait_queue local_room = {LIST_INIT(local_room.entries)};

void local_join(struct socket *a, struct socket *b) {
  a->peer = b;
  b->peer = a;
  a->state = b->state = SOCKET_CONNECTED;
}

static struct socket *new_child(struct socket *listener) {
  struct socket *child = socket_new(listener->family, listener->type, listener->protocol, listener->transport);
  if (child == NULL) return NULL;
  child->local = listener->local;
  return child;
}

i64 local_connect(struct socket *s, struct socket *(*find)(const struct socket *s, const struct address *a),
                  const struct address *a, bool nonblock) {
  for (;;) {
    struct socket *listener = find(s, a);
    if (listener == NULL || listener->state != SOCKET_LISTENING) return -ECONNREFUSED;
    if (listener->type != s->type) return -EPROTOTYPE;
    if (listener->accepting_count <= listener->backlog) {
      struct socket *child = new_child(listener);
      if (child == NULL) return -ENOMEM;
      local_join(s, child);
      s->remote = *a;
      child->remote = s->local;
      socket_offer(listener, child);
      return 0;
    }
    if (nonblock) return -EAGAIN;
    int slept = sleep_on(&local_room, FOREVER);
    if (slept < 0) return slept;
    /* What another thread did to the socket meanwhile. */
    if (s->state != SOCKET_FRESH) return s->state == SOCKET_CONNECTED ? -EISCONN : -EINVAL;
  }
}

static size_t room_for(const struct socket *peer) {
  return peer->in.size < peer->in.limit ? peer->in.limit - peer->in.size : 0;
}

ssize_t local_send(struct socket *s, struct message *m, size_t offset) {
  if (s->out_ended) return -EPIPE;
  if (s->state != SOCKET_CONNECTED) return -ENOTCONN;
  struct socket *peer = s->peer;
  if (peer == NULL) return -EPIPE;
  size_t left = m->size - offset, room = room_for(peer), sent;
  if (s->type == SOCK_STREAM) {
    if (left == 0) return 0;
    if (room == 0) return -EAGAIN;
    sent = inbox_append(&peer->in, m, offset, MIN(left, room));
    if (sent == 0) return -ENOMEM;
  } else {
    if (left > peer->in.limit) return -EMSGSIZE;
    if (left > room) return -EAGAIN;
    if (!inbox_append_datagram(&peer->in, m, s->local.size > 0 ? &s->local : NULL)) return -ENOMEM;
    sent = left;
  }
  wake(&peer->queue, POLLIN);
  return (ssize_t)sent;
}

/* Writable means: a good part of the buffer is free, so that a writer is not woken for each byte that is read. */
bool local_can_send(struct socket *s) {
  if (s->peer == NULL) return true;
  return room_for(s->peer) >= s->peer->in.limit / 4;
}

void local_consumed(struct socket *s, size_t n) {
  if (s->type == SOCK_DGRAM) wake(&local_room, 0);
  struct socket *peer = s->peer;
  if (peer == NULL) return;
  size_t quarter = s->in.limit / 4, room = room_for(s);
  bool crossed = room >= quarter && (room < n || room - n < quarter);
  if (crossed || s->type != SOCK_STREAM) wake(&peer->queue, POLLOUT);
}

void local_shutdown(struct socket *s, int how) {
  struct socket *peer = s->type == SOCK_DGRAM ? NULL : s->peer;
  if (how != SHUT_WR) {
    s->in_ended = true;
    if (peer != NULL) peer->out_ended = true;
  }
  if (how != SHUT_RD) {
    s->out_ended = true;
    if (peer != NULL) peer->in_ended = true;
  }
  wake(&s->queue, 0);
  if (peer != NULL) wake(&peer->queue, 0);
}

void local_close(struct socket *s) {
  struct socket *peer = s->peer;
  if (s->state == SOCKET_LISTENING || s->type == SOCK_DGRAM) wake(&local_room, 0);
  if (peer == NULL) return;
  s->peer = peer->peer = NULL;
  if (s->type != SOCK_DGRAM) {
    peer->in_ended = peer->out_ended = true;
    /* Whoever closes without having read all resets the connection, and whoever asked for it. */
    bool asked = s->linger.on && s->linger.seconds == 0 && s->family != AF_UNIX;
    if (asked || !list_empty(&s->in.segments)) peer->error = ECONNRESET;
  }
  wake(&peer->queue, 0);
}
