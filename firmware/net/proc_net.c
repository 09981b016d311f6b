/* /proc/net: the sockets and interfaces of the guest, as proc(5) has them. Sockets are found by the descriptors that they have. */
#include "../fs/inode.h"
#include "abi.h"
#include "interfaces.h"
#include "socket.h"

/* The next descriptor from *fd on that is the first of a socket's. */
static struct socket *next_socket(int *fd) {
  for (*fd = fd_next(*fd); *fd >= 0; *fd = fd_next(*fd + 1)) {
    struct file *f = fd_get(*fd);
    struct socket *s = file_socket(f);
    bool told = false;
    for (int before = 0; s != NULL && f->refs > 1 && !told && before < *fd; before++) told = fd_get(before) == f;
    if (s != NULL && !told) return s;
  }
  return NULL;
}

static u64 number_of(const struct socket *s) { return (u64)s >> 4 & 0xffffffff; } /* as file_number has it */

/* ---- tcp, tcp6, udp, udp6 ---- */

static void print_address(struct text *out, const struct address *a, bool v6) {
  u32 words[4] = {0};
  const u8 *port = a->family == AF_INET6 ? a->in6.port : a->in.port;
  if (a->size > 0) memcpy(words, v6 ? a->in6.ip : a->in.ip, v6 ? 16 : 4);
  for (int i = 0; i < (v6 ? 4 : 1); i++) text_print(out, "%08X", words[i]);
  text_print(out, ":%04X ", a->size == 0 ? 0 : port[0] << 8 | port[1]);
}

static u32 tcp_state(const struct socket *s) {
  enum { ESTABLISHED = 1, SYN_SENT, FIN_WAIT2 = 5, CLOSE = 7, CLOSE_WAIT, LAST_ACK, LISTEN };
  switch (s->state) {
    case SOCKET_LISTENING: return LISTEN;
    case SOCKET_CONNECTING: return SYN_SENT;
    case SOCKET_CONNECTED:
      if (s->in_ended) return s->out_ended ? LAST_ACK : CLOSE_WAIT;
      return s->out_ended ? FIN_WAIT2 : ESTABLISHED;
    default: return CLOSE;
  }
}

static u32 udp_state(const struct socket *s) { return s->state == SOCKET_CONNECTED ? 1 : 7; }

static void print_inet(struct text *out, const struct socket *s, int index) {
  bool v6 = s->family == AF_INET6, stream = s->type == SOCK_STREAM;
  u64 waiting = s->state == SOCKET_LISTENING ? s->accepting_count : s->in.size;
  text_print(out, stream ? "%4d: " : "%5d: ", index);
  print_address(out, &s->local, v6);
  print_address(out, &s->remote, v6);
  text_print(out, "%02X 00000000:%08lX 00:00000000 00000000 %5u        0 %lu 2 %016lx", stream ? tcp_state(s) : udp_state(s),
             waiting, user_ids.files, number_of(s), (u64)0);
  text_print(out, stream ? " 20 4 30 10 -1\n" : " 0\n");
}

/* A TCP socket that neither listens nor is connected has no place in Linux's table. */
static bool in_table(const struct socket *s, u16 family, u8 type) {
  if (s->family != family || s->type != type) return false;
  return type == SOCK_STREAM ? tcp_state(s) != 7 : s->local.size > 0;
}

static void print_table(struct text *out, u16 family, u8 type) {
  const char *rest = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
  const char *addresses = family == AF_INET6 ? "local_address                         remote_address                       "
                                             : "local_address rem_address  ";
  text_print(out, "%s  sl  %s %s%s\n", type == SOCK_DGRAM && family == AF_INET ? " " : "", addresses, rest,
             type == SOCK_STREAM ? "" : " ref pointer drops");
  int index = 0;
  const struct socket *s;
  for (int fd = 0; (s = next_socket(&fd)) != NULL; fd++) {
    if (in_table(s, family, type)) print_inet(out, s, index++);
    if (s->state == SOCKET_LISTENING && s->family == family && type == SOCK_STREAM)
      LIST_EACH(&s->accepting, item) print_inet(out, CONTAINER(item, struct socket, accept), index++);
  }
}

static void generate_tcp(struct inode *inode, struct text *out) { print_table(out, AF_INET, SOCK_STREAM); }
static void generate_tcp6(struct inode *inode, struct text *out) { print_table(out, AF_INET6, SOCK_STREAM); }
static void generate_udp(struct inode *inode, struct text *out) { print_table(out, AF_INET, SOCK_DGRAM); }
static void generate_udp6(struct inode *inode, struct text *out) { print_table(out, AF_INET6, SOCK_DGRAM); }
static void generate_raw(struct inode *inode, struct text *out) { print_table(out, AF_INET, SOCK_RAW); }
static void generate_raw6(struct inode *inode, struct text *out) { print_table(out, AF_INET6, SOCK_RAW); }

/* ---- unix ---- */

static void print_unix(struct text *out, const struct socket *s) {
  enum { ACCEPTS = 0x10000, UNCONNECTED = 1, CONNECTED = 3 };
  u32 path_size = s->local.size > 2 ? s->local.size - 2 : 0;
  text_print(out, "%016lx: 00000002 00000000 %08X %04X %02X %5lu", (u64)0, s->state == SOCKET_LISTENING ? ACCEPTS : 0, s->type,
             s->state == SOCKET_CONNECTED || s->pair ? CONNECTED : UNCONNECTED, number_of(s));
  if (path_size > 0) text_add(out, " ", 1);
  for (u32 i = 0; i < path_size; i++) {
    char c = s->local.un.path[i];
    if (c == 0 && s->local.un.path[0] != 0) break; /* a path ends with it, an abstract name does not */
    text_add(out, c == 0 ? "@" : &c, 1);
  }
  text_add(out, "\n", 1);
}

static void generate_unix(struct inode *inode, struct text *out) {
  const struct socket *s;
  text_print(out, "Num       RefCount Protocol Flags    Type St Inode Path\n");
  for (int fd = 0; (s = next_socket(&fd)) != NULL; fd++) {
    if (s->family != AF_UNIX) continue;
    print_unix(out, s);
    if (s->state == SOCKET_LISTENING)
      LIST_EACH(&s->accepting, item) print_unix(out, CONTAINER(item, struct socket, accept));
  }
}

static void generate_sockstat(struct inode *inode, struct text *out) {
  u32 all = 0, tcp = 0, udp = 0;
  const struct socket *s;
  for (int fd = 0; (s = next_socket(&fd)) != NULL; fd++) {
    all++;
    tcp += in_table(s, AF_INET, SOCK_STREAM);
    udp += in_table(s, AF_INET, SOCK_DGRAM);
  }
  text_print(out, "sockets: used %u\nTCP: inuse %u orphan 0 tw 0 alloc %u mem 0\nUDP: inuse %u mem 0\n", all, tcp, tcp, udp);
  text_print(out, "UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n");
}

/* Of its counters, the one that is kept: the connections that there are. `ss -s` and `netstat -s` read it. */
static void generate_snmp(struct inode *inode, struct text *out) {
  enum { ESTABLISHED = 1, CLOSE_WAIT = 8 };
  u32 connected = 0;
  const struct socket *s;
  for (int fd = 0; (s = next_socket(&fd)) != NULL; fd++) {
    bool stream = in_table(s, AF_INET, SOCK_STREAM) || in_table(s, AF_INET6, SOCK_STREAM);
    connected += stream && (tcp_state(s) == ESTABLISHED || tcp_state(s) == CLOSE_WAIT);
  }
  text_print(out, "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs "
                  "RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1 0 0 0 0 %u 0 0 0 0 0 0\n",
             connected);
  text_print(out, "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n"
                  "Udp: 0 0 0 0 0 0 0 0 0\n");
}

/* ---- interfaces ---- */

static void generate_dev(struct inode *inode, struct text *out) {
  text_print(out, "Inter-|   Receive                                                |  Transmit\n");
  text_print(out, " face |bytes    packets errs drop fifo frame compressed multicast|"
                  "bytes    packets errs drop fifo colls carrier compressed\n");
  for (u32 i = 0; i < INTERFACES; i++)
    text_print(out, "%6s:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n",
               interfaces[i].name);
}

static u32 word(const u8 ip[4]) {
  u32 w;
  memcpy(&w, ip, sizeof w);
  return w;
}

static void print_route(struct text *out, const char *name, u32 to, u32 gateway, u32 flags, u32 mask) {
  text_print(out, "%s\t%08X\t%08X\t%04X\t0\t0\t0\t%08X\t0\t0\t0\n", name, to, gateway, flags, mask);
}

/* To the host, which opens connections that leave (docs/networking.md). */
static void generate_route(struct inode *inode, struct text *out) {
  enum { RTF_UP = 1, RTF_GATEWAY = 2 };
  static const u8 gateway[4] = {NET_HOST_IP >> 24, NET_HOST_IP >> 16 & 0xff, NET_HOST_IP >> 8 & 0xff, NET_HOST_IP & 0xff};
  static const u8 mask[4] = {255, 255, 255, 0};
  const struct interface *outside = &interfaces[INTERFACES - 1];
  text_print(out, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
  print_route(out, outside->name, 0, word(gateway), RTF_UP | RTF_GATEWAY, 0);
  print_route(out, outside->name, word(outside->ip4) & word(mask), 0, RTF_UP, word(mask));
}

static void print_ip6(struct text *out, const u8 ip[16]) {
  for (int i = 0; i < 16; i++) text_print(out, "%02x", ip[i]);
}

static void generate_if_inet6(struct inode *inode, struct text *out) {
  enum { SCOPE_GLOBAL = 0, SCOPE_HOST = 0x10, PERMANENT = 0x80 };
  for (u32 i = 0; i < INTERFACES; i++) {
    print_ip6(out, interfaces[i].ip6);
    text_print(out, " %02x %02x %02x %02x %8s\n", interfaces[i].index, interfaces[i].prefix6,
               interfaces[i].index == LOOPBACK_INDEX ? SCOPE_HOST : SCOPE_GLOBAL, PERMANENT, interfaces[i].name);
  }
}

static void generate_ipv6_route(struct inode *inode, struct text *out) {
  static const u8 none[16];
  enum { RTF_UP = 1, PREFERENCE = 256 };
  for (u32 i = 0; i < INTERFACES; i++) {
    u8 to[16];
    memcpy(to, interfaces[i].ip6, sizeof to);
    memset(to + interfaces[i].prefix6 / 8, 0, 16 - interfaces[i].prefix6 / 8);
    print_ip6(out, to);
    text_print(out, " %02x ", interfaces[i].prefix6);
    print_ip6(out, none);
    text_print(out, " 00 ");
    print_ip6(out, none);
    text_print(out, " %08x 00000001 00000000 %08x %8s\n", PREFERENCE, RTF_UP, interfaces[i].name);
  }
}

static void generate_arp(struct inode *inode, struct text *out) {
  text_print(out, "IP address       HW type     Flags       HW address            Mask     Device\n");
}

static void generate_netlink(struct inode *inode, struct text *out) {
  text_print(out, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
}

static void generate_packet(struct inode *inode, struct text *out) {
  text_print(out, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
}

#define FILE(name) {#name, {.file = &text_file_ops, .generate = generate_##name}}
static const struct {
  const char *name;
  struct inode_ops ops;
} files[] = {FILE(tcp),      FILE(tcp6), FILE(udp),      FILE(udp6),        FILE(raw), FILE(raw6),    FILE(unix),
             FILE(sockstat), FILE(snmp), FILE(dev),  FILE(route),    FILE(if_inet6),    FILE(arp), FILE(netlink), FILE(packet),
             FILE(ipv6_route)};

void proc_net_mount(struct dentry *process) {
  struct dentry *net = tree_dir(process, "net", DEV_PROC, &fixed_dir_ops);
  for (u32 i = 0; i < COUNT(files); i++) tree_file(net, files[i].name, S_IFREG | 0444, &files[i].ops);
}
