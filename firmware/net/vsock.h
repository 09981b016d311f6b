/* What the three files of vsock share: the device, its connections, and the sockets in front of them. */
#pragma once
#include "abi.h"
#include "socket.h"
#include "virtio.h"

enum { OP_REQUEST = 1, OP_RESPONSE, OP_RESET, OP_SHUTDOWN, OP_DATA, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST };
enum { SHUTDOWN_RECEIVE = 1, SHUTDOWN_SEND = 2, SHUTDOWN_BOTH = 3 };
enum { VSOCK_TYPE_STREAM = 1 };
#define VSOCK_CREDIT (1024u * 1024) /* bytes that the host may send ahead, for each connection */

struct vsock_header {
  u64 source_cid, target_cid;
  u32 source_port, target_port;
  u32 size;
  u16 type, op;
  u32 flags;
  u32 buffer_alloc, forwarded;
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "virtio 1.2, 5.10.6");

/* A connection; socket->link. */
struct vsock {
  struct list chain; /* in the table */
  struct socket *socket;
  u32 port, peer_port;
  u64 peer_cid;
  u32 sent, peer_alloc, peer_forwarded; /* our bytes: sent; the peer's room; consumed by it */
  u32 consumed, consumed_told;          /* its bytes: consumed by us; what it knows of that */
  u8 peer_shutdown;
  struct tunnel *tunnel; /* it is to lead outside: tunnel.c has the first word */
};

/* vsock_device.c */
u64 vsock_cid(void);
/* Sends a packet of no connection; queues it in any case but that of a host that leaves everything lying. */
void vsock_send_stray(u64 cid, u32 port, u32 peer_port, u16 op);
void vsock_send_op(struct vsock *v, u16 op, u32 flags);
bool vsock_data_room(void);      /* whether data may be sent; if not, writers are woken when it may */
bool vsock_make_data_room(void); /* the same, at the price of an exit if need be */
/* Sends up to m->size - offset bytes; returns how many, 0 when there is no room after all. */
u32 vsock_send_data(struct vsock *v, const struct message *m, size_t offset);

/* vsock_connection.c */
void vsock_table_init(void);
struct vsock *vsock_new(struct socket *s, u32 port, u64 peer_cid, u32 peer_port); /* NULL: no memory */
void vsock_free(struct vsock *v);
u32 vsock_credit(const struct vsock *v);                 /* bytes that the host has room for */
void vsock_count(struct vsock *v, u32 n);                /* n of its bytes have been consumed */
bool vsock_receive(struct segment *segment, u32 length); /* a packet; true: the inbox took the buffer over */
void vsock_reset_all(void);
void vsock_wake_all(u32 events);

/* vsock.c */
struct vsock *vsock_dial(struct socket *s, u32 port); /* asks the host for a stream; NULL: no memory */
struct address vsock_address(u64 cid, u32 port);
struct socket *vsock_listener(u32 port); /* the AF_VSOCK socket that listens there, or NULL */

/* tunnel.c */
void tunnel_opened(struct vsock *v);
u32 tunnel_received(struct vsock *v, const u8 *bytes, u32 size);
void tunnel_over(struct vsock *v);
