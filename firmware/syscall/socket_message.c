/* System calls that move bytes through sockets, with addresses and control messages. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "socket_calls.h"
#include "syscall.h"

struct msghdr {
  u64 name;
  u32 name_size, pad0;
  u64 iov, iov_count;
  u64 control, control_size;
  u32 flags, pad1;
};
struct mmsghdr {
  struct msghdr header;
  u32 size, pad;
};
struct cmsghdr {
  u64 size;
  i32 level, type;
};
_Static_assert(sizeof(struct msghdr) == 56 && sizeof(struct mmsghdr) == 64 && sizeof(struct cmsghdr) == 16, "Linux's");

enum { SOL_SOCKET = 1, SCM_RIGHTS = 1, SCM_CREDENTIALS = 2, SO_PASSCRED = 16 };
enum { RIGHTS_MAX = 253, SPANS_ON_STACK = 8 };
#define SIZE_MAX_TRANSFER 0x7ffff000ull

/* A call under way: the file (referenced) and the message with the memory it needs. */
struct transfer {
  struct file *file;
  struct socket *socket;
  struct message m;
  struct address address;
  struct span few[SPANS_ON_STACK], *many;
};

static i64 transfer_begin(struct transfer *t, u64 fd, u64 flags) {
  i64 error;
  t->socket = socket_get(fd, &t->file, &error);
  if (error != 0) return error;
  t->many = NULL;
  t->m = (struct message){.flags = (u32)flags};
  t->address.size = 0;
  file_ref(t->file);
  return 0;
}

static void transfer_end(struct transfer *t) {
  rights_free(t->m.rights);
  kfree(t->many);
  file_put(t->file);
}

static bool nonblocking(const struct transfer *t) {
  return (t->file->flags & O_NONBLOCK) || (t->m.flags & MSG_DONTWAIT);
}

static i64 one_span(struct transfer *t, u64 address, u64 size, bool writable) {
  size = MIN(size, SIZE_MAX_TRANSFER);
  if (size > 0 && !(writable ? user_writable(address, size) : user_readable(address, size))) return -EFAULT;
  t->few[0] = (struct span){(u8 *)address, size};
  t->m.spans = t->few;
  t->m.span_count = 1;
  t->m.size = size;
  return 0;
}

static i64 read_spans(struct transfer *t, u64 address, u64 count, bool writable) {
  if (count > IOV_MAX) return -EMSGSIZE;
  if (count > 0 && !user_readable(address, count * sizeof(struct iovec))) return -EFAULT;
  struct span *spans = t->few;
  if (count > SPANS_ON_STACK) spans = t->many = kmalloc(count * sizeof *spans);
  if (spans == NULL) return -ENOMEM;
  const struct iovec *iov = (const struct iovec *)address;
  for (u64 i = 0; i < count; i++) {
    u64 base = iov[i].base, size = MIN(iov[i].size, SIZE_MAX_TRANSFER - t->m.size);
    if ((i64)iov[i].size < 0) return -EINVAL;
    if (size > 0 && !(writable ? user_writable(base, size) : user_readable(base, size))) return -EFAULT;
    spans[i] = (struct span){(u8 *)base, size};
    t->m.size += size;
  }
  t->m.spans = spans;
  t->m.span_count = (u32)count;
  return 0;
}

/* ---- control messages ---- */

static i64 take_rights(struct transfer *t, const i32 *fds, u64 count) {
  if (count > RIGHTS_MAX || t->m.rights != NULL) return -EINVAL;
  struct rights *r = kmalloc(sizeof *r + count * sizeof r->files[0]);
  if (r == NULL) return -ENOMEM;
  r->count = 0;
  t->m.rights = r;
  for (u64 i = 0; i < count; i++) {
    struct file *f = fd_get(fds[i]);
    if (f == NULL) return -EBADF;
    file_ref(f);
    r->files[r->count++] = f;
  }
  return 0;
}

static i64 read_control(struct transfer *t, u64 address, u64 size) {
  if (address == 0 || size < sizeof(struct cmsghdr)) return 0;
  if (size > 65536) return -ENOBUFS;
  if (!user_readable(address, size)) return -EFAULT;
  for (u64 at = 0; at + sizeof(struct cmsghdr) <= size;) {
    struct cmsghdr c;
    memcpy(&c, (const u8 *)address + at, sizeof c);
    if (c.size < sizeof c || c.size > size - at) return -EINVAL;
    bool rights = c.level == SOL_SOCKET && c.type == SCM_RIGHTS && t->socket->family == AF_UNIX;
    i64 error = rights ? take_rights(t, (const i32 *)(address + at + sizeof c), (c.size - sizeof c) / sizeof(i32)) : 0;
    if (error != 0) return error;
    at += ALIGN_UP(c.size, 8);
  }
  return 0;
}

void control_put(struct control_out *out, i32 level, i32 type, const void *data, u64 wanted) {
  u64 size = MIN(wanted, out->room > sizeof(struct cmsghdr) ? out->room - sizeof(struct cmsghdr) : 0);
  struct cmsghdr c = {sizeof c + size, level, type};
  if (size < wanted) out->flags |= MSG_CTRUNC;
  if (out->room < sizeof c) {
    out->flags |= MSG_CTRUNC;
    return;
  }
  memcpy(out->at, &c, sizeof c);
  memcpy(out->at + sizeof c, data, size);
  u64 step = MIN(ALIGN_UP(c.size, 8), out->room);
  out->at += step;
  out->room -= step;
  out->used += step;
}

static void deliver_rights(struct transfer *t, struct control_out *out) {
  struct rights *r = t->m.rights;
  if (r == NULL) return;
  i32 fds[RIGHTS_MAX];
  u64 room = out->room > sizeof(struct cmsghdr) ? (out->room - sizeof(struct cmsghdr)) / sizeof(i32) : 0;
  u32 n = 0;
  for (; n < r->count && n < room; n++) {
    file_ref(r->files[n]);
    fds[n] = fd_install(r->files[n], 0, t->m.flags & MSG_CMSG_CLOEXEC);
    if (fds[n] < 0) break;
  }
  if (n > 0) control_put(out, SOL_SOCKET, SCM_RIGHTS, fds, n * sizeof(i32));
  if (n < r->count) out->flags |= MSG_CTRUNC;
}

static void deliver_credentials(struct transfer *t, struct control_out *out) {
  if (t->socket->family != AF_UNIX || !socket_option(t->socket, SOL_SOCKET, SO_PASSCRED)) return;
  u32 credentials[3] = {(u32)process_id(), 0, 0};
  control_put(out, SOL_SOCKET, SCM_CREDENTIALS, credentials, sizeof credentials);
}

/* ---- sending ---- */

static i64 send_prepared(struct transfer *t) {
  if (t->m.flags & MSG_OOB) return -EOPNOTSUPP;
  t->m.address = &t->address;
  current->held = &(struct held){t->m.spans, t->m.span_count, false};
  i64 result = socket_send(t->socket, &t->m, nonblocking(t));
  current->held = NULL;
  return result;
}

i64 sys_sendto(const u64 *a) {
  struct transfer t;
  i64 result = transfer_begin(&t, a[0], a[3]);
  if (result != 0) return result;
  result = one_span(&t, a[1], a[2], false);
  if (result == 0 && a[4] != 0) result = address_read(a[4], (u32)a[5], &t.address);
  if (result == 0) result = send_prepared(&t);
  transfer_end(&t);
  return result;
}

static i64 send_header(struct transfer *t, const struct msghdr *h) {
  i64 result = read_spans(t, h->iov, h->iov_count, false);
  if (result == 0 && h->name != 0) result = address_read(h->name, h->name_size, &t->address);
  if (result == 0) result = read_control(t, h->control, h->control_size);
  return result == 0 ? send_prepared(t) : result;
}

static i64 send_message(u64 fd, u64 user, u64 flags) {
  struct transfer t;
  if (!user_readable(user, sizeof(struct msghdr))) return -EFAULT;
  struct msghdr h = *(const struct msghdr *)user;
  i64 result = transfer_begin(&t, fd, flags);
  if (result != 0) return result;
  result = send_header(&t, &h);
  transfer_end(&t);
  return result;
}

i64 sys_sendmsg(const u64 *a) { return send_message(a[0], a[1], a[2]); }

i64 sys_sendmmsg(const u64 *a) {
  struct mmsghdr *messages = (struct mmsghdr *)a[1];
  u32 count = MIN((u32)a[2], (u32)IOV_MAX), sent = 0;
  i64 result = 0;
  for (; sent < count; sent++) {
    if (!user_writable((u64)&messages[sent], sizeof *messages)) result = -EFAULT;
    else result = send_message(a[0], (u64)&messages[sent].header, a[3]);
    if (result >= 0 && !user_writable((u64)&messages[sent], sizeof *messages)) result = -EFAULT;
    if (result < 0) break;
    messages[sent].size = (u32)result;
  }
  return sent > 0 ? sent : result;
}

/* ---- receiving ---- */

static i64 receive_prepared(struct transfer *t) {
  if (t->m.flags & (MSG_OOB | MSG_ERRQUEUE)) return t->m.flags & MSG_OOB ? -EINVAL : -EAGAIN;
  t->m.address = &t->address;
  current->held = &(struct held){t->m.spans, t->m.span_count, true};
  i64 result = socket_receive(t->socket, &t->m, nonblocking(t));
  current->held = NULL;
  return result;
}

i64 sys_recvfrom(const u64 *a) {
  struct transfer t;
  i64 result = transfer_begin(&t, a[0], a[3]);
  if (result != 0) return result;
  result = one_span(&t, a[1], a[2], true);
  if (result == 0) result = receive_prepared(&t);
  if (result >= 0 && a[4] != 0) {
    i64 error = address_write(&t.address, a[4], a[5]);
    if (error != 0) result = error;
  }
  transfer_end(&t);
  return result;
}

/* Writes what came with the bytes into the header of the program. */
static i64 finish_header(struct transfer *t, struct msghdr *h, u32 asked) {
  struct control_out out = {.flags = t->m.flags & MSG_TRUNC};
  if (t->socket->type == SOCK_STREAM) out.flags = 0;
  if (h->name != 0) {
    u32 n = MIN(h->name_size, t->address.size);
    if (n > 0 && !user_writable(h->name, n)) return -EFAULT;
    memcpy((void *)h->name, t->address.bytes, n);
    h->name_size = t->address.size;
  }
  if (h->control != 0 && h->control_size > 0) {
    if (!user_writable(h->control, h->control_size)) return -EFAULT;
    out.at = (u8 *)h->control;
    out.room = h->control_size;
  }
  t->m.flags = asked;
  packet_control(t->socket, &t->address, &out);
  deliver_credentials(t, &out);
  deliver_rights(t, &out);
  h->control_size = out.used;
  h->flags = out.flags | (asked & MSG_CMSG_CLOEXEC);
  return 0;
}

static i64 receive_message(u64 fd, u64 user, u64 flags) {
  struct transfer t;
  if (!user_writable(user, sizeof(struct msghdr))) return -EFAULT;
  struct msghdr h = *(const struct msghdr *)user;
  i64 result = transfer_begin(&t, fd, flags);
  if (result != 0) return result;
  result = read_spans(&t, h.iov, h.iov_count, true);
  if (result == 0) result = receive_prepared(&t);
  if (result >= 0) {
    i64 error = user_writable(user, sizeof h) ? finish_header(&t, &h, (u32)flags) : -EFAULT;
    if (error == 0) memcpy((void *)user, &h, sizeof h);
    else result = error;
  }
  transfer_end(&t);
  return result;
}

i64 sys_recvmsg(const u64 *a) { return receive_message(a[0], a[1], a[2]); }

i64 sys_recvmmsg(const u64 *a) {
  struct mmsghdr *messages = (struct mmsghdr *)a[1];
  u32 count = MIN((u32)a[2], (u32)IOV_MAX), got = 0;
  u64 flags = a[3], deadline;
  i64 result = timeout_read(a[4], &deadline);
  if (result != 0) return result;
  while (got < count) {
    if (!user_writable((u64)&messages[got], sizeof *messages)) result = -EFAULT;
    else result = receive_message(a[0], (u64)&messages[got].header, flags & ~(u64)MSG_WAITFORONE);
    if (result >= 0 && !user_writable((u64)&messages[got], sizeof *messages)) result = -EFAULT;
    if (result < 0) break;
    messages[got++].size = (u32)result;
    if (flags & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
    if (deadline != FOREVER && clock_mono() >= deadline) break;
  }
  return got > 0 ? got : result;
}
