/* What may not be touched: each case ends by a signal, here as there. Named by the first argument; without one, the
 * cases' names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define KB 1024ul
#define MB (1024 * KB)
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

static volatile char sink;
static char *zeroes(size_t n) { return mmap(NULL, n, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0); }
static char *used(size_t n) { return memset(zeroes(n), 7, n); }
static void read_at(const char *p) { sink = *(volatile const char *)p; }
static void write_at(char *p) { *(volatile char *)p = 1; }

static void guard_by_mprotect(void) {
  char *p = used(3 * PAGE);
  mprotect(p + PAGE, PAGE, PROT_NONE);
  read_at(p), read_at(p + 2 * PAGE);
  read_at(p + PAGE);
}
static void guard_never_used(void) {
  char *p = mmap(NULL, 3 * PAGE, PROT_NONE, ANONYMOUS, -1, 0);
  mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE);
  write_at(p + PAGE);
  write_at(p + 2 * PAGE);
}
static void guard_below(void) {
  char *p = mmap(NULL, 3 * PAGE, PROT_NONE, ANONYMOUS, -1, 0);
  mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE);
  write_at(p + PAGE);
  write_at(p + PAGE - 1);
}
static void nothing_allowed(void) { read_at(mmap(NULL, PAGE, PROT_NONE, ANONYMOUS, -1, 0)); }
static void polling_page(void) {
  char *p = used(PAGE);
  for (int i = 0; i < 3; i++) {
    mprotect(p, PAGE, PROT_NONE);
    mprotect(p, PAGE, PROT_READ);
    read_at(p);
  }
  mprotect(p, PAGE, PROT_NONE);
  read_at(p);
}
static void unmapped(void) {
  char *p = used(64 * PAGE);
  munmap(p + PAGE, PAGE);
  read_at(p), read_at(p + 2 * PAGE);
  read_at(p + PAGE);
}
static void unmapped_large(void) {
  char *p = used(16 * MB);
  munmap(p, 16 * MB);
  read_at(p + 8 * MB);
}
static void read_only(void) {
  char *p = used(2 * PAGE);
  mprotect(p, PAGE, PROT_READ);
  read_at(p), write_at(p + PAGE);
  write_at(p);
}
static void read_only_large(void) {
  char *p = used(8 * MB);
  mprotect(p, 8 * MB, PROT_READ);
  read_at(p + 5 * MB);
  write_at(p + 5 * MB);
}
static void string_literal(void) { write_at((char *)"constant"); }
static const int table[1000] = {1};
static void constant(void) { write_at((char *)(size_t)&table[500]); }
static void text(void) { write_at((char *)(size_t)&text); }
static void null_page(void) { read_at((char *)8); }
static void null_page_end(void) { write_at((char *)0xff8); }
static void call_data(void) {
  char *p = used(PAGE);
  p[0] = (char)0xc3;
  ((void (*)(void))(size_t)p)();
}
static void call_code(void) { /* not deadly: so the guest's NX is not simply everywhere */
  char *p = used(PAGE);
  p[0] = (char)0xc3;
  mprotect(p, PAGE, PROT_READ | PROT_EXEC);
  ((void (*)(void))(size_t)p)();
  write_at(p);
}
static void call_stack(void) {
  volatile unsigned char code[16] = {0xc3};
  ((void (*)(void))(size_t)code)();
}
static int deeper(int n) {
  volatile char frame[10000];
  frame[0] = (char)n;
  return deeper(n + 1) + frame[0];
}
static void stack_overflow(void) { sink = (char)deeper(0); }
static void *overflow(void *unused) {
  stack_overflow();
  return unused;
}
static void thread_stack(size_t size) {
  pthread_attr_t attributes;
  pthread_t t;
  pthread_attr_init(&attributes);
  if (size != 0) pthread_attr_setstacksize(&attributes, size);
  pthread_create(&t, &attributes, overflow, NULL);
  pthread_join(t, NULL);
}
static void thread_stack_default(void) { thread_stack(0); }
static void thread_stack_small(void) { thread_stack(128 * KB); }
static void wasm_memory(void) {
  char *p = mmap(NULL, 10ul << 30, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(p, 64 * KB, PROT_READ | PROT_WRITE);
  memset(p, 1, 64 * KB);
  mprotect(p + 64 * KB, 128 * KB, PROT_READ | PROT_WRITE); /* memory.grow */
  memset(p, 2, 192 * KB);
  read_at(p + 192 * KB);
}
static void wasm_far(void) {
  char *p = mmap(NULL, 10ul << 30, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(p, 64 * KB, PROT_READ | PROT_WRITE);
  write_at(p);
  read_at(p + (5ul << 30));
}
static void decommitted(void) {
  char *p = mmap(NULL, 512 * KB, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  mprotect(p, 512 * KB, PROT_READ | PROT_WRITE);
  memset(p, 1, 512 * KB);
  mprotect(p, 256 * KB, PROT_NONE);
  madvise(p, 256 * KB, MADV_DONTNEED);
  read_at(p + 256 * KB);
  read_at(p + 255 * KB);
}
static void shrunk_heap(void) {
  char *p = sbrk(0x10000);
  memset(p, 1, 0x10000);
  sbrk(-0x8000);
  read_at(p + 0x7000);
  read_at(p + 0xf000);
}
static void moved_away(void) {
  char *p = used(8 * PAGE); /* the second half is in the way of growing in place */
  read_at(mremap(p, 4 * PAGE, 64 * MB, MREMAP_MAYMOVE));
  read_at(p);
}
static char *file(size_t size, int flags, size_t mapped) {
  int fd = open("/tmp/faults", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (ftruncate(fd, (off_t)size) != 0) abort();
  return mmap(NULL, mapped, PROT_READ | PROT_WRITE, flags, fd, 0);
}
static void beyond_private(void) {
  char *p = file(5000, MAP_PRIVATE, 4 * PAGE);
  read_at(p + 8191);
  read_at(p + 8192);
}
static void beyond_shared(void) {
  char *p = file(5000, MAP_SHARED, 4 * PAGE);
  write_at(p + 8191);
  write_at(p + 8192);
}
static void truncated(void) {
  char *p = file(16 * PAGE, MAP_SHARED, 16 * PAGE);
  memset(p, 1, 16 * PAGE);
  if (truncate("/tmp/faults", 2 * PAGE) != 0) abort();
  read_at(p + PAGE);
  read_at(p + 3 * PAGE);
}
static void shared_read_only(void) {
  file(PAGE, MAP_SHARED, PAGE);
  int fd = open("/tmp/faults", O_RDONLY);
  char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
  read_at(p);
  write_at(p);
}
static void shared_unmapped(void) {
  char *p = file(4 * PAGE, MAP_SHARED, 4 * PAGE);
  memset(p, 1, 4 * PAGE);
  munmap(p + PAGE, PAGE);
  read_at(p), read_at(p + 2 * PAGE);
  read_at(p + PAGE);
}

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
#define CASE(name)                                                                                                     \
  { #name, name }
    CASE(guard_by_mprotect),
    CASE(guard_never_used),
    CASE(guard_below),
    CASE(nothing_allowed),
    CASE(polling_page),
    CASE(unmapped),
    CASE(unmapped_large),
    CASE(read_only),
    CASE(read_only_large),
    CASE(string_literal),
    CASE(constant),
    CASE(text),
    CASE(null_page),
    CASE(null_page_end),
    CASE(call_data),
    CASE(call_code),
    CASE(call_stack),
    CASE(stack_overflow),
    CASE(thread_stack_default),
    CASE(thread_stack_small),
    CASE(wasm_memory),
    CASE(wasm_far),
    CASE(decommitted),
    CASE(shrunk_heap),
    CASE(moved_away),
    CASE(beyond_private),
    CASE(beyond_shared),
    CASE(truncated),
    CASE(shared_read_only),
    CASE(shared_unmapped)};

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (argc < 2) puts(cases[i].name);
    else if (strcmp(argv[1], cases[i].name) == 0) {
      printf("%s\n", argv[1]);
      cases[i].run();
      puts("survived");
    }
  }
  return 0;
}
