/* An agent that goes out: connects to the server at PORT when it starts and once in each invocation, and leaves the
 * connections open. Heads of frames only. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int stream;

static void send_head(const char *json) {
  uint32_t prefix[2] = {4 + (uint32_t)strlen(json), (uint32_t)strlen(json)};
  if (write(stream, prefix, sizeof prefix) < 0 || write(stream, json, strlen(json)) < 0) exit(1);
}

static void get(void *bytes, size_t n) {
  for (char *at = bytes; n > 0;) {
    ssize_t got = read(stream, at, n);
    if (got <= 0) exit(1);
    at += got;
    n -= (size_t)got;
  }
}

static int dial(int port, int *error) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  inet_pton(AF_INET, "169.254.77.1", &to.sin_addr);
  *error = connect(fd, (void *)&to, sizeof to) < 0 ? errno : 0;
  return fd;
}

int main(void) {
  char json[256], byte = 0;
  int port = atoi(getenv("PORT")), error;
  stream = open("/dev/vsock/2/1024", O_RDWR);
  int old = dial(port, &error);
  if (error != 0 || write(old, "b", 1) != 1 || read(old, &byte, 1) != 1) return 1;
  send_head("{\"type\":\"ready\"}");
  for (uint32_t sizes[2];;) {
    get(sizes, sizeof sizes);
    char head[4096];
    if (sizes[1] > sizeof head || sizes[0] != sizes[1] + 4) return 1;
    get(head, sizes[1]);
    int old_error = read(old, &byte, 1) < 0 ? errno : 0, denied;
    int fd = dial(port, &error);
    if (error == 0 && (write(fd, "x", 1) != 1 || read(fd, &byte, 1) != 1)) error = -1;
    dial(port == 1 ? 2 : 1, &denied);
    snprintf(json, sizeof json, "{\"type\":\"result\",\"old\":%d,\"error\":%d,\"denied\":%d,\"byte\":\"%c\"}", old_error,
             error, denied, byte);
    send_head(json);
  }
}
