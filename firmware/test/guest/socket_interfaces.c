/* getifaddrs: the loopback interface, as on Linux (other interfaces are left out of the print). */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  struct ifaddrs *all = NULL;
  printf("getifaddrs: %d\n", getifaddrs(&all));
  for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
    char ip[64] = "", mask[64] = "";
    if (strcmp(i->ifa_name, "lo") != 0 || i->ifa_addr == NULL) continue;
    int family = i->ifa_addr->sa_family;
    if (family == AF_INET) {
      inet_ntop(family, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, ip, sizeof ip);
      inet_ntop(family, &((struct sockaddr_in *)i->ifa_netmask)->sin_addr, mask, sizeof mask);
    } else if (family == AF_INET6) {
      continue; /* not every Linux has it */
    }
    printf("%s family %d up %d loopback %d %s %s\n", i->ifa_name, family, !!(i->ifa_flags & IFF_UP),
           !!(i->ifa_flags & IFF_LOOPBACK), ip, mask);
  }
  freeifaddrs(all);
  return 0;
}
