/* Threads that wait for each other through a pipe: readers and writers block, wake and end. */
#include "call.h"
#include <pthread.h>

enum { TOTAL = 3000000 };
static int fds[2];

static void *writer(void *unused) {
  static unsigned char buffer[100000];
  long sent = 0;
  unsigned size = 1;
  while (sent < TOTAL) {
    size = (size * 7919 + 13) % sizeof buffer + 1;
    long n = size < TOTAL - sent ? size : TOTAL - sent;
    for (long i = 0; i < n; i++) buffer[i] = (unsigned char)((sent + i) * 31 >> 3);
    for (long done = 0, part; done < n; done += part)
      if ((part = CALL(write, fds[1], buffer + done, n - done)) <= 0) return (void *)"write failed";
    sent += n;
  }
  CALL(close, fds[1]);
  return unused;
}

int main(void) {
  static unsigned char buffer[70000];
  pthread_t thread;
  void *result;
  long received = 0, n, wrong = 0;
  SHOW(pipe, fds);
  pthread_create(&thread, NULL, writer, NULL);
  while ((n = CALL(read, fds[0], buffer, sizeof buffer)) > 0)
    for (long i = 0; i < n; i++, received++) wrong += buffer[i] != (unsigned char)(received * 31 >> 3);
  pthread_join(thread, &result);
  printf("received %ld, wrong %ld, %s\n", received, wrong, result == NULL ? "fine" : (char *)result);
  show("end", n);
  return 0;
}
