/* Network interfaces, and what netdevice(7)'s requests tell of them. */
#include "interfaces.h"
#include "abi.h"
#include "errno.h"
#include "lib.h"
#include "mm.h"
#include "socket.h"

enum { ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772 };
#define BYTES(ip) \
  { (u8)((ip) >> 24), (u8)((ip) >> 16), (u8)((ip) >> 8), (u8)(ip) }

const struct interface interfaces[INTERFACES] = {
    {.name = "lo",
     .index = LOOPBACK_INDEX,
     .type = ARPHRD_LOOPBACK,
     .flags = IFF_LOOPBACK | IFF_UP | IFF_RUNNING,
     .mtu = 65536,
     .ip4 = {127, 0, 0, 1},
     .prefix4 = 8,
     .ip6 = {[15] = 1},
     .prefix6 = 128},
    {.name = "eth0",
     .index = 2,
     .type = ARPHRD_ETHER,
     .flags = IFF_BROADCAST | IFF_UP | IFF_RUNNING,
     .mtu = 1500,
     .mac = {2, 0, (u8)(NET_GUEST_IP >> 24), (u8)(NET_GUEST_IP >> 16), (u8)(NET_GUEST_IP >> 8), (u8)NET_GUEST_IP},
     .broadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
     .ip4 = BYTES(NET_GUEST_IP),
     .prefix4 = 24,
     .ip6 = INET_OWN6,
     .prefix6 = 64},
};

enum {
  SIOCGIFNAME = 0x8910,
  SIOCGIFCONF = 0x8912,
  SIOCGIFFLAGS = 0x8913,
  SIOCGIFADDR = 0x8915,
  SIOCGIFDSTADDR = 0x8917,
  SIOCGIFBRDADDR = 0x8919,
  SIOCGIFNETMASK = 0x891b,
  SIOCGIFMETRIC = 0x891d,
  SIOCGIFMTU = 0x8921,
  SIOCGIFHWADDR = 0x8927,
  SIOCGIFINDEX = 0x8933,
  SIOCGIFTXQLEN = 0x8942,
  SIOCGIFMAP = 0x8970,
};

struct ifreq {
  char name[16];
  union {
    u16 family;
    i16 flags;
    i32 number;
    struct sockaddr_in address;
    struct {
      u16 type;
      u8 mac[14];
    } hardware;
    u8 bytes[24];
  };
};
struct ifconf {
  i32 size, pad;
  u64 requests;
};
_Static_assert(sizeof(struct ifreq) == 40 && sizeof(struct ifconf) == 16, "Linux's");

static const struct interface *find(const char name[16]) {
  for (u32 i = 0; i < INTERFACES; i++)
    if (strncmp(interfaces[i].name, name, 16) == 0) return &interfaces[i];
  return NULL;
}

static void set_address(struct ifreq *r, u32 ip) {
  r->address = (struct sockaddr_in){.family = AF_INET};
  for (int i = 0; i < 4; i++) r->address.ip[i] = (u8)(ip >> (24 - 8 * i));
}

static u32 ip_of(const struct interface *i) {
  return (u32)i->ip4[0] << 24 | (u32)i->ip4[1] << 16 | (u32)i->ip4[2] << 8 | i->ip4[3];
}

static i64 list(u64 arg) {
  if (!user_writable(arg, sizeof(struct ifconf))) return -EFAULT;
  struct ifconf *c = (struct ifconf *)arg;
  u64 room = c->requests == 0 ? INTERFACES : (u64)MAX(c->size, 0) / sizeof(struct ifreq), n = MIN(room, (u64)INTERFACES);
  if (c->requests != 0 && !user_writable(c->requests, n * sizeof(struct ifreq))) return -EFAULT;
  for (u64 i = 0; c->requests != 0 && i < n; i++) {
    struct ifreq *r = (struct ifreq *)c->requests + i;
    memset(r, 0, sizeof *r);
    memcpy(r->name, interfaces[i].name, strlen(interfaces[i].name));
    set_address(r, ip_of(&interfaces[i]));
  }
  c->size = (i32)(n * sizeof(struct ifreq));
  return 0;
}

static i64 name_of(struct ifreq *r) {
  for (u32 i = 0; i < INTERFACES; i++) {
    if (interfaces[i].index != r->number) continue;
    memset(r->name, 0, sizeof r->name);
    memcpy(r->name, interfaces[i].name, strlen(interfaces[i].name));
    return 0;
  }
  return -ENODEV;
}

i64 interface_ioctl(u32 request, u64 arg) {
  if (request < SIOCGIFNAME || request > SIOCGIFMAP) return -ENOTTY;
  if (request == SIOCGIFCONF) return list(arg);
  if (!user_writable(arg, sizeof(struct ifreq))) return -EFAULT;
  struct ifreq *r = (struct ifreq *)arg;
  if (request == SIOCGIFNAME) return name_of(r);
  const struct interface *i = find(r->name);
  if (i == NULL) return -ENODEV;
  u32 mask = ~0u << (32 - i->prefix4);
  switch (request) {
    case SIOCGIFFLAGS: r->flags = (i16)i->flags; return 0;
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR: set_address(r, ip_of(i)); return 0;
    case SIOCGIFBRDADDR: set_address(r, i->flags & IFF_BROADCAST ? ip_of(i) | ~mask : 0); return 0;
    case SIOCGIFNETMASK: set_address(r, mask); return 0;
    case SIOCGIFMETRIC: r->number = 0; return 0;
    case SIOCGIFMTU: r->number = (i32)i->mtu; return 0;
    case SIOCGIFINDEX: r->number = i->index; return 0;
    case SIOCGIFTXQLEN: r->number = 1000; return 0;
    case SIOCGIFMAP: memset(r->bytes, 0, sizeof r->bytes); return 0;
    case SIOCGIFHWADDR:
      memset(r->bytes, 0, sizeof r->bytes);
      r->hardware.type = i->type;
      memcpy(r->hardware.mac, i->mac, sizeof i->mac);
      return 0;
    default: return -ENOTTY;
  }
}
