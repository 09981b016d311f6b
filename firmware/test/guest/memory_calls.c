/* The rest of the family: where mappings go, how they move, what the calls refuse, what /proc/self/maps says. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "mapping.h"

#define PAGE 4096ul
#define MB (1024ul * 1024)
#define RW (PROT_READ | PROT_WRITE)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t n) { return mmap(NULL, n, RW, ANONYMOUS, -1, 0); }
static size_t count(const char *p, size_t n, char byte) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++) found += p[i] == byte;
  return found;
}

static void fixed(void) {
  char *p = map(4 * PAGE);
  memset(p, 1, 4 * PAGE);
  MAPS(mmap(p + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  MAPS(mmap(p + PAGE + 1, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0));
  printf("in place %d\n", mmap(p + PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE);
  printf("ones %zu\n", count(p, 4 * PAGE, 1));
  munmap(p + 2 * PAGE, PAGE);
  printf("hole filled %d\n", mmap(p + 2 * PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == p + 2 * PAGE);
  printf("ones %zu\n", count(p, 4 * PAGE, 1));
  char *low = mmap(NULL, 3 * MB, RW, ANONYMOUS | MAP_32BIT, -1, 0);
  printf("in 2 GiB %d\n", (size_t)low + 3 * MB <= 1ul << 31);
  memset(low, 1, 3 * MB);
  SHOW(munmap(low, 3 * MB));
  char *asked = (char *)0x50000000; /* as SBCL asks for its static objects, which must lie there */
  printf("as asked %d\n", mmap(asked, MB, RW | PROT_EXEC, ANONYMOUS | MAP_32BIT | MAP_NORESERVE, -1, 0) == asked);
  printf("taken %d\n", mmap(asked + PAGE, PAGE, RW, ANONYMOUS | MAP_32BIT, -1, 0) != asked + PAGE);
  SHOW(munmap(asked, MB));
  asked = (char *)0x5000000000; /* as runtimes place their heaps */
  printf("large, as asked %d\n", mmap(asked, 256 * MB, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0) == asked);
  SHOW(munmap(asked, 256 * MB));
  char *there = mmap(NULL, 4 * MB, RW, ANONYMOUS | MAP_POPULATE, -1, 0);
  printf("populated: zeroes %zu\n", count(there, 4 * MB, 0));
  char *both = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  strcpy(both, "shared");
  puts(both);
}

static void grows_down(void) {
  char *area = mmap(NULL, 4 * MB, PROT_NONE, ANONYMOUS, -1, 0);
  munmap(area, 4 * MB);
  char *top = mmap(area + 4 * MB - 2 * PAGE, 2 * PAGE, RW, ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
  for (size_t at = PAGE; at < MB; at += PAGE) top[2 * PAGE - at] = 1;
  printf("grown: ones %zu\n", count(top + 2 * PAGE - MB + PAGE, MB - PAGE, 1));
}

static void remapped(void) {
  char *p = map(8 * PAGE), *to = map(16 * PAGE);
  memset(p, 3, 8 * PAGE);
  memset(to, 4, 16 * PAGE);
  char *q = mremap(p + PAGE, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE);
  printf("fixed %d: threes %zu fours %zu zeroes %zu\n", q == to + PAGE, count(to, 16 * PAGE, 3),
         count(to, 16 * PAGE, 4), count(to, 16 * PAGE, 0));
  printf("old gone: %d\n", msync(p + PAGE, PAGE, MS_ASYNC) == -1 && errno == ENOMEM);
  q = mremap(p + 4 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
  printf("kept: old %zu threes, new %zu\n", count(p + 4 * PAGE, 2 * PAGE, 3), count(q, 2 * PAGE, 3));
  q = map(4 * MB);
  memset(q, 5, 4 * MB);
  mprotect(q, 4 * MB, PROT_READ);
  q = mremap(q, 4 * MB, 8 * MB, MREMAP_MAYMOVE);
  printf("read-only grown: fives %zu zeroes %zu\n", count(q, 8 * MB, 5), count(q, 8 * MB, 0));
  SHOW(read(0, q, 0));
  printf("shrunk %d\n", mremap(q, 8 * MB, PAGE, 0) == q);
  q = map(2 * PAGE);
  munmap(q + PAGE, PAGE);
  MAPS(mremap(q, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
  MAPS(mremap(q + 1, PAGE, PAGE, MREMAP_MAYMOVE));
  MAPS(mremap(q, PAGE, 0, MREMAP_MAYMOVE));
  MAPS(mremap(q, PAGE, PAGE, 8));
  MAPS(mremap(q, PAGE, PAGE, MREMAP_FIXED, to));
  MAPS(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q));
  MAPS(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1));
  MAPS(mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
  MAPS(mremap(q, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to + 1));
}

static void advice(void) {
  char *p = map(4 * PAGE);
  memset(p, 1, 4 * PAGE);
  SHOW(madvise(p, 4 * PAGE, MADV_NORMAL));
  SHOW(madvise(p, 4 * PAGE, MADV_WILLNEED));
  SHOW(madvise(p, 4 * PAGE, MADV_DONTDUMP));
  SHOW(madvise(p, 4 * PAGE, MADV_COLD));
  printf("ones %zu\n", count(p, 4 * PAGE, 1));
  SHOW(madvise(p + PAGE, 100, MADV_DONTNEED));
  printf("ones %zu\n", count(p, 4 * PAGE, 1));
  SHOW(mprotect(p, 4 * PAGE, PROT_NONE));
  SHOW(madvise(p, 2 * PAGE, MADV_DONTNEED));
  SHOW(mprotect(p, 4 * PAGE, PROT_READ));
  printf("ones %zu\n", count(p, 4 * PAGE, 1));
  SHOW(madvise(p, 4 * PAGE, 22 /* MADV_POPULATE_READ */));
  SHOW(madvise(p, 4 * PAGE, 23 /* MADV_POPULATE_WRITE */));
  SHOW(madvise(p + 1, PAGE, MADV_DONTNEED));
  SHOW(madvise(p, PAGE, 77));
  SHOW(madvise(p, 0, MADV_DONTNEED));
  munmap(p + 2 * PAGE, PAGE);
  SHOW(madvise(p, 4 * PAGE, MADV_WILLNEED));
  SHOW(madvise(p, 4 * PAGE, MADV_DONTNEED));
}

static void syncing_and_locking(void) {
  char *p = map(4 * PAGE);
  unsigned char there[4];
  p[0] = 1;
  SHOW(msync(p, 4 * PAGE, MS_SYNC));
  SHOW(msync(p, 4 * PAGE, MS_SYNC | MS_ASYNC));
  SHOW(msync(p, 4 * PAGE, 64));
  SHOW(msync(p + 1, PAGE, MS_SYNC));
  SHOW(mlock(p + 100, PAGE));
  SHOW(munlock(p, 4 * PAGE));
  SHOW(syscall(SYS_mlock2, p, PAGE, 1));
  SHOW(syscall(SYS_mlock2, p, PAGE, 2));
  SHOW(mlockall(0));
  SHOW(mlockall(8));
  SHOW(munlockall());
  SHOW(mincore(p, PAGE, there));
  printf("there %d\n", there[0] & 1);
  SHOW(mincore(p + 1, PAGE, there));
  SHOW(mincore(p, PAGE, (void *)8));
  munmap(p + PAGE, PAGE);
  SHOW(mincore(p, 4 * PAGE, there));
  SHOW(msync(p, 4 * PAGE, MS_ASYNC));
  SHOW(mlock(p, 4 * PAGE));
}

static void protection(void) {
  char *p = map(4 * PAGE);
  SHOW(mprotect(p + 1, PAGE, PROT_READ));
  SHOW(mprotect(p, 0, PROT_READ));
  SHOW(mprotect(p, PAGE, 0x40));
  SHOW(mprotect(p, -PAGE, PROT_READ));
  /* Where the guest kernel lies, and what no table could hold. */
  SHOW(mprotect((void *)0x6fe00000, PAGE, PROT_NONE));
  SHOW(mprotect((void *)0x70000000, 16 * MB, PROT_READ | PROT_WRITE | PROT_EXEC));
  SHOW(mprotect((void *)0x70000000, 1ul << 62, PROT_READ));
  SHOW(msync(p, -1, MS_SYNC));
  SHOW(mincore(p, -1, (unsigned char *)p));
  SHOW(mlock(p, -1));
  munmap(p + 2 * PAGE, PAGE);
  SHOW(mprotect(p, 4 * PAGE, PROT_READ));
  printf("up to the hole: %d\n", read(open("/dev/zero", 0), p, 1) == -1 && errno == EFAULT);
  printf("not behind it: %d\n", read(open("/dev/zero", 0), p + 3 * PAGE, 1) == 1);
  mprotect(p, PAGE, PROT_WRITE);
  p[1] = 7;
  printf("write implies read: %d %zd\n", p[1], write(open("/dev/null", 1), p, 1));
  SHOW(munmap(p, 0));
  SHOW(munmap(p + 1, PAGE));
  SHOW(munmap((void *)(1ul << 62), PAGE));
}

/* Thousands of changes in one block: what a page holds and may is what was said last. */
static void many(void) {
  enum { PAGES = 1024 };
  static unsigned char value[PAGES], state[PAGES]; /* 0 = unmapped, 1 = read, 2 = write, 3 = nothing */
  char *p = map(PAGES * PAGE);
  unsigned random = 1;
  int bad = 0;
  memset(state, 2, PAGES);
  for (int round = 0; round < 4000; round++) {
    random = random * 1103515245 + 12345;
    unsigned first = (random >> 8) % PAGES, n = (random >> 20) % 40 + 1, what = (random >> 28) % 5;
    if (first + n > PAGES) n = PAGES - first;
    char *at = p + first * PAGE;
    if (what == 0) munmap(at, n * PAGE);
    if (what == 1) mmap(at, n * PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0);
    if (what > 1 && mprotect(at, n * PAGE, what == 2 ? PROT_READ : what == 3 ? RW : PROT_NONE) != 0) what = 9;
    for (unsigned i = first; i < first + n; i++) {
      if (what == 0) state[i] = 0;
      if (what == 1) state[i] = 2, value[i] = 0;
      if (what == 9 && state[i] == 0) break; /* up to the hole */
      if (what == 2 || (what == 9 && (random >> 28) % 5 == 2)) state[i] = 1;
      if (what == 3 || (what == 9 && (random >> 28) % 5 == 3)) state[i] = 2;
      if (what == 4 || (what == 9 && (random >> 28) % 5 == 4)) state[i] = 3;
    }
    for (unsigned i = first; i < first + n; i++)
      if (state[i] == 2) p[i * PAGE + 8] = (char)(value[i] = (unsigned char)(round | 1));
    for (unsigned i = 0; i < PAGES; i += 1 + round % 7)
      if (state[i] == 1 || state[i] == 2) bad += (unsigned char)p[i * PAGE + 8] != value[i];
  }
  printf("many: %d bad\n", bad);
}

static void heap(void) {
  char *start = sbrk(0);
  SHOW(brk(start + 10));
  start[9] = 1;
  SHOW(brk(start + 5 * MB));
  printf("zeroes %zu\n", count(start + PAGE, 5 * MB - PAGE, 0));
  memset(start, 2, 5 * MB);
  SHOW(brk(start + 100));
  SHOW(brk(start + 5 * MB));
  printf("twos %zu\n", count(start, 5 * MB, 2));
  SHOW(brk((void *)PAGE));
  SHOW(brk((void *)(1ul << 46)));
  printf("still %d\n", (char *)sbrk(0) == start + 5 * MB);
}

/* The lines about [p, p + n), with addresses from p on. */
static void show_maps(const char *p, size_t n) {
  char line[512];
  FILE *f = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, f)) {
    unsigned long start, end;
    char access[8];
    if (sscanf(line, "%lx-%lx %7s", &start, &end, access) != 3) continue;
    if (start >= (unsigned long)p && end <= (unsigned long)p + n)
      printf("  %lx-%lx %s%s", start - (unsigned long)p, end - (unsigned long)p, access,
             strchr(line, '[') ? " [" : "\n");
    if (start >= (unsigned long)p && end <= (unsigned long)p + n && strchr(line, '[')) puts("named");
  }
  fclose(f);
}

static void maps(void) {
  char *p = mmap(NULL, 64 * PAGE, PROT_NONE, ANONYMOUS, -1, 0);
  munmap(p, PAGE); /* so that no neighbour joins it */
  munmap(p + 63 * PAGE, PAGE);
  mprotect(p + 4 * PAGE, 8 * PAGE, PROT_READ);
  mprotect(p + 6 * PAGE, PAGE, PROT_EXEC | PROT_READ);
  munmap(p + 20 * PAGE, PAGE);
  mmap(p + 30 * PAGE, PAGE, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  show_maps(p, 64 * PAGE);
}

/* ---- the process's own memory, as another one's ---- */

static void told(const char *what, long n) {
  if (n < 0) printf("%s: %s\n", what, strerrorname_np(errno));
  else printf("%s: %ld\n", what, n);
}

static void own_memory(void) {
  char *p = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), to[PAGE * 3];
  for (size_t i = 0; i < 3 * PAGE; i++) p[i] = (char)(i * 7);
  munmap(p + 2 * PAGE, PAGE);
  struct iovec local[2] = {{to, 100}, {to + 200, PAGE}}, remote[2] = {{p + 10, 3000}, {p + PAGE - 5, 2000}};
  memset(to, 0, sizeof to);
  told("read", process_vm_readv(getpid(), local, 2, remote, 2, 0));
  printf("%d %d %d\n", memcmp(to, p + 10, 100), memcmp(to + 200, p + 110, 2900), memcmp(to + 3100, p + PAGE - 5, 1196));
  remote[1] = (struct iovec){p + 2 * PAGE - 50, 100};
  told("up to the hole", process_vm_readv(getpid(), local, 2, remote, 2, 0));
  told("in the hole", process_vm_readv(getpid(), local, 1, &(struct iovec){p + 2 * PAGE, 10}, 1, 0));
  told("nowhere", process_vm_readv(getpid(), local, 1, &(struct iovec){(void *)8, 10}, 1, 0));
  told("to nowhere", process_vm_readv(getpid(), &(struct iovec){p + 2 * PAGE, 10}, 1, remote, 1, 0));
  told("write", process_vm_writev(getpid(), &(struct iovec){"hello", 5}, 1, &(struct iovec){p + PAGE - 2, 5}, 1, 0));
  printf("%.5s\n", p + PAGE - 2);
  mprotect(p, PAGE, PROT_NONE);
  told("hidden", process_vm_readv(getpid(), local, 1, remote, 1, 0));
  told("nothing", process_vm_readv(getpid(), local, 0, remote, 1, 0));
  told("nothing there", process_vm_readv(getpid(), local, 1, remote, 0, 0));
  told("flags", process_vm_readv(getpid(), local, 1, remote, 1, 1));
  told("too many", process_vm_readv(getpid(), local, 1025, remote, 1, 0));
  told("bad vectors", process_vm_readv(getpid(), (void *)8, 1, remote, 1, 0));
  told("bad vectors there", process_vm_readv(getpid(), local, 1, (void *)8, 1, 0));
  told("no such process", process_vm_readv(0x3fffffff, local, 1, remote, 1, 0));
  munmap(p, 2 * PAGE);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  fixed();
  grows_down();
  remapped();
  advice();
  syncing_and_locking();
  protection();
  many();
  heap();
  maps();
  own_memory();
  return 0;
}
