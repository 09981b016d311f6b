/* Mappings of files: shared ones are the file, private ones are not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mapping.h"

#define PAGE 4096
#define MB (1024 * 1024)

static int make(const char *name, size_t size) {
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)size) != 0) perror(name);
  return fd;
}
static char *shared(int fd, size_t size) { return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); }

/* Writes of each kind are seen by each other. */
static void one_file(const char *what, int fd) {
  char got[16] = "";
  char *a = shared(fd, 4 * PAGE), *b = shared(fd, 4 * PAGE);
  strcpy(a + 100, "by mapping");
  pread(fd, got, 11, 100);
  pwrite(fd, "by write", 9, 2 * PAGE + 5);
  printf("%s: read '%s', other mapping '%s', written '%s'\n", what, got, b + 100, b + 2 * PAGE + 5);
  strcpy(b + 3 * PAGE, "later");
  printf("%s: first mapping '%s', the same memory: %d\n", what, a + 3 * PAGE, a[3 * PAGE] == b[3 * PAGE]);
  munmap(a, 4 * PAGE);
  printf("%s: after the unmap '%s'\n", what, b + 3 * PAGE);
  char *tail = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE);
  printf("%s: at an offset '%s'\n", what, tail);
  munmap(b, 4 * PAGE);
  munmap(tail, PAGE);
  pread(fd, got, 6, 3 * PAGE);
  printf("%s: read at last '%s'\n", what, got);
  close(fd);
}

static void private_copy(void) {
  int fd = make("/tmp/private", 3 * PAGE);
  pwrite(fd, "original", 9, PAGE);
  char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  char got[16] = "";
  strcpy(p + PAGE, "changed");
  pread(fd, got, 9, PAGE);
  printf("file '%s', mapping '%s'\n", got, p + PAGE);
  madvise(p, 3 * PAGE, MADV_DONTNEED);
  printf("discarded '%s'\n", p + PAGE);
  mprotect(p, 3 * PAGE, PROT_NONE);
  mprotect(p, 3 * PAGE, PROT_READ);
  printf("hidden and shown '%s'\n", p + PAGE);
  close(fd);
}

static void hidden_at_first(void) {
  int fd = make("/tmp/hidden", 2 * PAGE);
  pwrite(fd, "content", 8, PAGE);
  char *p = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE, fd, 0);
  char *s = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_SHARED, fd, 0);
  mprotect(p, 2 * PAGE, PROT_READ);
  mprotect(s, 2 * PAGE, PROT_READ | PROT_WRITE);
  printf("private '%s', shared '%s'\n", p + PAGE, s + PAGE);
  strcpy(s, "written");
  char got[8];
  pread(fd, got, 8, 0);
  printf("file '%s'\n", got);
  close(fd);
}

static void resized(void) {
  int fd = make("/tmp/resized", PAGE);
  char *p = shared(fd, 8 * PAGE);
  p[0] = 'x';
  SHOW(read(open("/dev/zero", O_RDONLY), p + 2 * PAGE, 10));
  SHOW(ftruncate(fd, 8 * PAGE));
  p[7 * PAGE] = 'y';
  struct stat st;
  fstat(fd, &st);
  printf("grown to %ld, '%c%c'\n", (long)st.st_size, p[0], p[7 * PAGE]);
  SHOW(ftruncate(fd, 0));
  SHOW(ftruncate(fd, 8 * PAGE));
  printf("empty again: %d %d\n", p[0], p[7 * PAGE]);
  SHOW(write(1, p + 8 * PAGE, 0));
  close(fd);
}

static void large(void) {
  int fd = make("/tmp/large", 64 * MB);
  char *p = shared(fd, 64 * MB);
  for (long at = 0; at < 64 * MB; at += MB + 12345) p[at] = (char)(at >> 20);
  long sum = 0;
  char byte;
  for (long at = 0; at < 64 * MB; at += MB + 12345) sum += pread(fd, &byte, 1, at) == 1 ? byte : 0;
  char *q = mremap(p, 64 * MB, 16 * MB, 0);
  printf("sum %ld, in place %d\n", sum, p == q);
  q = mremap(p, 16 * MB, 64 * MB, MREMAP_MAYMOVE);
  long again = 0;
  for (long at = 0; at < 64 * MB; at += MB + 12345) again += q[at];
  printf("sum %ld after growing back\n", again);
  SHOW(msync(q, 64 * MB, MS_SYNC));
  munmap(q, 64 * MB);
  close(fd);
}

/* One page here and there in a lot of address space, twice. */
static void sparse(void) {
  enum { STEP = 2 * MB, COUNT = 800 };
  int fd = memfd_create("sparse", 0), bad = 0;
  if (ftruncate(fd, (off_t)STEP * COUNT) != 0) perror("ftruncate");
  int *p = (int *)shared(fd, (size_t)STEP * COUNT);
  for (long i = 0; i < COUNT; i++) p[i * (STEP / 4)] = (int)i + 1;
  for (long i = 0; i < COUNT; i++) {
    int value = 0;
    pread(fd, &value, 4, i * STEP);
    bad += value != i + 1 || p[i * (STEP / 4)] != i + 1;
  }
  printf("sparse: %d bad\n", bad);
  munmap(p, (size_t)STEP * COUNT);
  close(fd);
}

static void moved(void) {
  int fd = make("/tmp/moved", 4 * PAGE);
  char *p = shared(fd, 4 * PAGE);
  char *to = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(p + PAGE, "page one");
  char *q = mremap(p + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 3 * PAGE);
  printf("moved as told %d '%s'\n", q == to + 3 * PAGE, q);
  strcpy(q + PAGE, "page two");
  char got[16];
  pread(fd, got, 9, 2 * PAGE);
  printf("file '%s'\n", got);
  close(fd);
}

static void errors(void) {
  int fd = make("/tmp/errors", PAGE), ro = open("/tmp/errors", O_RDONLY), wo = open("/tmp/errors", O_WRONLY);
  MAPS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0));
  MAPS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0));
  MAPS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, wo, 0));
  MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0));
  MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100));
  MAPS(mmap(NULL, PAGE, PROT_READ, 0, fd, 0));
  MAPS(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0));
  MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open("/tmp", O_RDONLY), 0));
  char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
  SHOW(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
  SHOW(madvise(p, PAGE, MADV_FREE));
}

/* read(2) into the mapping of the file that is read, and write(2) from it. */
static void itself(void) {
  int fd = make("/tmp/itself", 600 * PAGE);
  char *p = shared(fd, 600 * PAGE);
  for (int i = 0; i < 300; i++) p[i * PAGE] = (char)i;
  SHOW(pread(fd, p + 300 * PAGE, 300 * PAGE, 0));
  int bad = 0;
  for (int i = 0; i < 300; i++) bad += p[(300 + i) * PAGE] != (char)i;
  SHOW(pwrite(fd, p, 300 * PAGE, 300 * PAGE));
  printf("bad: %d\n", bad);
  close(fd);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  one_file("tmp", make("/tmp/one", 4 * PAGE));
  one_file("shm", shm_open("/mayfly-test", O_RDWR | O_CREAT, 0600) < 0 ? -1 : ({
             int fd = shm_open("/mayfly-test", O_RDWR, 0600);
             shm_unlink("/mayfly-test");
             ftruncate(fd, 4 * PAGE);
             fd;
           }));
  int memory = memfd_create("test", 0);
  ftruncate(memory, 4 * PAGE);
  one_file("memfd", memory);
  private_copy();
  hidden_at_first();
  resized();
  large();
  sparse();
  moved();
  errors();
  itself();
  return 0;
}
