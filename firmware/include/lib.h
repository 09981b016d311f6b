/* lib/: strings, formatted output, the kernel's heap's faces, random numbers. */
#pragma once
#include "types.h"

/* lib/string.c */
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* lib/print.c: %s %d %u %x %lx %ld %lu %llx %c %p %% with width, 0 and - ; no floats */
int vsnprint(char *to, size_t size, const char *format, va_list args);
int snprint(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* kprint: a line on the guest's stderr (the console's port 1), prefixed by nothing. */
void kprint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* arch/panic.c: the machine ends with this message and a backtrace. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define ASSERT(x) ((x) ? (void)0 : panic("%s: %s", __func__, #x))

/* mm/heap.c */
void *kmalloc(size_t size); /* NULL when memory is short; contents undefined */
void *kzalloc(size_t size); /* zeroed */
void *krealloc(void *p, size_t size);
void kfree(void *p); /* NULL is fine */
/* mm/frames.c: order 0 is one 4 KiB page, order 9 a 2 MiB block; addresses are kernel pointers. */
void *page_alloc(unsigned order); /* contents undefined; NULL when memory is short */
void page_free(void *p, unsigned order);

/* lib/random.c: ChaCha20 keyed from the shared page's entropy, rekeyed at each generation. */
void random_fill(void *to, size_t n);
u64 random_u64(void);
