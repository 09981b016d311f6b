/* filter: prints a line when its input has ended. */
#include <stdio.h>
#include <unistd.h>

int main(void) {
  char request[4096];
  while (read(0, request, sizeof request) > 0) continue;
  puts("hello");
  return 0;
}
