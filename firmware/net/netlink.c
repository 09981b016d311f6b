/* AF_NETLINK, as far as getifaddrs() and its like need it: the list of links and of addresses. Resolvers ask only for addresses of a
 * family that an interface has. Answers are written while the question is sent, so nothing ever waits. */
#include "abi.h"
#include "errno.h"
#include "interfaces.h"
#include "lib.h"
#include "socket.h"

enum { NLMSG_ERROR = 2, NLMSG_DONE = 3, RTM_NEWLINK = 16, RTM_GETLINK = 18, RTM_NEWADDR = 20, RTM_GETADDR = 22 };
enum { NLM_F_MULTI = 2 };
enum {
  IFLA_ADDRESS = 1,
  IFLA_BROADCAST = 2,
  IFLA_IFNAME = 3,
  IFLA_MTU = 4,
  IFA_ADDRESS = 1,
  IFA_LOCAL = 2,
  IFA_LABEL = 3
};
enum { IFA_F_PERMANENT = 0x80, SCOPE_UNIVERSE = 0, SCOPE_HOST = 254 };
#define REQUEST_MAX 4096

struct nlmsghdr {
  u32 size;
  u16 type, flags;
  u32 sequence, pid;
};
struct ifinfomsg {
  u8 family, pad;
  u16 type;
  i32 index;
  u32 flags, change;
};
struct ifaddrmsg {
  u8 family, prefix, flags, scope;
  u32 index;
};
struct rtattr {
  u16 size, type;
};
_Static_assert(sizeof(struct nlmsghdr) == 16 && sizeof(struct ifinfomsg) == 16 && sizeof(struct ifaddrmsg) == 8,
               "Linux's");

/* Messages of one answer, back to back. */
struct answer {
  u8 bytes[512];
  u32 size, message; /* used; start of the message being written */
  const struct nlmsghdr *question;
  u32 pid;
};

static void put(struct answer *a, const void *data, u32 size) {
  ASSERT(a->size + ALIGN_UP(size, 4) <= sizeof a->bytes);
  memcpy(a->bytes + a->size, data, size);
  memset(a->bytes + a->size + size, 0, ALIGN_UP(size, 4) - size);
  a->size += (u32)ALIGN_UP(size, 4);
}

static void begin(struct answer *a, u16 type, u16 flags) {
  struct nlmsghdr h = {.type = type, .flags = flags, .sequence = a->question->sequence, .pid = a->pid};
  a->message = a->size;
  put(a, &h, sizeof h);
}

static void end(struct answer *a) {
  u32 size = a->size - a->message;
  memcpy(a->bytes + a->message, &size, sizeof size);
}

static void attribute(struct answer *a, u16 type, const void *data, u16 size) {
  struct rtattr r = {(u16)(sizeof r + size), type};
  put(a, &r, sizeof r);
  put(a, data, size);
}

static void put_link(struct answer *a, const struct interface *i) {
  struct ifinfomsg info = {
      .type = i->type, .index = i->index, .flags = i->flags | IFF_LOWER_UP};
  begin(a, RTM_NEWLINK, NLM_F_MULTI);
  put(a, &info, sizeof info);
  attribute(a, IFLA_IFNAME, i->name, (u16)(strlen(i->name) + 1));
  attribute(a, IFLA_MTU, &i->mtu, sizeof i->mtu);
  attribute(a, IFLA_ADDRESS, i->mac, sizeof i->mac);
  attribute(a, IFLA_BROADCAST, i->broadcast, sizeof i->broadcast);
  end(a);
}

static void put_address(struct answer *a, const struct interface *i, u8 family, const u8 *ip, u8 prefix) {
  u16 size = family == AF_INET ? 4 : 16;
  u8 scope = i->index == LOOPBACK_INDEX ? SCOPE_HOST : SCOPE_UNIVERSE;
  struct ifaddrmsg info = {family, prefix, IFA_F_PERMANENT, scope, (u32)i->index};
  begin(a, RTM_NEWADDR, NLM_F_MULTI);
  put(a, &info, sizeof info);
  attribute(a, IFA_ADDRESS, ip, size);
  if (family == AF_INET) {
    attribute(a, IFA_LOCAL, ip, size);
    attribute(a, IFA_LABEL, i->name, (u16)(strlen(i->name) + 1));
  }
  end(a);
}

static void put_done(struct answer *a) {
  i32 error = 0;
  begin(a, NLMSG_DONE, NLM_F_MULTI);
  put(a, &error, sizeof error);
  end(a);
}

static void put_error(struct answer *a, i32 error) {
  begin(a, NLMSG_ERROR, 0);
  put(a, &error, sizeof error);
  put(a, a->question, sizeof *a->question);
  end(a);
}

/* The question's family byte picks the addresses; 0 = all. Questions about sockets get the answer of a kernel without the modules for
 * them: `ss` then reads /proc/net. */
static void fill(struct answer *a, u8 protocol, u8 family) {
  if (protocol == NETLINK_SOCK_DIAG) return put_error(a, -ENOENT);
  switch (a->question->type) {
    case RTM_GETLINK:
      for (u32 i = 0; i < INTERFACES; i++) put_link(a, &interfaces[i]);
      return put_done(a);
    case RTM_GETADDR:
      for (u32 i = 0; family != AF_INET6 && i < INTERFACES; i++)
        put_address(a, &interfaces[i], AF_INET, interfaces[i].ip4, interfaces[i].prefix4);
      for (u32 i = 0; family != AF_INET && i < INTERFACES; i++)
        put_address(a, &interfaces[i], AF_INET6, interfaces[i].ip6, interfaces[i].prefix6);
      return put_done(a);
    default: return put_error(a, -EOPNOTSUPP);
  }
}

static struct address address_of(u32 pid) {
  struct address a = {.size = 12};
  a.family = AF_NETLINK;
  memcpy(a.bytes + 4, &pid, sizeof pid);
  return a;
}

static i64 netlink_bind(struct socket *s, const struct address *a) {
  if (a->size < 12 || a->family != AF_NETLINK) return -EINVAL;
  u32 pid;
  memcpy(&pid, a->bytes + 4, sizeof pid);
  s->local = address_of(pid == 0 ? (u32)process_id() : pid);
  return 0;
}

static i64 netlink_listen(struct socket *s) { return -EOPNOTSUPP; }

static i64 netlink_connect(struct socket *s, const struct address *a, bool nonblock) {
  if (a->size < 12 || a->family != AF_NETLINK) return -EINVAL;
  if (s->local.size == 0) s->local = address_of((u32)process_id());
  s->state = SOCKET_CONNECTED;
  return 0;
}

static ssize_t netlink_send(struct socket *s, struct message *m, size_t offset) {
  struct {
    struct nlmsghdr header;
    u8 family, rest[3];
  } question = {0};
  if (m->size < sizeof question.header || m->size > REQUEST_MAX) return -EINVAL;
  message_gather(m, 0, (u8 *)&question, MIN(m->size, sizeof question));
  if (s->local.size == 0) s->local = address_of((u32)process_id());
  struct answer a = {.question = &question.header};
  memcpy(&a.pid, s->local.bytes + 4, sizeof a.pid);
  fill(&a, s->protocol, question.family);
  struct span span = {a.bytes, a.size};
  struct message reply = {.spans = &span, .span_count = 1, .size = a.size};
  struct address kernel = address_of(0);
  if (!inbox_append_datagram(&s->in, &reply, &kernel)) return -ENOMEM;
  wake(&s->queue, POLLIN);
  return (ssize_t)m->size;
}

static bool netlink_can_send(struct socket *s) { return true; }

const struct transport netlink_transport = {.bind = netlink_bind,
                                            .listen = netlink_listen,
                                            .connect = netlink_connect,
                                            .send = netlink_send,
                                            .can_send = netlink_can_send,
                                            .consumed = local_consumed,
                                            .shutdown = local_shutdown,
                                            .close = local_close};
