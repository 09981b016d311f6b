/* setsockopt and getsockopt. Most options have nothing to act on in this kernel; they are kept, so that a program
 * reads what it wrote. */
#include "errno.h"
#include "identity.h"
#include "lib.h"
#include "mm.h"
#include "socket_calls.h"
#include "syscall.h"

enum { SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6, SOL_UDP = 17, SOL_IPV6 = 41 };
enum {
  SO_TYPE = 3,
  SO_ERROR = 4,
  SO_SNDBUF = 7,
  SO_RCVBUF = 8,
  SO_LINGER = 13,
  SO_PEERCRED = 17,
  SO_RCVTIMEO = 20,
  SO_SNDTIMEO = 21,
  SO_ACCEPTCONN = 30,
  SO_SNDBUFFORCE = 32,
  SO_RCVBUFFORCE = 33,
  SO_PROTOCOL = 38,
  SO_DOMAIN = 39,
};
enum { TCP_INFO = 11, TCP_CONGESTION = 13, IPV6_MTU = 24, IPV6_MTU_LEAST = 1280 };

/* Options with an integer value and what it is before it is set. */
static const struct row {
  i32 level, option, initial;
} rows[] = {
    {SOL_SOCKET, 1, 0}, /* SO_DEBUG */
    {SOL_SOCKET, 2, 0}, /* SO_REUSEADDR */
    {SOL_SOCKET, 5, 0}, /* SO_DONTROUTE */
    {SOL_SOCKET, 6, 0}, /* SO_BROADCAST */
    {SOL_SOCKET, SO_SNDBUF, 212992},
    {SOL_SOCKET, SO_RCVBUF, 212992},
    {SOL_SOCKET, 9, 0},  /* SO_KEEPALIVE */
    {SOL_SOCKET, 10, 0}, /* SO_OOBINLINE */
    {SOL_SOCKET, 12, 0}, /* SO_PRIORITY */
    {SOL_SOCKET, 15, 0}, /* SO_REUSEPORT */
    {SOL_SOCKET, 16, 0}, /* SO_PASSCRED */
    {SOL_SOCKET, 18, 1}, /* SO_RCVLOWAT */
    {SOL_SOCKET, 29, 0}, /* SO_TIMESTAMP */
    {SOL_SOCKET, 35, 0}, /* SO_TIMESTAMPNS */
    {SOL_SOCKET, 36, 0}, /* SO_MARK */
    {SOL_SOCKET, 40, 0}, /* SO_RXQ_OVFL */
    {SOL_SOCKET, 45, 0}, /* SO_SELECT_ERR_QUEUE */
    {SOL_SOCKET, 46, 0}, /* SO_BUSY_POLL */
    {SOL_SOCKET, 47, -1}, /* SO_MAX_PACING_RATE */
    {SOL_SOCKET, 49, 0}, /* SO_INCOMING_CPU */
    {SOL_TCP, 1, 0},     /* TCP_NODELAY */
    {SOL_TCP, 2, 65483}, /* TCP_MAXSEG: of the loopback device */
    {SOL_TCP, 3, 0},     /* TCP_CORK */
    {SOL_TCP, 4, 7200},  /* TCP_KEEPIDLE */
    {SOL_TCP, 5, 75},    /* TCP_KEEPINTVL */
    {SOL_TCP, 6, 9},     /* TCP_KEEPCNT */
    {SOL_TCP, 7, 6},     /* TCP_SYNCNT */
    {SOL_TCP, 8, 60},    /* TCP_LINGER2 */
    {SOL_TCP, 9, 0},     /* TCP_DEFER_ACCEPT */
    {SOL_TCP, 12, 1},    /* TCP_QUICKACK */
    {SOL_TCP, 16, 0},    /* TCP_THIN_LINEAR_TIMEOUTS */
    {SOL_TCP, 18, 0},    /* TCP_USER_TIMEOUT */
    {SOL_TCP, 23, 0},    /* TCP_FASTOPEN */
    {SOL_TCP, 25, 0},    /* TCP_NOTSENT_LOWAT */
    {SOL_IP, 1, 0},      /* IP_TOS */
    {SOL_IP, 2, 64},     /* IP_TTL */
    {SOL_IP, 8, 0},      /* IP_PKTINFO */
    {SOL_IP, 10, 1},     /* IP_MTU_DISCOVER */
    {SOL_IP, 11, 0},     /* IP_RECVERR */
    {SOL_IP, 12, 0},     /* IP_RECVTTL */
    {SOL_IP, 13, 0},     /* IP_RECVTOS */
    {SOL_IP, 15, 0},     /* IP_FREEBIND */
    {SOL_IP, 19, 0},     /* IP_TRANSPARENT */
    {SOL_IP, 24, 0},     /* IP_BIND_ADDRESS_NO_PORT */
    {SOL_IP, 33, 1},     /* IP_MULTICAST_TTL */
    {SOL_IP, 34, 1},     /* IP_MULTICAST_LOOP */
    {SOL_IP, 49, 1},     /* IP_MULTICAST_ALL */
    {SOL_IPV6, 16, 64},  /* IPV6_UNICAST_HOPS */
    {SOL_IPV6, 18, 1},   /* IPV6_MULTICAST_HOPS */
    {SOL_IPV6, 19, 1},   /* IPV6_MULTICAST_LOOP */
    {SOL_IPV6, 23, 1},   /* IPV6_MTU_DISCOVER */
    {SOL_IPV6, IPV6_MTU, 65536},
    {SOL_IPV6, 25, 0},   /* IPV6_RECVERR */
    {SOL_IPV6, 26, 0},   /* IPV6_V6ONLY */
    {SOL_IPV6, 49, 0},   /* IPV6_RECVPKTINFO */
    {SOL_IPV6, 51, 0},   /* IPV6_RECVHOPLIMIT */
    {SOL_IPV6, 62, 0},   /* IPV6_DONTFRAG */
    {SOL_IPV6, 66, 0},   /* IPV6_RECVTCLASS */
    {SOL_IPV6, 67, 0},   /* IPV6_TCLASS */
    {SOL_IPV6, 70, 1},   /* IPV6_AUTOFLOWLABEL */
    {SOL_IPV6, 75, 0},   /* IPV6_TRANSPARENT */
    {SOL_IPV6, 78, 0},   /* IPV6_FREEBIND */
};
_Static_assert(COUNT(rows) <= OPTION_COUNT, "socket->options has room for all rows");

static i32 find_row(i32 level, i32 option) {
  for (u32 i = 0; i < COUNT(rows); i++)
    if (rows[i].level == level && rows[i].option == option) return (i32)i;
  return -1;
}

i32 socket_option(const struct socket *s, i32 level, i32 option) {
  i32 i = find_row(level, option);
  ASSERT(i >= 0);
  return s->options == NULL ? rows[i].initial : s->options[i];
}

static bool level_applies(const struct socket *s, i32 level) {
  bool inet = s->family == AF_INET || s->family == AF_INET6;
  switch (level) {
    case SOL_SOCKET: return true;
    case SOL_IP: return inet;
    case SOL_IPV6: return s->family == AF_INET6;
    case SOL_TCP: return inet && s->type == SOCK_STREAM;
    case SOL_UDP: return inet && s->type == SOCK_DGRAM;
    default: return level == AF_VSOCK && s->family == AF_VSOCK;
  }
}

static i64 set_value(struct socket *s, i32 row, i32 value) {
  if (s->options == NULL) {
    s->options = kmalloc(OPTION_COUNT * sizeof *s->options);
    if (s->options == NULL) return -ENOMEM;
    for (u32 i = 0; i < COUNT(rows); i++) s->options[i] = rows[i].initial;
  }
  s->options[row] = value;
  return 0;
}

static i64 set_timeout(u64 *timeout, u64 user, u64 size) {
  if (size < 16) return -EINVAL;
  if (!user_readable(user, 16)) return -EFAULT;
  const i64 *t = (const i64 *)user; /* struct timeval */
  if (t[1] < 0 || t[1] >= 1000000) return -EDOM;
  *timeout = t[0] < 0 ? 0 : MIN((u64)t[0], FOREVER / NS_PER_SEC / 4) * NS_PER_SEC + (u64)t[1] * 1000;
  return 0;
}

static i64 set_linger(struct socket *s, u64 user, u64 size) {
  if (size < sizeof s->linger) return -EINVAL;
  if (!user_readable(user, sizeof s->linger)) return -EFAULT;
  s->linger = *(const struct linger *)user;
  s->linger.on = s->linger.on != 0;
  return 0;
}

static i64 set_integer(struct socket *s, i32 level, i32 option, u64 user, u64 size) {
  i32 row = find_row(level, option), value = 0;
  if (row < 0) return -ENOPROTOOPT;
  bool byte = level == SOL_IP && size >= 1 && size < sizeof value; /* Linux takes a char there */
  if (size < sizeof value && !byte) return -EINVAL;
  if (!user_readable(user, byte ? 1 : sizeof value)) return -EFAULT;
  memcpy(&value, (const void *)user, byte ? 1 : sizeof value);
  bool buffer = level == SOL_SOCKET && (option == SO_SNDBUF || option == SO_RCVBUF);
  if (buffer) value = MAX(MIN(value, 212992) * 2, 2304); /* doubled and bounded, as Linux does */
  if (level == SOL_IPV6 && option == IPV6_MTU && value != 0 && value < IPV6_MTU_LEAST) return -EINVAL;
  return set_value(s, row, value);
}

i64 sys_setsockopt(const u64 *a) {
  struct file *f;
  i64 error;
  struct socket *s = socket_get(a[0], &f, &error);
  i32 level = (i32)a[1], option = (i32)a[2];
  u64 user = a[3], size = (u32)a[4];
  if (s == NULL) return error;
  if ((i32)size < 0) return -EINVAL;
  if (!level_applies(s, level)) return -ENOPROTOOPT;
  if (level == AF_VSOCK || (level == SOL_TCP && option == TCP_CONGESTION)) return 0;
  if (level != SOL_SOCKET) return set_integer(s, level, option, user, size);
  switch (option) {
    case SO_RCVTIMEO: return set_timeout(&s->receive_timeout, user, size);
    case SO_SNDTIMEO: return set_timeout(&s->send_timeout, user, size);
    case SO_LINGER: return set_linger(s, user, size);
    case SO_SNDBUFFORCE: option = SO_SNDBUF; break;
    case SO_RCVBUFFORCE: option = SO_RCVBUF; break;
    case SO_TYPE:
    case SO_ERROR:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ACCEPTCONN: return -ENOPROTOOPT;
  }
  return set_integer(s, level, option, user, size);
}

/* The value of an option in `out`; returns its size or -ENOPROTOOPT. */
static i64 get_value(struct socket *s, i32 level, i32 option, u8 out[256]) {
  i32 value = 0, row = find_row(level, option);
  u64 timeout = option == SO_RCVTIMEO ? s->receive_timeout : s->send_timeout;
  if (row >= 0) {
    value = socket_option(s, level, option);
  } else if (level == SOL_TCP && option == TCP_INFO) {
    memset(out, 0, 104);
    out[0] = s->state == SOCKET_CONNECTED   ? 1
             : s->state == SOCKET_LISTENING ? 10
                                            : 7; /* TCP_ESTABLISHED, LISTEN, CLOSE */
    return 104;
  } else if (level == SOL_TCP && option == TCP_CONGESTION) {
    memcpy(out, "cubic", 6);
    return 6;
  } else if (level != SOL_SOCKET) {
    return -ENOPROTOOPT;
  } else {
    switch (option) {
      case SO_TYPE: value = s->type; break;
      case SO_DOMAIN: value = s->family; break;
      case SO_PROTOCOL: value = s->protocol; break;
      case SO_ACCEPTCONN: value = s->state == SOCKET_LISTENING; break;
      case SO_ERROR:
        value = s->error;
        s->error = 0;
        break;
      case SO_LINGER: memcpy(out, &s->linger, sizeof s->linger); return sizeof s->linger;
      case SO_PEERCRED:
        memcpy(out, (u32[3]){(u32)process_id(), user_ids.effective, group_ids.effective}, 12);
        return 12;
      case SO_RCVTIMEO:
      case SO_SNDTIMEO: memcpy(out, (u64[2]){timeout / NS_PER_SEC, timeout % NS_PER_SEC / 1000}, 16); return 16;
      default: return -ENOPROTOOPT;
    }
  }
  memcpy(out, &value, sizeof value);
  return sizeof value;
}

i64 sys_getsockopt(const u64 *a) {
  struct file *f;
  i64 error;
  u8 value[256];
  struct socket *s = socket_get(a[0], &f, &error);
  if (s == NULL) return error;
  if (!user_writable(a[4], sizeof(i32))) return -EFAULT;
  i32 room = *(const i32 *)a[4];
  if (room < 0) return -EINVAL;
  if (!level_applies(s, (i32)a[1])) return (i32)a[1] == SOL_TCP || (i32)a[1] == SOL_UDP ? -EOPNOTSUPP : -ENOPROTOOPT;
  i64 size = get_value(s, (i32)a[1], (i32)a[2], value);
  if (size < 0) return size;
  u64 n = MIN((u64)room, (u64)size);
  if (n > 0 && !user_writable(a[3], n)) return -EFAULT;
  memcpy((void *)a[3], value, n);
  *(i32 *)a[4] = (i32)n;
  return 0;
}
