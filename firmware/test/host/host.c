/* What the hosted kernel needs from the host's headers. */
#include "kernel.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void map_at(uint64_t address, uint64_t size) {
  void *p = mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                 0);
  if (p != (void *)address) {
    perror("mmap");
    exit(2);
  }
}

void *read_whole(const char *path, uint64_t *size) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) {
    perror(path);
    exit(2);
  }
  fseek(f, 0, SEEK_END);
  *size = (uint64_t)ftell(f);
  rewind(f);
  void *data = malloc(*size);
  if (fread(data, 1, *size, f) != *size) exit(2);
  fclose(f);
  return data;
}
