/* What the system calls of sockets share. */
#pragma once
#include "socket.h"

/* The socket behind fd; NULL and *error = -EBADF or -ENOTSOCK. Its file is in *file. */
struct socket *socket_get(u64 fd, struct file **file, i64 *error);
i64 address_read(u64 user, u64 size, struct address *a);
/* Writes as much of a as fits and its full size; user 0 = not wanted. */
i64 address_write(const struct address *a, u64 user, u64 user_size);
