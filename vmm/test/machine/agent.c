/* The smallest agent: one JSON head a frame, no body. Does what the command says and leaves marks that the next
 * invocation must not find. */
#include <fcntl.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static int stream;
static int counter;
static char marks[64 * 4096];
static char *heap;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void put(const void *bytes, size_t n) {
  for (const char *at = bytes; n > 0;) {
    ssize_t written = write(stream, at, n);
    if (written <= 0) fail("write");
    at += written;
    n -= (size_t)written;
  }
}

static void get(void *bytes, size_t n) {
  for (char *at = bytes; n > 0;) {
    ssize_t got = read(stream, at, n);
    if (got <= 0) fail("read");
    at += got;
    n -= (size_t)got;
  }
}

static void send_head(const char *json) {
  uint32_t prefix[2] = {4 + (uint32_t)strlen(json), (uint32_t)strlen(json)};
  put(prefix, sizeof prefix);
  put(json, strlen(json));
}

static int vector_stained(void) {
  uint64_t words[4];
  __asm__ volatile("vmovdqu %%ymm15, %0" : "=m"(words));
  return words[0] == 0x5a5a5a5a5a5a5a5aull || words[3] == 0x5a5a5a5a5a5a5a5aull;
}

static void stain_vector(void) {
  uint64_t words[4] = {0x5a5a5a5a5a5a5a5aull, 1, 2, 0x5a5a5a5a5a5a5a5aull};
  __asm__ volatile("vmovdqu %0, %%ymm15" : : "m"(words) : "xmm15");
}

static int stained(void) {
  int found = vector_stained();
  for (size_t i = 0; i < sizeof marks; i += 512) found |= marks[i];
  for (size_t i = 0; i < 1 << 20; i += 4096) found |= heap[i];
  return found || access("/tmp/mark", F_OK) == 0;
}

static void stain(void) {
  memset(marks, 1, sizeof marks);
  memset(heap, 1, 1 << 20);
  close(open("/tmp/mark", O_CREAT | O_WRONLY, 0600));
  stain_vector();
}

static void grow(void) {
  for (int i = 0; i < 4; i++) {
    char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, 4 << 20);
  }
}

/* Nothing is different afterwards; but while it was, code of ours could have run at CPL 0. */
static void touch(uintptr_t address) {
  volatile char *byte = (volatile char *)address;
  char before = *byte;
  *byte = 0;
  *byte = before;
}

/* docs/machine.md: the kernel window begins at 0x6fe00000, the kernel itself at 0x70000000. */
static void touch_cpl0(const char *head) {
  if (strstr(head, "\"interrupts\"")) touch(0x6fe03ff8);
  if (strstr(head, "\"tables\"")) touch(0x6fe10ff0);
  if (strstr(head, "\"entry\"")) touch(0x70000ff8);
}

static void obey(const char *head) {
  if (strstr(head, "\"exit\"")) exit(3);
  if (strstr(head, "\"crash\"")) *(volatile int *)16 = 1;
  if (strstr(head, "\"garbage\"")) put("\1\0\0\0\377\377\377\377", 8);
  if (strstr(head, "\"port\"")) __asm__ volatile("outb %%al, $0x42" : : "a"(0));
  if (strstr(head, "\"spin\"")) {
    stain();
    for (;;) {}
  }
  if (strstr(head, "\"calls\"")) {
    stain();
    for (;;) syscall(SYS_getppid);
  }
  if (strstr(head, "\"wait\"")) {
    stain();
    sleep(1000);
  }
  if (strstr(head, "\"nap\"")) sleep(8);
  if (strstr(head, "\"allocate\""))
    for (;;) memset(malloc(1 << 20), 1, 1 << 20);
  if (strstr(head, "\"grow\"")) grow();
  if (strstr(head, "\"stain\"")) stain();
  touch_cpl0(head);
}

int main(int argc, char **argv) {
  if (argc > 1) *(volatile char *)strtoul(argv[1], NULL, 0) ^= 1;
  stream = open("/dev/vsock/2/1024", O_RDWR);
  if (stream < 0) fail("/dev/vsock/2/1024");
  heap = calloc(1, 1 << 20);
  send_head("{\"type\":\"ready\"}");
  for (;;) {
    uint32_t prefix[2];
    char head[4096] = {0};
    get(prefix, sizeof prefix);
    if (prefix[0] > sizeof head) return 2;
    get(head, prefix[0] - 4);
    counter++;
    int found = stained();
    obey(head);
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random) fail("getrandom");
    char answer[256];
    snprintf(answer, sizeof answer, "{\"counter\":%d,\"pid\":%d,\"random\":\"%016lx%016lx\",\"stained\":%s}", counter,
             getpid(), random[0], random[1], found ? "true" : "false");
    send_head(answer);
  }
}
