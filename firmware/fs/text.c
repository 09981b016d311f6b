/* fs/text.c: a growing string. Memory running short is noticed once, at the end (`failed`). */
#include "inode.h"

static bool text_reserve(struct text *t, size_t n) {
  if (t->failed) return false;
  if (n <= t->capacity - t->size) return true;
  size_t capacity = MAX(t->size + n, 2 * t->capacity);
  char *data = krealloc(t->data, MAX(capacity, 256));
  if (data == NULL) {
    t->failed = true;
    return false;
  }
  t->data = data;
  t->capacity = MAX(capacity, 256);
  return true;
}

void text_add(struct text *t, const void *bytes, size_t n) {
  if (n > 0 && text_reserve(t, n)) {
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
  }
}

void text_print(struct text *t, const char *format, ...) {
  char line[256];
  va_list args;
  va_start(args, format);
  int n = vsnprint(line, sizeof(line), format, args);
  va_end(args);
  text_add(t, line, MIN((size_t)MAX(n, 0), sizeof(line) - 1));
}
