/* Memory and strings. The processor's string instructions are fast from a few hundred bytes on; where they are emulated, or
 * old, each step costs the same whatever it moves, so they go by words. */
#include "lib.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  void *at = to;
  size_t words = n / 8, bytes = n % 8;
  __asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes) : : "memory");
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  if ((u64)to - (u64)from >= n) return memcpy(to, from, n);
  u8 *t = to;
  const u8 *f = from;
  while (n >= 8) {
    n -= 8;
    u64 word;
    __builtin_memcpy(&word, f + n, 8);
    __builtin_memcpy(t + n, &word, 8);
  }
  while (n > 0) {
    n--;
    t[n] = f[n];
  }
  return to;
}

void *memset(void *to, int byte, size_t n) {
  void *at = to;
  size_t words = n / 8, bytes = n % 8;
  u64 word = (u8)byte * 0x0101010101010101ull;
  __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(word) : "memory");
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(word) : "memory");
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const u8 *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

void *memchr(const void *s, int c, size_t n) {
  const u8 *p = s;
  for (size_t i = 0; i < n; i++)
    if (p[i] == (u8)c) return (void *)(u64)(p + i);
  return NULL;
}

size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n] != 0) n++;
  return n;
}

size_t strnlen(const char *s, size_t max) {
  size_t n = 0;
  while (n < max && s[n] != 0) n++;
  return n;
}

int strcmp(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (a[i] != b[i] || a[i] == 0) return (u8)a[i] - (u8)b[i];
  return 0;
}

char *strchr(const char *s, int c) {
  for (; *s != (char)c; s++)
    if (*s == 0) return NULL;
  return (char *)(u64)s;
}

char *strrchr(const char *s, int c) {
  const char *last = NULL;
  for (;; s++) {
    if (*s == (char)c) last = s;
    if (*s == 0) return (char *)(u64)last;
  }
}
