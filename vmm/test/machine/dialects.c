/* Programs that know nothing of frames, by their first argument: filters of standard input, and HTTP servers. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int calls;

static int filter(void) {
  char text[4096];
  size_t length = fread(text, 1, sizeof text - 1, stdin);
  text[length] = '\0';
  calls++;
  fprintf(stderr, "call %d\n", calls);
  if (strcmp(text, "fail") == 0) return 7;
  if (strcmp(text, "crash") == 0) abort();
  if (strcmp(text, "binary") == 0) return fwrite("\xff\xfe", 1, 2, stdout) != 2;
  if (strcmp(text, "flood") == 0)
    for (;;) printf("%4095s\n", "x");
  printf("{\"calls\":%d,\"length\":%zu}", calls, length);
  return 0;
}

/* Longer than any pipe: what came out tells how much went in. */
static int echo(void) {
  char bytes[65536];
  for (ssize_t n; (n = read(0, bytes, sizeof bytes)) > 0;)
    for (ssize_t done = 0, wrote; done < n; done += wrote)
      if ((wrote = write(1, bytes + done, (size_t)(n - done))) < 0) return 1;
  return 0;
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0) exit(3);
  return fd;
}

/* One request a connection, and the connection ends the answer. */
static void answer(int fd) {
  char request[65536];
  ssize_t length = 0;
  for (ssize_t n; (n = read(fd, request + length, sizeof request - 1 - (size_t)length)) > 0;) {
    length += n;
    request[length] = '\0';
    if (strstr(request, "\r\n\r\n") != NULL) break;
  }
  calls++;
  printf("request %d\n", calls);
  fflush(stdout);
  if (strncmp(request, "GET /garbage", 12) == 0) {
    dprintf(fd, "ICY 200 OK\r\n\r\n");
  } else if (strncmp(request, "GET /exit", 9) == 0) {
    exit(5);
  } else if (strncmp(request, "GET /slow", 9) == 0) {
    dprintf(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
    dprintf(fd, "3\r\ntwo\r\n0\r\n\r\n");
  } else {
    dprintf(fd, "HTTP/1.0 200 OK\r\nX-Calls: %d\r\nContent-Type: text/plain\r\n\r\n%s", calls, request);
  }
  close(fd);
}

static _Noreturn void serve(int port) {
  int fd = listen_on(port);
  printf("listening on %d\n", port);
  fflush(stdout);
  for (;;) answer(accept(fd, NULL, NULL));
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "filter") == 0) return filter();
  if (strcmp(what, "echo") == 0) return echo();
  if (strcmp(what, "serve") == 0) serve(8080);
  if (strcmp(what, "late") == 0) {
    listen_on(1);
    usleep(20000);
    serve(8080);
  }
  if (strcmp(what, "asks") == 0) {
    char byte;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    inet_pton(AF_INET, "169.254.77.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 || read(fd, &byte, 1) != 1) return 6;
    if (argc > 3) return filter();
    serve(8080);
  }
  if (strcmp(what, "elsewhere") == 0) {
    close(listen_on(3000));
    listen_on(5000);
    listen_on(4000);
    pause();
  }
  if (strcmp(what, "deaf") == 0) pause();
  return 4;
}
