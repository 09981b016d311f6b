/* Memory: what is mapped is zero, what is unmapped and mapped again is zero again, moves keep their bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MB (1024 * 1024)

static size_t nonzero(const unsigned char *p, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += p[i] != 0;
  return count;
}

static void *map(size_t n, int prot) { return mmap(NULL, n, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static void recycle(void) {
  for (int round = 0; round < 20; round++) {
    size_t n = (size_t)(round + 1) * 300 * 1024;
    unsigned char *p = map(n, PROT_READ | PROT_WRITE);
    if (nonzero(p, n) != 0) printf("round %d: not zero\n", round);
    memset(p, 0xa5, n);
    munmap(p + 4096, n - 4096);
    munmap(p, 4096);
  }
  puts("recycled");
}

static void reserve(void) {
  unsigned char *p = mmap(NULL, 16ul << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  printf("reserved %d\n", p != MAP_FAILED);
  printf("committed %d\n", mprotect(p + (5ul << 30), MB, PROT_READ | PROT_WRITE));
  memset(p + (5ul << 30), 1, MB);
  mprotect(p + (5ul << 30), MB, PROT_NONE);
  mmap(p + (5ul << 30), MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  printf("replaced, nonzero %zu\n", nonzero(p + (5ul << 30), MB));
  munmap(p, 16ul << 30);
}

static void discard(void) {
  unsigned char *p = map(4 * MB, PROT_READ | PROT_WRITE);
  memset(p, 7, 4 * MB);
  madvise(p + MB, 2 * MB, MADV_DONTNEED);
  printf("discarded: %zu left of %d\n", nonzero(p, 4 * MB), 4 * MB);
  unsigned char *moved = mremap(p, 4 * MB, 9 * MB, MREMAP_MAYMOVE);
  printf("moved: %zu, tail %zu\n", nonzero(moved, 4 * MB), nonzero(moved + 4 * MB, 5 * MB));
  munmap(moved, 9 * MB);
}

static void errors(void) {
  printf("length 0: %d\n", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0);
  printf("bad descriptor: %d\n", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED ? errno : 0);
  unsigned char *p = map(8192, PROT_READ | PROT_WRITE);
  munmap(p, 4096);
  printf("write from a hole: %zd %d\n", write(1, p, 10), errno);
  printf("protect a hole: %d %d\n", mprotect(p, 8192, PROT_READ), errno);
  munmap(p + 4096, 4096);
}

static void heap(void) {
  char *before = sbrk(0);
  memset(sbrk(MB), 3, MB);
  sbrk(-MB);
  printf("heap back: %d, nonzero %zu\n", sbrk(0) == before, nonzero(sbrk(MB), MB));
}

int main(void) {
  recycle();
  reserve();
  discard();
  errors();
  heap();
  return 0;
}
