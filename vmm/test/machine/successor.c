/* For debuggers: what takes the place of debugged.c by execve. */
#include <stdio.h>

static int what = 41;

static int inherited(int by) { return what + by; }

int main(void) {
  what += 2;
  inherited(1);
  puts("successor");
  return 3;
}
