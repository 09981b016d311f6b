/* hello [wait]: prints a line; with `wait`, goes on only when its input ends. */
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char c;
  (void)argv;
  puts("hello");
  fflush(stdout);
  while (argc > 1 && read(0, &c, 1) > 0) continue;
  return 0;
}
