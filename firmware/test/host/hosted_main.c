/* Starts the hosted kernel, then a test program of test/guest. IMAGES=A:B names the layers, bottom
 * first; with FAIL=N about one of N allocations fails. */
#include "kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int guest_main(int argc, char **argv);

int main(int argc, char **argv) {
  void *images[16];
  uint64_t sizes[16], count = 0;
  char *list = getenv("IMAGES");
  for (char *name = list == NULL ? NULL : strtok(list, ":"); name != NULL && count < 16; name = strtok(NULL, ":"))
    images[count] = read_whole(name, &sizes[count]), count++;
  kernel_start(images, sizes, count, "/");
  while (count > 0) free(images[--count]);
  fail_one_in = getenv("FAIL") == NULL ? 0 : (uint32_t)atoi(getenv("FAIL"));
  return guest_main(argc, argv);
}
