/* net/: sockets. A socket is an object with an inbox; its transport moves bytes into the peer's inbox (in-kernel
 * streams of AF_UNIX and loopback TCP, datagrams) or to the host (vsock). */
#pragma once
#include "file.h"
#include "list.h"
#include "mm.h"
#include "sched.h"
#include "types.h"

enum { AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_VSOCK = 40 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5, SOCK_TYPE = 0xf };
enum {
  MSG_OOB = 1,
  MSG_PEEK = 2,
  MSG_CTRUNC = 8,
  MSG_TRUNC = 0x20,
  MSG_DONTWAIT = 0x40,
  MSG_EOR = 0x80,
  MSG_WAITALL = 0x100,
  MSG_ERRQUEUE = 0x2000,
  MSG_NOSIGNAL = 0x4000,
  MSG_WAITFORONE = 0x10000,
  MSG_CMSG_CLOEXEC = 0x40000000,
};
enum { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 };

/* ---- addresses: Linux's layouts ---- */

struct sockaddr_in {
  u16 family;
  u8 port[2]; /* big-endian */
  u8 ip[4];
  u8 zero[8];
};
struct sockaddr_in6 {
  u16 family;
  u8 port[2];
  u32 flow;
  u8 ip[16];
  u32 scope;
};
struct sockaddr_un {
  u16 family;
  char path[108];
};
struct sockaddr_vm {
  u16 family, reserved;
  u32 port, cid;
  u8 flags, zero[3];
};
_Static_assert(sizeof(struct sockaddr_in) == 16 && sizeof(struct sockaddr_in6) == 28, "Linux's");
_Static_assert(sizeof(struct sockaddr_un) == 110 && sizeof(struct sockaddr_vm) == 16, "Linux's");

struct address {
  u32 size; /* bytes of it that are set; 0 = none */
  union {
    u16 family;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_vm vm;
    u8 bytes[128];
  };
};

/* ---- what is on its way (net/inbox.c) ---- */

/* Files in flight (SCM_RIGHTS); each holds a reference. */
struct rights {
  struct rights *next; /* of those that are being freed */
  u32 count;
  struct file *files[];
};
void rights_free(struct rights *r); /* NULL is fine */

/* The caller's side of a send or a receive. */
struct message {
  const struct span *spans;
  u32 span_count;
  size_t size;             /* of all spans */
  u32 flags;               /* MSG_*, in; MSG_TRUNC, out */
  struct address *address; /* send: where to, size 0 = the peer; receive: filled; may be NULL */
  struct rights *rights;   /* send: taken when the first byte goes; receive: the caller's */
};

/* Bytes in an inbox: part of a stream, or one datagram whose data starts after its sender's address. */
struct segment {
  struct list link;
  u32 start, end, capacity; /* of data */
  u16 from_size;            /* the address is data[0 .. from_size) */
  u8 memory, order;         /* where the segment itself lies: enum below, order of its pages */
  struct rights *rights;    /* come with its first byte */
  u8 data[];
};
enum { SEGMENT_HEAP, SEGMENT_PAGES, SEGMENT_VSOCK };

struct inbox {
  struct list segments;
  size_t size, limit; /* bytes waiting; a stream's writer stops at the limit */
};

void inbox_init(struct inbox *in);
/* Appends n bytes of m from `offset` on to a stream. Returns how many found memory. */
size_t inbox_append(struct inbox *in, struct message *m, size_t offset, size_t n);
/* Appends all of m as one datagram from `from` (may be NULL). False: no memory. */
bool inbox_append_datagram(struct inbox *in, struct message *m, const struct address *from);
void inbox_push(struct inbox *in, struct segment *segment);
/* Moves bytes from `offset` of m on; stops behind a segment that came with rights. Returns the number of bytes. */
size_t inbox_take(struct inbox *in, struct message *m, size_t offset);
/* Takes one datagram (not empty!): returns its length, or that of the part that fitted without MSG_TRUNC. */
size_t inbox_take_datagram(struct inbox *in, struct message *m);
void inbox_clear(struct inbox *in);
void message_gather(const struct message *m, size_t offset, u8 *to, size_t n);

/* ---- sockets (net/socket.c) ---- */

struct socket;

/* How a socket reaches others. All but connect never sleep; -EAGAIN from send means "sleep, then again". */
struct transport {
  i64 (*bind)(struct socket *s, const struct address *a);
  i64 (*listen)(struct socket *s);
  i64 (*connect)(struct socket *s, const struct address *a, bool nonblock);
  ssize_t (*send)(struct socket *s, struct message *m, size_t offset);
  bool (*can_send)(struct socket *s);
  void (*consumed)(struct socket *s, size_t n); /* n bytes left the inbox */
  void (*shutdown)(struct socket *s, int how);
  void (*close)(struct socket *s); /* let go of everything but the struct and its inbox */
};

enum { OPTION_COUNT = 64 };

enum socket_state { SOCKET_FRESH, SOCKET_LISTENING, SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_CLOSED };

enum { NETLINK_ROUTE = 0, NETLINK_SOCK_DIAG = 4 };

struct linger { /* Linux's */
  i32 on, seconds;
};

struct socket {
  u16 family;
  u8 type, protocol;
  enum socket_state state;
  bool in_ended, out_ended; /* nothing will come; nothing can be sent */
  bool pair;                /* of socketpair: the peer is reached without a name */
  int error;                /* SO_ERROR, positive */
  const struct transport *transport;
  struct socket *peer; /* in-kernel connection; the peer points back */
  void *link;          /* the transport's */
  struct inbox in;
  struct wait_queue queue;
  struct address local, remote;
  struct list bound;     /* in the transport's list of names */
  struct file *name;     /* AF_UNIX: the file that bind made, or NULL */
  struct list accepting; /* listener: connected children by `accept` */
  struct list accept;
  u32 backlog, accepting_count;
  u64 receive_timeout, send_timeout; /* ns, 0 = none */
  struct linger linger;              /* on for 0 seconds: closing resets the connection */
  i32 *options;                      /* syscall/socket_options.c; NULL = all at their defaults */
};

struct socket *socket_new(u16 family, u8 type, u8 protocol, const struct transport *transport); /* NULL: no memory */
void socket_free(struct socket *s); /* closes it; nobody may point to it any more but its transport */
struct file *socket_file(struct socket *s, u32 flags); /* takes over s, frees it when there is no memory */
struct socket *file_socket(struct file *f);            /* NULL: not a socket */

ssize_t socket_send(struct socket *s, struct message *m, bool nonblock);
ssize_t socket_receive(struct socket *s, struct message *m, bool nonblock);
i64 socket_accept(struct socket *s, bool nonblock, struct socket **child);
/* A connected child waits in s, whose backlog has room. */
void socket_offer(struct socket *s, struct socket *child);
i32 socket_option(const struct socket *s, i32 level, i32 option);
bool address_equal(const struct address *a, const struct address *b);

/* net/local.c: connections within the kernel */
void local_join(struct socket *a, struct socket *b); /* both become connected */
i64 local_connect(struct socket *s, struct socket *(*find)(const struct socket *s, const struct address *a),
                  const struct address *a, bool nonblock);
ssize_t local_send(struct socket *s, struct message *m, size_t offset);
bool local_can_send(struct socket *s);
void local_consumed(struct socket *s, size_t n);
void local_shutdown(struct socket *s, int how);
void local_close(struct socket *s);
extern struct wait_queue local_room; /* woken when a datagram was read or a connection accepted */

/* net/unix.c, net/inet.c, net/netlink.c, net/vsock.c */
extern const struct transport unix_transport, inet_transport, netlink_transport, vsock_transport;
struct socket *inet_listener(u16 port); /* the TCP listener that a connection from outside reaches, or NULL */
void inet_tell_ports(void); /* the host, in shared.net_ports */
/* This guest, besides NET_GUEST_IP. */
#define INET_OWN6 \
  { 0xfd, 0x6d, 'a', 'y', 'f', 'l', 'y', [15] = 2 }
void inet_name_child(struct socket *child, const struct socket *listener, u16 peer_port);
/* net/tunnel.c: what leaves this guest; ip in the IPv6 form */
i64 tunnel_connect(struct socket *s, const u8 ip[16], u16 port, bool nonblock);
i64 tunnel_wait(struct socket *s); /* for the end of SOCKET_CONNECTING */
i64 tunnel_send(struct socket *s, struct message *m, const u8 ip[16], u16 port, const struct address *from);
void tunnel_close(struct socket *s);
void vsock_recycle(struct segment *s);
bool vsock_start(void); /* sets the device up; false: there is none */
