/* What a program may ask to be told of each datagram (ip(7), ipv6(7), socket(7)): when it came, by which interface and to which address, and
 * its header's fields. All come from this guest or through the host, so the header is the usual one. */
#include "interfaces.h"
#include "lib.h"
#include "socket_calls.h"

enum { SOL_IP = 0, SOL_SOCKET = 1, SOL_IPV6 = 41, SO_TIMESTAMP = 29, SO_TIMESTAMPNS = 35 };
enum { IP_TOS = 1, IP_TTL = 2, IP_PKTINFO = 8, IP_RECVTTL = 12, IP_RECVTOS = 13 };
enum { IPV6_RECVPKTINFO = 49, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT, IPV6_RECVTCLASS = 66, IPV6_TCLASS };

static const i32 hops = 64, class = 0;

static void put_time(const struct socket *s, struct control_out *out) {
  u64 now = clock_wall(), us[2] = {now / NS_PER_SEC, now % NS_PER_SEC / 1000}, ns[2] = {now / NS_PER_SEC, now % NS_PER_SEC};
  if (socket_option(s, SOL_SOCKET, SO_TIMESTAMPNS)) control_put(out, SOL_SOCKET, SO_TIMESTAMPNS, ns, sizeof ns);
  else if (socket_option(s, SOL_SOCKET, SO_TIMESTAMP)) control_put(out, SOL_SOCKET, SO_TIMESTAMP, us, sizeof us);
}

static bool is_zero(const u8 *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (bytes[i] != 0) return false;
  return true;
}

static void put_ip4(const struct socket *s, const struct address *from, struct control_out *out) {
  struct {
    i32 index;
    u8 local[4], to[4];
  } info = {.index = LOOPBACK_INDEX};
  bool loopback = from->in.ip[0] == 127;
  const struct interface *outside = &interfaces[INTERFACES - 1];
  if (!loopback) info.index = outside->index;
  const u8 *to = !is_zero(s->local.in.ip, 4) ? s->local.in.ip : loopback ? interfaces[0].ip4 : outside->ip4;
  memcpy(info.local, to, 4);
  memcpy(info.to, to, 4);
  if (socket_option(s, SOL_IP, IP_PKTINFO)) control_put(out, SOL_IP, IP_PKTINFO, &info, sizeof info);
  if (socket_option(s, SOL_IP, IP_RECVTTL)) control_put(out, SOL_IP, IP_TTL, &hops, sizeof hops);
  if (socket_option(s, SOL_IP, IP_RECVTOS)) control_put(out, SOL_IP, IP_TOS, &class, 1);
}

/* An IPv4 sender is ::ffff:1.2.3.4 here, and has no IPv6 header. */
static void put_ip6(const struct socket *s, const struct address *from, struct control_out *out) {
  struct {
    u8 to[16];
    i32 index;
  } info = {.index = LOOPBACK_INDEX};
  const u8 *ip = from->in6.ip;
  bool mapped = is_zero(ip, 10) && ip[10] == 0xff && ip[11] == 0xff;
  bool loopback = mapped ? ip[12] == 127 : is_zero(ip, 15) && ip[15] == 1;
  const struct interface *by = &interfaces[loopback ? 0 : INTERFACES - 1];
  info.index = by->index;
  if (!is_zero(s->local.in6.ip, 16)) memcpy(info.to, s->local.in6.ip, 16);
  else if (!mapped) memcpy(info.to, by->ip6, 16);
  else {
    memcpy(info.to, ip, 12);
    memcpy(info.to + 12, by->ip4, 4);
  }
  if (socket_option(s, SOL_IPV6, IPV6_RECVPKTINFO)) control_put(out, SOL_IPV6, IPV6_PKTINFO, &info, sizeof info);
  if (!mapped && socket_option(s, SOL_IPV6, IPV6_RECVHOPLIMIT)) control_put(out, SOL_IPV6, IPV6_HOPLIMIT, &hops, sizeof hops);
  if (!mapped && socket_option(s, SOL_IPV6, IPV6_RECVTCLASS)) control_put(out, SOL_IPV6, IPV6_TCLASS, &class, sizeof class);
}

void packet_control(const struct socket *s, const struct address *from, struct control_out *out) {
  bool inet = s->family == AF_INET || s->family == AF_INET6;
  if (!inet || s->type != SOCK_DGRAM || s->options == NULL) return;
  put_time(s, out);
  if (s->family == AF_INET) put_ip4(s, from, out);
  else put_ip6(s, from, out);
}
