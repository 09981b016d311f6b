/* Memory that is given up and taken again, over and over, reads as zeros each time. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 60 };

static int is_zero(const char *bytes, size_t size) { return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0; }

static void *map(void *at, size_t size, int prot, int flags) {
  return mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static int whole(size_t size) {
  int bad = 0;
  for (int i = 0; i < ROUNDS; i++) {
    char *p = map(NULL, size, PROT_READ | PROT_WRITE, 0);
    bad += !is_zero(p, size);
    memset(p, i + 1, size);
    munmap(p, size);
  }
  return bad;
}

/* As an allocator trims an aligned page out of a reservation, and commits it. */
static int trimmed(size_t size) {
  int bad = 0;
  for (int i = 0; i < ROUNDS; i++) {
    char *p = map(NULL, 2 * size, PROT_NONE, MAP_NORESERVE);
    munmap(p, size / 2);
    char *page = p + size / 2;
    mprotect(page, size, PROT_READ | PROT_WRITE);
    bad += !is_zero(page, size);
    memset(page, i + 1, size);
    munmap(page, 2 * size - size / 2);
  }
  return bad;
}

static int parts(char *p, size_t size) {
  int bad = 0;
  for (int i = 0; i < ROUNDS; i++) {
    size_t at = (size_t)i % 7 * PAGE, length = size / 2 + (size_t)i % 5 * PAGE;
    munmap(p + at, length);
    map(p + at, length, i % 3 == 0 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_FIXED);
    bad += !is_zero(p + at, length);
    mprotect(p + at, length, PROT_READ | PROT_WRITE);
    memset(p, i + 1, size);
  }
  return bad;
}

static int heap(void) {
  int bad = 0;
  char *start = sbrk(0);
  for (int i = 0; i < ROUNDS; i++) {
    size_t size = (size_t)(1 + i % 9) * 130 * 1024;
    if (brk(start + size) != 0) return -1;
    bad += !is_zero(start, size);
    memset(start, i + 1, size);
    brk(start);
  }
  return bad;
}

int main(void) {
  printf("whole: %d %d\n", whole(64 * PAGE), whole(700 * PAGE));
  printf("trimmed: %d %d\n", trimmed(64 * PAGE), trimmed(66 * PAGE));
  printf("parts: %d\n", parts(map(NULL, 300 * PAGE, PROT_READ | PROT_WRITE, 0), 300 * PAGE));
  printf("heap: %d\n", heap());
  return 0;
}
