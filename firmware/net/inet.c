/* AF_INET and AF_INET6: TCP and UDP among the sockets of this guest, over its own addresses. TCP beyond goes through
 * tunnel.c, and so do the datagrams of the name server; others have no way out. All addresses are compared in their
 * IPv6 form (IPv4 ones mapped, RFC 4291 2.5.5.2). */
#include "abi.h"
#include "arch.h"
#include "errno.h"
#include "lib.h"
#include "socket.h"

enum { SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_REUSEPORT = 15, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 26 };
enum { EPHEMERAL_FIRST = 32768, EPHEMERAL_LAST = 60999, DATAGRAM_MAX = 65507 };

struct endpoint {
  u8 ip[16];
  u16 port;
};

static const u8 mapped_prefix[12] = {[10] = 0xff, 0xff};
static const u8 mapped_any[16] = {[10] = 0xff, 0xff};
static const u8 mapped_loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
#define MAPPED(ip) \
  {[10] = 0xff, 0xff, (u8)((ip) >> 24), (u8)((ip) >> 16), (u8)((ip) >> 8), (u8)(ip)}
static const u8 mapped_own[16] = MAPPED(NET_GUEST_IP);
static const u8 mapped_name_server[16] = MAPPED(NET_DNS_IP);
static const u8 inet_own6[16] = INET_OWN6;
static const u8 any6[16];
static const u8 loopback6[16] = {[15] = 1};

static struct list bound = LIST_INIT(bound); /* sockets with a port of their own choice */

static struct socket *socket_of(struct list *link) { return CONTAINER(link, struct socket, bound); }
static bool is_mapped(const u8 *ip) { return memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0; }
static bool same_ip(const u8 *a, const u8 *b) { return memcmp(a, b, 16) == 0; }
static bool is_any(const u8 *ip) { return same_ip(ip, mapped_any) || same_ip(ip, any6); }
static bool is_loopback(const u8 *ip) { return same_ip(ip, loopback6) || (is_mapped(ip) && ip[12] == 127); }

static bool is_own(const u8 *ip) {
  return is_loopback(ip) || same_ip(ip, mapped_own) || same_ip(ip, inet_own6);
}

static struct endpoint endpoint_of(const struct address *a) {
  struct endpoint e = {{0}, 0};
  const u8 *port = a->family == AF_INET ? a->in.port : a->in6.port;
  e.port = (u16)(port[0] << 8 | port[1]);
  if (a->family == AF_INET6) {
    memcpy(e.ip, a->in6.ip, 16);
  } else {
    memcpy(e.ip, mapped_prefix, sizeof mapped_prefix);
    memcpy(e.ip + 12, a->in.ip, 4);
  }
  return e;
}

static struct address address_of(const struct endpoint *e, u16 family) {
  struct address a = {0};
  u8 high = (u8)(e->port >> 8), low = (u8)e->port;
  if (family == AF_INET) {
    a.size = sizeof a.in;
    a.in = (struct sockaddr_in){.family = AF_INET, .port = {high, low}};
    memcpy(a.in.ip, e->ip + 12, 4);
  } else {
    a.size = sizeof a.in6;
    a.in6 = (struct sockaddr_in6){.family = AF_INET6, .port = {high, low}};
    memcpy(a.in6.ip, e->ip, 16);
  }
  return a;
}

/* Checks what the program gave and reads it. */
static i64 read_address(const struct socket *s, const struct address *a, struct endpoint *e) {
  if (a->size < 2) return -EINVAL;
  if (a->family != s->family) return -EAFNOSUPPORT;
  if (a->size < (s->family == AF_INET ? sizeof a->in : 24)) return -EINVAL;
  *e = endpoint_of(a);
  return 0;
}

static struct endpoint local_of(const struct socket *s) { return endpoint_of(&s->local); }
static bool only_v6(const struct socket *s) {
  return s->family == AF_INET6 && socket_option(s, IPPROTO_IPV6, IPV6_V6ONLY);
}

/* Whether a socket bound to `mine` gets what is sent to `ip`. */
static bool reaches(const struct socket *s, const u8 *mine, const u8 *ip) {
  if (same_ip(mine, any6)) return !(is_mapped(ip) && only_v6(s));
  if (same_ip(mine, mapped_any)) return is_mapped(ip);
  return same_ip(mine, ip);
}

/* The socket that a connection or datagram to e reaches: the most exact name wins, a listener over the rest. */
static struct socket *find(u8 type, const struct endpoint *e) {
  struct socket *best = NULL;
  LIST_EACH(&bound, link) {
    struct socket *s = socket_of(link);
    struct endpoint mine = local_of(s);
    if (s->type != type || mine.port != e->port || !reaches(s, mine.ip, e->ip)) continue;
    if (type == SOCK_STREAM && s->state != SOCKET_LISTENING) continue;
    if (best == NULL || same_ip(mine.ip, e->ip)) best = s;
  }
  return best;
}

static bool may_share(const struct socket *a, const struct socket *b) {
  if (socket_option(a, SOL_SOCKET, SO_REUSEPORT) && socket_option(b, SOL_SOCKET, SO_REUSEPORT)) return true;
  bool reuse = socket_option(a, SOL_SOCKET, SO_REUSEADDR) && socket_option(b, SOL_SOCKET, SO_REUSEADDR);
  return reuse && a->state != SOCKET_LISTENING && b->state != SOCKET_LISTENING;
}

static bool conflicts(const struct socket *s, const struct endpoint *e) {
  LIST_EACH(&bound, link) {
    const struct socket *other = socket_of(link);
    struct endpoint mine = local_of(other);
    if (other == s || other->type != s->type || mine.port != e->port) continue;
    bool overlap = reaches(other, mine.ip, e->ip) || reaches(s, e->ip, mine.ip);
    if (overlap && !may_share(s, other)) return true;
  }
  return false;
}

static bool choose_port(const struct socket *s, struct endpoint *e) {
  static u16 next = EPHEMERAL_FIRST;
  for (int tries = EPHEMERAL_LAST - EPHEMERAL_FIRST; tries >= 0; tries--) {
    e->port = next;
    next = next == EPHEMERAL_LAST ? EPHEMERAL_FIRST : (u16)(next + 1);
    if (!conflicts(s, e)) return true;
  }
  return false;
}

static i64 set_local(struct socket *s, struct endpoint *e) {
  if (e->port == 0 && !choose_port(s, e)) return -EADDRINUSE;
  s->local = address_of(e, s->family);
  if (!list_linked(&s->bound)) list_push(&bound, &s->bound);
  return 0;
}

static i64 inet_bind(struct socket *s, const struct address *a) {
  struct endpoint e;
  i64 error = read_address(s, a, &e);
  if (error != 0) return error;
  if (s->local.size > 0) return -EINVAL;
  if (!is_any(e.ip) && !is_own(e.ip)) return -EADDRNOTAVAIL;
  if (e.port != 0 && conflicts(s, &e)) return -EADDRINUSE;
  return set_local(s, &e);
}

/* An unbound socket gets a port of its own. */
static i64 bind_any(struct socket *s) {
  struct endpoint e = {.port = 0};
  if (s->local.size > 0) return 0;
  memcpy(e.ip, s->family == AF_INET ? mapped_any : any6, 16);
  return set_local(s, &e);
}

static i64 inet_listen(struct socket *s) {
  i64 error = bind_any(s);
  if (error != 0) return error;
  struct endpoint mine = local_of(s);
  LIST_EACH(&bound, link) {
    struct socket *other = socket_of(link);
    bool rival = other != s && other->state == SOCKET_LISTENING && local_of(other).port == mine.port;
    if (rival && same_ip(local_of(other).ip, mine.ip) && !may_share(s, other)) return -EADDRINUSE;
  }
  vsock_start(); /* connections from outside come that way */
  return 0;
}

/* Where a packet to e really goes: "any" means this host. */
static void route(struct endpoint *e) {
  if (same_ip(e->ip, mapped_any)) memcpy(e->ip, mapped_loopback, 16);
  if (same_ip(e->ip, any6)) memcpy(e->ip, loopback6, 16);
}

/* The address that a packet to `to` comes from. */
static struct endpoint source(const struct socket *s, const struct endpoint *to) {
  struct endpoint from = local_of(s);
  const u8 *v4 = is_loopback(to->ip) ? mapped_loopback : mapped_own;
  const u8 *v6 = is_loopback(to->ip) ? loopback6 : inet_own6;
  if (is_any(from.ip)) memcpy(from.ip, is_mapped(to->ip) ? v4 : v6, 16);
  return from;
}

static struct socket *find_listener(const struct socket *s, const struct address *a) {
  struct endpoint e = endpoint_of(a);
  return find(SOCK_STREAM, &e);
}

static i64 connect_outside(struct socket *s, struct endpoint *from, struct endpoint *to, bool nonblock) {
  if (is_loopback(from->ip)) return -EINVAL; /* as Linux: nothing of the outside would find it */
  s->local = address_of(from, s->family);
  s->remote = address_of(to, s->family);
  return tunnel_connect(s, to->ip, to->port, nonblock);
}

static i64 inet_connect(struct socket *s, const struct address *a, bool nonblock) {
  struct endpoint to;
  if (s->state == SOCKET_CONNECTING) return nonblock ? -EALREADY : tunnel_wait(s);
  i64 error = read_address(s, a, &to);
  if (error == 0) error = bind_any(s);
  if (error != 0) return error;
  route(&to);
  struct endpoint from = source(s, &to);
  struct address target = address_of(&to, s->family);
  if (s->type != SOCK_DGRAM && !is_own(to.ip)) return connect_outside(s, &from, &to, nonblock);
  if (s->type == SOCK_DGRAM) {
    s->remote = target;
    s->state = SOCKET_CONNECTED;
  } else {
    error = local_connect(s, find_listener, &target, nonblock);
    if (error != 0) return error;
    s->peer->local = address_of(&to, s->peer->family);
    s->peer->remote = address_of(&from, s->peer->family);
  }
  s->local = address_of(&from, s->family);
  return 0;
}

/* Only the name server of the outside takes datagrams; others are refused as by a firewall. */
static i64 send_outside(struct socket *s, struct message *m, const struct endpoint *to) {
  if (!same_ip(to->ip, mapped_name_server) || to->port != NET_DNS_PORT) return -EACCES;
  struct address from = address_of(to, s->family);
  return tunnel_send(s, m, to->ip, to->port, &from);
}

/* Datagrams that nobody can take are lost, as on a network; a connected sender is told that the port is closed. */
static ssize_t send_datagram(struct socket *s, struct message *m) {
  struct endpoint to;
  bool named = m->address != NULL && m->address->size > 0;
  if (s->out_ended) return -EPIPE;
  if (!named && s->state != SOCKET_CONNECTED) return -EDESTADDRREQ;
  if (m->size > DATAGRAM_MAX) return -EMSGSIZE;
  i64 error = read_address(s, named ? m->address : &s->remote, &to);
  if (error == 0) error = bind_any(s);
  if (error != 0) return error;
  route(&to);
  if (!is_own(to.ip)) return send_outside(s, m, &to);
  struct endpoint from = source(s, &to);
  struct socket *target = find(SOCK_DGRAM, &to);
  if (target == NULL) {
    if (s->state == SOCKET_CONNECTED) s->error = ECONNREFUSED;
    return (ssize_t)m->size;
  }
  struct address sender = address_of(&from, target->family);
  bool wanted = target->state != SOCKET_CONNECTED || address_equal(&target->remote, &sender);
  if (!wanted || target->in_ended || target->in.size + m->size > target->in.limit) return (ssize_t)m->size;
  if (inbox_append_datagram(&target->in, m, &sender)) wake(&target->queue, POLLIN);
  return (ssize_t)m->size;
}

static ssize_t inet_send(struct socket *s, struct message *m, size_t offset) {
  if (s->type == SOCK_DGRAM) return send_datagram(s, m);
  return s->state == SOCKET_CONNECTING ? -EAGAIN : local_send(s, m, offset);
}

static void inet_close(struct socket *s) {
  tunnel_close(s);
  local_close(s);
}

const struct transport inet_transport = {.bind = inet_bind,
                                         .listen = inet_listen,
                                         .connect = inet_connect,
                                         .send = inet_send,
                                         .can_send = local_can_send,
                                         .consumed = local_consumed,
                                         .shutdown = local_shutdown,
                                         .close = inet_close};

/* ---- for vsock ---- */

/* Whoever listens there on any address of this guest, its loopback interface first. */
struct socket *inet_listener(u16 port) {
  static const u8 *const own[] = {mapped_loopback, loopback6, mapped_own, inet_own6};
  struct socket *s = NULL;
  for (u32 i = 0; s == NULL && i < sizeof own / sizeof own[0]; i++) {
    struct endpoint e = {.port = port};
    memcpy(e.ip, own[i], 16);
    s = find(SOCK_STREAM, &e);
  }
  return s;
}

void inet_tell_ports(void) {
  u32 ports[COUNT(SHARED->net_ports)] = {0}, count = 0;
  LIST_EACH(&bound, link) {
    const struct socket *s = socket_of(link);
    u32 port = local_of(s).port, i = 0;
    if (s->type != SOCK_STREAM || s->state != SOCKET_LISTENING) continue;
    while (i < count && ports[i] != port) i++;
    if (i == count && count < COUNT(ports)) ports[count++] = port;
  }
  for (u32 i = 0; i < COUNT(ports); i++) SHARED->net_ports[i] = ports[i];
}

void inet_name_child(struct socket *child, const struct socket *listener, u16 peer_port) {
  struct endpoint mine = local_of(listener), peer = {.port = peer_port};
  bool v6 = is_loopback(mine.ip) && !is_mapped(mine.ip);
  memcpy(peer.ip, v6 ? loopback6 : mapped_loopback, 16);
  if (is_any(mine.ip)) memcpy(mine.ip, peer.ip, 16);
  child->local = address_of(&mine, child->family);
  child->remote = address_of(&peer, child->family);
}
