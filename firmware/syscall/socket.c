/* System calls of sockets: making, naming and connecting them. */
#include "errno.h"
#include "lib.h"
#include "mm.h"
#include "socket_calls.h"
#include "syscall.h"

enum { SOCK_NONBLOCK = O_NONBLOCK, SOCK_CLOEXEC = O_CLOEXEC };
enum { IPPROTO_IP = 0, IPPROTO_TCP = 6, IPPROTO_UDP = 17 };
#define BACKLOG_MAX 4096

struct socket *socket_get(u64 fd, struct file **file, i64 *error) {
  *file = fd_get((int)fd);
  struct socket *s = *file == NULL ? NULL : file_socket(*file);
  *error = *file == NULL ? -EBADF : s == NULL ? -ENOTSOCK : 0;
  return s;
}

i64 address_read(u64 user, u64 size, struct address *a) {
  a->size = 0;
  if ((i32)size < 0 || size > sizeof a->bytes) return -EINVAL;
  if (size == 0) return 0;
  if (!user_readable(user, size)) return -EFAULT;
  memset(a->bytes, 0, sizeof a->bytes);
  memcpy(a->bytes, (const void *)user, size);
  a->size = (u32)size;
  return 0;
}

i64 address_write(const struct address *a, u64 user, u64 user_size) {
  if (user == 0) return 0;
  if (!user_writable(user_size, sizeof(u32))) return -EFAULT;
  i32 room = *(const i32 *)user_size;
  if (room < 0) return -EINVAL;
  u32 n = MIN((u32)room, a->size);
  if (n > 0 && !user_writable(user, n)) return -EFAULT;
  memcpy((void *)user, a->bytes, n);
  *(u32 *)user_size = a->size;
  return 0;
}

/* What getsockname says of a socket without a name. */
static struct address unnamed(u16 family) {
  struct address a = {.size = 2};
  a.family = family;
  if (family == AF_INET) a.size = sizeof a.in;
  if (family == AF_INET6) a.size = sizeof a.in6;
  if (family == AF_VSOCK) {
    a.size = sizeof a.vm;
    a.vm.port = a.vm.cid = ~0u;
  }
  return a;
}

static const struct transport *transport_of(u64 family) {
  switch (family) {
    case AF_UNIX: return &unix_transport;
    case AF_INET:
    case AF_INET6: return &inet_transport;
    case AF_NETLINK: return &netlink_transport;
    case AF_VSOCK: return &vsock_transport;
    default: return NULL;
  }
}

static i64 check_kind(u32 family, u32 type, u32 protocol) {
  if (transport_of(family) == NULL) return -EAFNOSUPPORT;
  if (family == AF_NETLINK && (type == SOCK_RAW || type == SOCK_DGRAM))
    return protocol == NETLINK_ROUTE || protocol == NETLINK_SOCK_DIAG ? 0 : -EPROTONOSUPPORT;
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
    return type > 10 ? -EINVAL : -ESOCKTNOSUPPORT;
  bool inet = family == AF_INET || family == AF_INET6;
  if (type == SOCK_SEQPACKET && family != AF_UNIX) return -ESOCKTNOSUPPORT;
  if (type == SOCK_DGRAM && family == AF_VSOCK) return -ESOCKTNOSUPPORT;
  if (inet && protocol != 0 && protocol != (type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)) return -EPROTONOSUPPORT;
  if (!inet && protocol != 0 && protocol != family) return -EPROTONOSUPPORT;
  return 0;
}

static i64 create(u32 family, u32 type, u32 protocol, struct socket **s) {
  if (type & ~(u32)(SOCK_TYPE | SOCK_NONBLOCK | SOCK_CLOEXEC)) return -EINVAL;
  i64 error = check_kind(family, type & SOCK_TYPE, protocol);
  if (error != 0) return error;
  u8 kind = family == AF_NETLINK ? SOCK_DGRAM : (u8)(type & SOCK_TYPE);
  if ((family == AF_INET || family == AF_INET6) && protocol == 0)
    protocol = kind == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
  *s = socket_new((u16)family, kind, (u8)protocol, transport_of(family));
  return *s == NULL ? -ENOMEM : 0;
}

static i64 install(struct socket *s, u32 flags) {
  struct file *f = socket_file(s, flags);
  return f == NULL ? -ENOMEM : fd_install(f, 0, flags & SOCK_CLOEXEC);
}

i64 sys_socket(const u64 *a) {
  struct socket *s;
  i64 error = create((u32)a[0], (u32)a[1], (u32)a[2], &s);
  return error != 0 ? error : install(s, (u32)a[1]);
}

/* Both sockets, connected; both or none. */
static i64 create_pair(const u64 *a, struct socket *pair[2]) {
  i64 error = create(AF_UNIX, (u32)a[1], (u32)a[2], &pair[0]);
  if (error != 0) return error;
  error = create(AF_UNIX, (u32)a[1], (u32)a[2], &pair[1]);
  if (error != 0) {
    socket_free(pair[0]);
    return error;
  }
  local_join(pair[0], pair[1]);
  pair[0]->pair = pair[1]->pair = true;
  return 0;
}

i64 sys_socketpair(const u64 *a) {
  struct socket *pair[2];
  if (a[0] != AF_UNIX) return transport_of(a[0]) == NULL ? -EAFNOSUPPORT : -EOPNOTSUPP;
  if (!user_writable(a[3], 2 * sizeof(i32))) return -EFAULT;
  i64 error = create_pair(a, pair);
  if (error != 0) return error;
  i64 first = install(pair[0], (u32)a[1]);
  if (first < 0) {
    socket_free(pair[1]);
    return first;
  }
  i64 second = install(pair[1], (u32)a[1]);
  if (second < 0) {
    fd_close((int)first);
    return second;
  }
  ((i32 *)a[3])[0] = (i32)first;
  ((i32 *)a[3])[1] = (i32)second;
  return 0;
}

i64 sys_bind(const u64 *a) {
  struct file *f;
  struct address address;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s != NULL) error = address_read(a[1], (u32)a[2], &address);
  return error != 0 ? error : s->transport->bind(s, &address);
}

i64 sys_listen(const u64 *a) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  if (s->type == SOCK_DGRAM) return -EOPNOTSUPP;
  if (s->state != SOCKET_FRESH && s->state != SOCKET_LISTENING) return -EINVAL;
  error = s->transport->listen(s);
  if (error != 0) return error;
  s->backlog = MIN((u32)a[1], (u32)BACKLOG_MAX);
  s->state = SOCKET_LISTENING;
  return 0;
}

static i64 accept_install(struct file *f, struct socket *s, const u64 *a, u32 flags) {
  struct socket *child;
  i64 error = socket_accept(s, f->flags & O_NONBLOCK, &child);
  if (error != 0) return error;
  struct address remote = child->remote.size > 0 ? child->remote : unnamed(child->family);
  error = address_write(&remote, a[1], a[2]);
  if (error == 0) return install(child, flags);
  socket_free(child);
  return error;
}

static i64 accept_flags(const u64 *a, u32 flags) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  if (flags & ~(u32)(SOCK_NONBLOCK | SOCK_CLOEXEC)) return -EINVAL;
  file_ref(f);
  i64 fd = accept_install(f, s, a, flags);
  file_put(f);
  return fd;
}

i64 sys_accept(const u64 *a) { return accept_flags(a, 0); }
i64 sys_accept4(const u64 *a) { return accept_flags(a, (u32)a[3]); }

/* connect(AF_UNSPEC) takes a datagram socket's peer away. */
static i64 disconnect(struct socket *s) {
  if (s->type != SOCK_DGRAM || s->pair) return -EINVAL;
  s->remote.size = 0;
  s->state = SOCKET_FRESH;
  return 0;
}

static i64 connect_socket(struct socket *s, const struct address *address, bool nonblock) {
  if (address->size < 2) return -EINVAL;
  if (s->state == SOCKET_LISTENING) return -EISCONN;
  if (s->state == SOCKET_CONNECTING && s->family == AF_VSOCK) return -EALREADY;
  if (address->family == AF_UNSPEC) return disconnect(s);
  if (s->error != 0) {
    i64 error = s->error;
    s->error = 0;
    return -error;
  }
  if (s->state == SOCKET_CONNECTED && s->type != SOCK_DGRAM) return -EISCONN;
  return s->transport->connect(s, address, nonblock);
}

i64 sys_connect(const u64 *a) {
  struct file *f;
  struct address address;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s != NULL) error = address_read(a[1], (u32)a[2], &address);
  if (error != 0) return error;
  file_ref(f);
  error = connect_socket(s, &address, f->flags & O_NONBLOCK);
  file_put(f);
  return error;
}

i64 sys_getsockname(const u64 *a) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  struct address name = s->local.size > 0 ? s->local : unnamed(s->family);
  return a[1] == 0 ? -EFAULT : address_write(&name, a[1], a[2]);
}

i64 sys_getpeername(const u64 *a) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  if (s->state != SOCKET_CONNECTED) return -ENOTCONN;
  struct address name = s->remote.size > 0 ? s->remote : unnamed(s->family);
  return a[1] == 0 ? -EFAULT : address_write(&name, a[1], a[2]);
}

i64 sys_shutdown(const u64 *a) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  if (a[1] > SHUT_RDWR) return -EINVAL;
  if (s->state == SOCKET_LISTENING) { /* wakes who accepts */
    s->state = SOCKET_CLOSED;
    wake(&s->queue, 0);
    return 0;
  }
  if (s->state != SOCKET_CONNECTED && s->family != AF_UNIX) return -ENOTCONN;
  s->transport->shutdown(s, (int)a[1]);
  return 0;
}
