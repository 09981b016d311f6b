/* What the system calls of sockets share. */
#pragma once
#include "socket.h"

/* The socket behind fd; NULL and *error = -EBADF or -ENOTSOCK. Its file is in *file. */
struct socket *socket_get(u64 fd, struct file **file, i64 *error);
i64 address_read(u64 user, u64 size, struct address *a);
/* Writes as much of a as fits and its full size; user 0 = not wanted. */
i64 address_write(const struct address *a, u64 user, u64 user_size);

/* Where the control messages of a receive go. */
struct control_out {
  u8 *at;
  u64 room, used;
  u32 flags; /* MSG_CTRUNC */
};
/* Cut to the room that there is, and then said to be. */
void control_put(struct control_out *out, i32 level, i32 type, const void *data, u64 size);
/* syscall/socket_packet.c: what the socket's options want to be told of a datagram. */
void packet_control(const struct socket *s, const struct address *from, struct control_out *out);
