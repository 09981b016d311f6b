/* net/interfaces.c: the network interfaces that programs are told of: the loopback one, and one that stands for net/tunnel.c. */
#pragma once
#include "types.h"

enum { IFF_UP = 1, IFF_BROADCAST = 2, IFF_LOOPBACK = 8, IFF_RUNNING = 0x40, IFF_MULTICAST = 0x1000, IFF_LOWER_UP = 0x10000 };

struct interface {
  const char *name;
  i32 index;
  u16 type; /* ARPHRD_* */
  u32 flags, mtu;
  u8 mac[6], broadcast[6];
  u8 ip4[4], prefix4, ip6[16], prefix6;
};
enum { INTERFACES = 2, LOOPBACK_INDEX = 1 };
extern const struct interface interfaces[INTERFACES];

/* The SIOCGIF* requests of netdevice(7); -ENOTTY for others. */
i64 interface_ioctl(u32 request, u64 arg);
