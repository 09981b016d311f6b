/* /proc/net and the requests about interfaces: their shape, and that a program finds its own sockets there. */
#include "call.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int bound(int family, int type, const char *ip) {
  int fd = socket(family, type, 0);
  struct sockaddr_in a = {.sin_family = AF_INET};
  struct sockaddr_in6 b = {.sin6_family = AF_INET6};
  if (family == AF_INET) inet_pton(AF_INET, ip, &a.sin_addr), bind(fd, (void *)&a, sizeof a);
  else inet_pton(AF_INET6, ip, &b.sin6_addr), bind(fd, (void *)&b, sizeof b);
  return fd;
}

static unsigned port_of(int fd) {
  struct sockaddr_in6 a;
  socklen_t size = sizeof a;
  getsockname(fd, (void *)&a, &size);
  return ntohs(a.sin6_port);
}

static unsigned long inode_of(int fd) {
  struct stat s;
  fstat(fd, &s);
  return s.st_ino;
}

/* The line of a socket in a table: addresses, state and queues; ports as the name of who has them. */
static void look_up(const char *table, int fd) {
  char path[64], line[400];
  snprintf(path, sizeof path, "/proc/net/%s", table);
  FILE *f = fopen(path, "r");
  int found = 0;
  fgets(line, sizeof line, f);
  while (fgets(line, sizeof line, f) != NULL) {
    char local[40], remote[40];
    unsigned local_port, remote_port, state, tx, rx, uid;
    unsigned long inode;
    int n = sscanf(line, "%*d: %39[0-9A-F]:%X %39[0-9A-F]:%X %X %X:%X %*X:%*X %*X %u %*d %lu", local, &local_port, remote,
                   &remote_port, &state, &tx, &rx, &uid, &inode);
    if (n != 9) printf("a line that makes no sense: %s", line);
    else if (inode == inode_of(fd)) found++, printf("%s: %s %d %s %d %02X %d uid %u\n", table, local, local_port == port_of(fd), remote, remote_port != 0, state, rx, uid);
  }
  fclose(f);
  if (found != 1) printf("%s: %d\n", table, found);
}

static void inet(void) {
  int listener = bound(AF_INET, SOCK_STREAM, "127.0.0.1"), client = socket(AF_INET, SOCK_STREAM, 0), any = bound(AF_INET6, SOCK_STREAM, "::");
  struct sockaddr_in6 name;
  socklen_t size = sizeof name;
  look_up("tcp", listener); /* not there before it listens */
  listen(listener, 5), listen(any, 5);
  look_up("tcp", listener);
  look_up("tcp6", any);
  getsockname(listener, (void *)&name, &size);
  connect(client, (void *)&name, size);
  int server = accept(listener, NULL, NULL), again = dup(client);
  look_up("tcp", client);
  look_up("tcp", server);
  write(client, "twelve bytes", 12);
  look_up("tcp", server);
  int udp = bound(AF_INET, SOCK_DGRAM, "127.0.0.1"), udp6 = bound(AF_INET6, SOCK_DGRAM, "::1"), fresh = socket(AF_INET, SOCK_DGRAM, 0);
  look_up("udp", udp);
  look_up("udp6", udp6);
  look_up("udp", fresh);
  close(again), close(client), close(server), close(listener), close(any), close(udp), close(udp6), close(fresh);
}

static void unix_line(int fd) {
  char line[400], path[200];
  FILE *f = fopen("/proc/net/unix", "r");
  fgets(line, sizeof line, f);
  while (fgets(line, sizeof line, f) != NULL) {
    unsigned flags, type, state;
    unsigned long inode;
    path[0] = 0;
    int n = sscanf(line, "%*x: %*X %*X %X %X %X %lu %199s", &flags, &type, &state, &inode, path);
    if (n < 4) printf("a line that makes no sense: %s", line);
    else if (inode == inode_of(fd)) printf("unix: %x %x %x <%s>\n", flags, type, state, path);
  }
  fclose(f);
}

static void local(void) {
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/tmp/name"}, abstract = {.sun_family = AF_UNIX, .sun_path = "\0name"};
  int a = socket(AF_UNIX, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0), pair[2];
  unix_line(a);
  bind(a, (void *)&name, sizeof name);
  listen(a, 1);
  bind(b, (void *)&abstract, 2 + 5);
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
  unix_line(a), unix_line(b), unix_line(pair[0]);
  close(a), close(b), close(pair[0]), close(pair[1]);
}

static void header(const char *name) {
  char path[64], line[400] = "";
  snprintf(path, sizeof path, "/proc/net/%s", name);
  FILE *f = fopen(path, "r");
  if (f == NULL) return (void)printf("%s is not there\n", name);
  fgets(line, sizeof line, f);
  for (char *end = line + strlen(line); end > line && (end[-1] == ' ' || end[-1] == '\n');) *--end = 0;
  printf("%s\n", line);
  fclose(f);
}

static void loopback(void) {
  char line[400];
  FILE *f = fopen("/proc/net/dev", "r");
  while (fgets(line, sizeof line, f) != NULL) {
    char name[16];
    unsigned long n[16];
    int count = sscanf(line, " %15[^:]: %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu", name, n, n + 1, n + 2,
                       n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9, n + 10, n + 11, n + 12, n + 13, n + 14, n + 15);
    if (strcmp(name, "lo") == 0) printf("dev lo: %d fields\n", count);
  }
  fclose(f);
  f = fopen("/proc/net/if_inet6", "r");
  while (fgets(line, sizeof line, f) != NULL)
    if (strstr(line, " lo\n") != NULL) printf("if_inet6: %s", line);
  fclose(f);
}

static void request(const char *what, unsigned long number, int fd) {
  struct ifreq r = {.ifr_name = "lo"};
  if (number == SIOCGIFNAME) r = (struct ifreq){.ifr_ifindex = 1};
  if (ioctl(fd, number, &r) < 0) return (void)printf("%s: %s\n", what, strerrorname_np(errno));
  struct sockaddr_in *a = (void *)&r.ifr_addr;
  if (number == SIOCGIFFLAGS) printf("%s: %x\n", what, r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
  else if (number == SIOCGIFADDR || number == SIOCGIFNETMASK) printf("%s: %s\n", what, inet_ntoa(a->sin_addr));
  else if (number == SIOCGIFNAME) printf("%s: %s\n", what, r.ifr_name);
  else if (number == SIOCGIFHWADDR) printf("%s: %d\n", what, r.ifr_hwaddr.sa_family);
  else printf("%s: %d\n", what, r.ifr_ifindex);
}

static void interfaces(void) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), found = 0;
  struct ifreq all[8], unknown = {.ifr_name = "nothing7"};
  struct ifconf list = {.ifc_len = sizeof all, .ifc_req = all}, one = {.ifc_len = sizeof all[0], .ifc_req = all + 7}, size = {.ifc_len = 7};
  printf("%d\n", ioctl(fd, SIOCGIFCONF, &list));
  for (size_t i = 0; i < list.ifc_len / sizeof all[0]; i++) found += strcmp(all[i].ifr_name, "lo") == 0;
  printf("lo %d times\n", found);
  printf("%d", ioctl(fd, SIOCGIFCONF, &size));
  printf(" %d\n", size.ifc_len >= (int)sizeof all[0]);
  ioctl(fd, SIOCGIFCONF, &one);
  printf("one: %d\n", one.ifc_len == sizeof all[0]);
#define REQUEST(name) request(#name, name, fd)
  REQUEST(SIOCGIFFLAGS), REQUEST(SIOCGIFADDR), REQUEST(SIOCGIFNETMASK), REQUEST(SIOCGIFINDEX), REQUEST(SIOCGIFNAME);
  REQUEST(SIOCGIFMTU), REQUEST(SIOCGIFHWADDR), REQUEST(SIOCGIFMETRIC);
  printf("%s\n", ioctl(fd, SIOCGIFFLAGS, &unknown) < 0 ? strerrorname_np(errno) : "?");
  printf("%s\n", ioctl(fd, SIOCGIFFLAGS, 8) < 0 ? strerrorname_np(errno) : "?");
  printf("index %d\n", if_nametoindex("lo"));
  close(fd);
}

/* The counters of TCP: their names, how many values there are, and that a connection counts. */
static void counters(void) {
  char line[400];
  int ends[2], listener = socket(AF_INET, SOCK_STREAM, 0), found = 0;
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof name;
  bind(listener, (struct sockaddr *)&name, size);
  listen(listener, 1);
  getsockname(listener, (struct sockaddr *)&name, &size);
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(ends[0], (struct sockaddr *)&name, size);
  ends[1] = accept(listener, NULL, NULL);
  FILE *f = fopen("/proc/net/snmp", "r");
  while (fgets(line, sizeof line, f) != NULL) {
    int connected, fields = 0;
    if (strncmp(line, "Tcp:", 4) != 0) continue;
    if (found++ == 0) printf("%s", line);
    else if (sscanf(line, "Tcp: 1 200 120000 -1 %*d %*d %*d %*d %d", &connected) == 1) printf("connected: %d\n", connected >= 2);
    for (char *at = line; (at = strchr(at, ' ')) != NULL; at++) fields++;
    printf("fields: %d\n", fields);
  }
  fclose(f);
  close(listener), close(ends[0]), close(ends[1]);
}

/* Diagnosis of sockets: a program may ask, whatever the answer is. */
static void diagnosis(void) {
  struct {
    uint32_t size;
    uint16_t type, flags;
    uint32_t sequence, pid;
    unsigned char family, rest[55];
  } question = {sizeof question, 20, 0x301, 7, 0, AF_INET, {IPPROTO_TCP}}, answer;
  int fd = socket(AF_NETLINK, SOCK_RAW, 4);
  printf("asked: %d\n", (int)send(fd, &question, sizeof question, 0));
  recv(fd, &answer, sizeof answer, 0);
  printf("an answer to: %u\n", answer.sequence);
  close(fd);
}

int main(void) {
  static const char *const names[] = {"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix", "dev", "route", "arp", "netlink", "packet"};
  char link[20] = {0};
  setvbuf(stdout, NULL, _IONBF, 0);
  readlink("/proc/net", link, sizeof link - 1);
  printf("net -> %s\n", link);
  inet();
  local();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) header(names[i]);
  loopback();
  interfaces();
  counters();
  diagnosis();
  return 0;
}
