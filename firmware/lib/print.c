/* Formatted output: %s %c %d %i %u %x %o %p with l/ll/z, width, 0, -, and %.*s. */
#include "file.h"
#include "lib.h"

struct sink {
  char *to;
  size_t size, used;
};

static void put(struct sink *s, char c) {
  if (s->used + 1 < s->size) s->to[s->used] = c;
  s->used++;
}

static void pad(struct sink *s, char c, int count) {
  for (; count > 0; count--) put(s, c);
}

struct spec {
  bool left, zero, is_long, upper;
  int width, precision;
};

static void put_text(struct sink *s, const struct spec *spec, const char *text, size_t n) {
  int fill = spec->width - (int)n;
  if (!spec->left) pad(s, ' ', fill);
  for (size_t i = 0; i < n; i++) put(s, text[i]);
  if (spec->left) pad(s, ' ', fill);
}

static void put_number(struct sink *s, const struct spec *spec, u64 value, unsigned base, bool negative) {
  char digits[24];
  int n = 0;
  do digits[n++] = (spec->upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
  while ((value /= base) != 0);
  int fill = spec->width - n - negative;
  if (!spec->left && !spec->zero) pad(s, ' ', fill);
  if (negative) put(s, '-');
  if (!spec->left && spec->zero) pad(s, '0', fill);
  while (n > 0) put(s, digits[--n]);
  if (spec->left) pad(s, ' ', fill);
}

static const char *parse_spec(const char *f, struct spec *spec, va_list *args) {
  *spec = (struct spec){.precision = -1};
  for (;; f++) {
    if (*f == '-') spec->left = true;
    else if (*f == '0') spec->zero = true;
    else break;
  }
  for (; *f >= '0' && *f <= '9'; f++) spec->width = spec->width * 10 + (*f - '0');
  if (f[0] == '.' && f[1] == '*') {
    spec->precision = va_arg(*args, int);
    f += 2;
  }
  for (; *f == 'l' || *f == 'z'; f++) spec->is_long = true;
  return f;
}

static void put_argument(struct sink *s, struct spec *spec, char kind, va_list *args) {
  switch (kind) {
    case 's': {
      const char *text = va_arg(*args, const char *);
      if (text == NULL) text = "(null)";
      put_text(s, spec, text, spec->precision < 0 ? strlen(text) : strnlen(text, (size_t)spec->precision));
      return;
    }
    case 'c': {
      char c = (char)va_arg(*args, int);
      put_text(s, spec, &c, 1);
      return;
    }
    case 'd':
    case 'i': {
      i64 value = spec->is_long ? va_arg(*args, i64) : va_arg(*args, int);
      put_number(s, spec, value < 0 ? -(u64)value : (u64)value, 10, value < 0);
      return;
    }
    case 'p':
      put_text(s, &(struct spec){0}, "0x", 2);
      put_number(s, spec, va_arg(*args, u64), 16, false);
      return;
    case 'X': spec->upper = true; /* fall through */
    case 'u':
    case 'x':
    case 'o': {
      u64 value = spec->is_long ? va_arg(*args, u64) : va_arg(*args, u32);
      put_number(s, spec, value, kind == 'u' ? 10 : kind == 'o' ? 8 : 16, false);
      return;
    }
    default: put(s, kind);
  }
}

int vsnprint(char *to, size_t size, const char *format, va_list args) {
  struct sink s = {to, size, 0};
  va_list rest;
  va_copy(rest, args);
  for (const char *f = format; *f != 0; f++) {
    if (*f != '%') {
      put(&s, *f);
      continue;
    }
    struct spec spec;
    f = parse_spec(f + 1, &spec, &rest);
    if (*f == 0) break;
    put_argument(&s, &spec, *f, &rest);
  }
  va_end(rest);
  if (size > 0) to[MIN(s.used, size - 1)] = 0;
  return (int)s.used;
}

int snprint(char *to, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprint(to, size, format, args);
  va_end(args);
  return n;
}

void kprint(const char *format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  int n = vsnprint(line, sizeof line, format, args);
  va_end(args);
  console_write_early(line, MIN((size_t)n, sizeof line - 1));
}
