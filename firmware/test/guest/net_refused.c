/* What a guest cannot reach: `net_refused NAME IP PORT [NAME IP PORT ...]`: names and TCP; datagrams besides. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, n);
}

static void name(const char *host) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
  int error = getaddrinfo(host, "80", &hints, &found);
  printf("%s: %s\n", host, error == 0 ? "" : gai_strerror(error));
  for (struct addrinfo *a = error == 0 ? found : NULL; a != NULL; a = a->ai_next) {
    char text[64] = "";
    void *ip = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
                                       : &((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
    printf("  %s\n", inet_ntop(a->ai_family, ip, text, sizeof text));
  }
}

static void tcp(const char *ip, int port) {
  char text[100];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  inet_pton(AF_INET, ip, &to.sin_addr);
  snprintf(text, sizeof text, "tcp %s:%d", ip, port);
  say(text, connect(fd, (void *)&to, sizeof to));
  close(fd);
}

static void udp(const char *ip) {
  char text[64];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, mine;
  socklen_t size = sizeof mine;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  inet_pton(AF_INET, ip, &to.sin_addr);
  say("udp connect", connect(fd, (void *)&to, sizeof to));
  getsockname(fd, (void *)&mine, &size);
  printf("from %s\n", inet_ntop(AF_INET, &mine.sin_addr, text, sizeof text));
  say("udp send", send(fd, "x", 1, 0));
  close(fd);
}

int main(int argc, char **argv) {
  for (int i = 1; i + 2 < argc; i += 3) name(argv[i]), tcp(argv[i + 1], atoi(argv[i + 2]));
  udp("192.0.2.1");
  return 0;
}
