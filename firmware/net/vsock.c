/* virtio-vsock (section 5.10): streams to the host.
 *
 * One request, as the host and this file see it:
 *   host: request bytes into a posted receive buffer, enter
 *   vsock_poll(): the buffer becomes the reader's inbox segment, the reader wakes      (no copy)
 *   read(): bytes into the program's memory, the buffer is posted again
 *   write(): header and bytes into the outbox, nobody is notified
 *   read() again: nothing there, every thread sleeps, idle exit: the host sees the outbox
 *
 * Flow control is the specification's: each side may have buf_alloc bytes under way beyond what the other says that
 * it has consumed (fwd_cnt). The news of that travels in every header; a packet of its own is sent only when the
 * host's picture has half of the buffer wrong. */
#include "vsock.h"
#include "errno.h"
#include "lib.h"

#define PORT_ANY 0xffffffffu
#define PORT_EPHEMERAL 49152u
#define HOST_CID 2
#define CONNECT_TIMEOUT (2 * NS_PER_SEC)

static struct list listeners = LIST_INIT(listeners); /* AF_VSOCK sockets with a port */

struct socket *vsock_listener(u32 port) {
  LIST_EACH(&listeners, link) {
    struct socket *s = CONTAINER(link, struct socket, bound);
    if (s->local.vm.port == port && s->state == SOCKET_LISTENING) return s;
  }
  return NULL;
}

struct address vsock_address(u64 cid, u32 port) {
  return (struct address){.size = sizeof(struct sockaddr_vm),
                          .vm = {.family = AF_VSOCK, .port = port, .cid = (u32)cid}};
}

static ssize_t vsock_send(struct socket *s, struct message *m, size_t offset) {
  if (s->out_ended) return -EPIPE;
  if (s->state != SOCKET_CONNECTED) return -ENOTCONN;
  if (m->address != NULL && m->address->size > 0) return -EISCONN;
  if (offset == m->size) return 0;
  bool room = vsock_make_data_room();
  struct vsock *v = s->link; /* the poll may have ended the connection */
  if (v == NULL || s->out_ended) return -EPIPE;
  u32 sent = room && vsock_credit(v) > 0 ? vsock_send_data(v, m, offset) : 0;
  return sent > 0 ? (ssize_t)sent : -EAGAIN;
}

static bool vsock_can_send(struct socket *s) {
  struct vsock *v = s->link;
  return v == NULL || (vsock_data_room() && vsock_credit(v) > 0); /* without a connection the answer is an error */
}

static void vsock_consumed(struct socket *s, size_t n) {
  struct vsock *v = s->link;
  if (v != NULL) vsock_count(v, (u32)n);
}

static u32 choose_port(void) {
  static u32 next = PORT_EPHEMERAL;
  u32 port = next++;
  if (next == PORT_ANY) next = PORT_EPHEMERAL;
  return port;
}

struct vsock *vsock_dial(struct socket *s, u32 port) {
  struct vsock *v = vsock_new(s, choose_port(), HOST_CID, port);
  if (v != NULL) vsock_send_op(v, OP_REQUEST, 0);
  return v;
}

static i64 vsock_bind(struct socket *s, const struct address *a) {
  if (a->size < sizeof a->vm || a->family != AF_VSOCK) return -EINVAL;
  if (s->local.size > 0) return -EINVAL;
  if (!vsock_start()) return -EADDRNOTAVAIL;
  u32 port = a->vm.port == PORT_ANY ? choose_port() : a->vm.port;
  LIST_EACH(&listeners, link)
  if (CONTAINER(link, struct socket, bound)->local.vm.port == port) return -EADDRINUSE;
  s->local = vsock_address(a->vm.cid, port);
  list_push(&listeners, &s->bound);
  return 0;
}

static i64 vsock_listen(struct socket *s) { return s->local.size > 0 ? 0 : -EINVAL; }

static i64 await_connection(struct socket *s) {
  u64 deadline = clock_mono() + CONNECT_TIMEOUT;
  while (s->state == SOCKET_CONNECTING) {
    int slept = sleep_on(&s->queue, deadline);
    if (slept == 0 || s->state != SOCKET_CONNECTING) continue;
    struct vsock *v = s->link;
    vsock_send_op(v, OP_RESET, 0);
    vsock_free(v);
    s->state = SOCKET_FRESH;
    return slept;
  }
  i64 error = s->error;
  s->error = 0;
  return -error;
}

static i64 vsock_connect_socket(struct socket *s, const struct address *a, bool nonblock) {
  if (a->size < sizeof a->vm || a->family != AF_VSOCK) return -EINVAL;
  if (!vsock_start()) return -ENODEV;
  u32 port = s->local.size > 0 ? s->local.vm.port : choose_port();
  struct vsock *v = vsock_new(s, port, a->vm.cid, a->vm.port);
  if (v == NULL) return -ENOMEM;
  s->local = vsock_address(vsock_cid(), port);
  s->remote = *a;
  s->state = SOCKET_CONNECTING;
  vsock_send_op(v, OP_REQUEST, 0);
  return nonblock ? -EINPROGRESS : await_connection(s);
}

static void vsock_shutdown(struct socket *s, int how) {
  struct vsock *v = s->link;
  if (how != SHUT_WR) s->in_ended = true;
  if (how != SHUT_RD) s->out_ended = true;
  u32 flags = (s->in_ended ? SHUTDOWN_RECEIVE : 0) | (s->out_ended ? SHUTDOWN_SEND : 0);
  if (v != NULL) vsock_send_op(v, OP_SHUTDOWN, flags);
  wake(&s->queue, 0);
}

/* After SHUTDOWN of both directions the host answers with RESET, which then is a stray. */
static void vsock_close(struct socket *s) {
  struct vsock *v = s->link;
  if (v == NULL) return;
  bool asked = s->linger.on && s->linger.seconds == 0;
  bool polite = s->state == SOCKET_CONNECTED && v->peer_shutdown != SHUTDOWN_BOTH && !asked;
  vsock_send_op(v, polite ? OP_SHUTDOWN : OP_RESET, polite ? SHUTDOWN_BOTH : 0);
  vsock_free(v);
}

const struct transport vsock_transport = {.bind = vsock_bind,
                                          .listen = vsock_listen,
                                          .connect = vsock_connect_socket,
                                          .send = vsock_send,
                                          .can_send = vsock_can_send,
                                          .consumed = vsock_consumed,
                                          .shutdown = vsock_shutdown,
                                          .close = vsock_close};

struct file *vsock_connect(u32 cid, u32 port, u32 flags, i64 *error) {
  *error = -ENOMEM;
  struct socket *s = socket_new(AF_VSOCK, SOCK_STREAM, 0, &vsock_transport);
  if (s == NULL) return NULL;
  struct address a = vsock_address(cid, port);
  *error = vsock_connect_socket(s, &a, false);
  if (*error != 0) {
    socket_free(s);
    return NULL;
  }
  struct file *f = socket_file(s, flags);
  if (f == NULL) *error = -ENOMEM;
  return f;
}
