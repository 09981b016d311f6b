/* The least of an agent: says that it is ready, answers every frame with the same one. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static int stream;

static void put(const void *bytes, size_t n) {
  for (const char *at = bytes; n > 0;) {
    ssize_t written = write(stream, at, n);
    if (written <= 0) _exit(1);
    at += written;
    n -= (size_t)written;
  }
}

static void get(void *bytes, size_t n) {
  for (char *at = bytes; n > 0;) {
    ssize_t got = read(stream, at, n);
    if (got <= 0) _exit(1);
    at += got;
    n -= (size_t)got;
  }
}

static void send_head(const char *json) {
  uint32_t prefix[2] = {4 + (uint32_t)strlen(json), (uint32_t)strlen(json)};
  put(prefix, sizeof prefix);
  put(json, strlen(json));
}

int main(void) {
  static char frame[65536];
  stream = open("/dev/vsock/2/1024", O_RDWR);
  if (stream < 0) return 1;
  send_head("{\"type\":\"ready\"}");
  for (;;) {
    uint32_t size;
    get(&size, sizeof size);
    if (size > sizeof frame) return 2;
    get(frame, size);
    send_head("{\"type\":\"result\",\"logs\":[]}");
  }
}
