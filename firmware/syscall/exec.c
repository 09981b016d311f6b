/* execve(2): the program is replaced by another one in the same machine; there is no second process to run one in. A script is
 * started by its interpreter. */
#include "exec.h"
#include "lib.h"
#include "path.h"
#include "syscall.h"

enum { SCRIPTS_MAX = 5, LINE_MAX = 256 };
#define STRINGS_MAX MiB /* argv's and envp's together; Linux allows a quarter of the stack */

/* Strings that are collected: one behind the other. */
struct strings {
  char *bytes;
  u64 size, count;
};

static char *append(struct strings *s, const char *string, size_t n) {
  char *to = s->bytes + s->size;
  memcpy(to, string, n);
  to[n] = 0;
  s->size += n + 1;
  s->count++;
  return to;
}

/* The pointer at a[i] of an array that a NULL ends. */
static i64 pointer_at(u64 array, u64 i, u64 *pointer) {
  *pointer = 0;
  if (array == 0) return 0; /* as Linux: an empty one */
  if (!user_readable(array + i * 8, 8)) return -EFAULT;
  *pointer = ((const u64 *)array)[i];
  return 0;
}

/* The array's strings, behind what is there; with `s` NULL only their size. */
static i64 gather(u64 array, u64 first, struct strings *s) {
  u64 size = 0;
  for (u64 i = first;; i++) {
    u64 pointer;
    i64 error = pointer_at(array, i, &pointer);
    if (error != 0 || pointer == 0) return error != 0 ? error : (i64)size;
    ssize_t n = user_strlen(pointer, STRINGS_MAX);
    if (n < 0) return n == -ENAMETOOLONG ? -E2BIG : n;
    size += (u64)n + 1;
    if (size > STRINGS_MAX) return -E2BIG;
    if (s != NULL) append(s, (const char *)pointer, (size_t)n);
  }
}

/* --- scripts --- */

static bool is_space(char c) { return c == ' ' || c == '\t'; }

/* A '#!' line's interpreter and argument (NULL: none), in `line`. */
static i64 parse_line(char *line, size_t n, char **interpreter, char **argument) {
  char *at = line + 2, *end = line + n;
  for (char *c = at; c < end; c++)
    if (*c == '\n' || *c == 0) end = c;
  while (end > at && is_space(end[-1])) end--;
  while (at < end && is_space(*at)) at++;
  if (at == end) return -ENOEXEC;
  *end = 0;
  *interpreter = at;
  while (at < end && !is_space(*at)) at++;
  bool more = at < end;
  *at++ = 0;
  while (more && at < end && is_space(*at)) at++;
  *argument = more && at < end ? at : NULL;
  return 0;
}

/* The program that starts `path`, which is written over path: an interpreter, when it is a script. What goes before the
 * arguments behind argv[0] is put before what `head` has. */
static i64 resolve(char *path, struct strings *head) {
  char line[LINE_MAX + 1], *interpreter, *argument;
  for (int depth = 0;; depth++) {
    i64 error = exec_check(path);
    if (error != -ENOEXEC) return error;
    struct file *f = file_open(path, O_RDONLY, &error);
    if (f == NULL) return error;
    ssize_t n = file_read_at(f, line, LINE_MAX, 0);
    file_put(f);
    if (n < 3 || line[0] != '#' || line[1] != '!') return -ENOEXEC;
    if (depth == SCRIPTS_MAX) return -ELOOP;
    error = parse_line(line, (size_t)n, &interpreter, &argument);
    if (error != 0) return error;
    u64 gone = strlen(head->bytes) + 1, rest = head->size - gone;
    u64 more = strlen(interpreter) + 1 + (argument == NULL ? 0 : strlen(argument) + 1) + strlen(path) + 1;
    memmove(head->bytes + more, head->bytes + gone, rest);
    struct strings before = {head->bytes, 0, head->count - 1};
    append(&before, interpreter, strlen(interpreter));
    if (argument != NULL) append(&before, argument, strlen(argument));
    append(&before, path, strlen(path));
    *head = (struct strings){head->bytes, more + rest, before.count};
    memcpy(path, interpreter, strlen(interpreter) + 1);
  }
}

/* --- the call --- */

/* argv[0] and what scripts add, then the other arguments, the environment, and the name. */
static i64 collect(const u64 *a, char *program, struct strings *all, struct start *s) {
  u64 first;
  i64 error = pointer_at(a[1], 0, &first);
  if (error != 0) return error;
  const char *name = (const char *)a[0], *zeroth = first == 0 ? "" : (const char *)first;
  size_t size = strlen(name);
  memcpy(program, name, size + 1);
  append(all, zeroth, strlen(zeroth));
  error = resolve(program, all);
  if (error != 0) return error;
  if (first != 0) gather(a[1], 1, all);
  s->argc = all->count;
  gather(a[2], 0, all);
  s->envc = all->count - s->argc;
  s->execfn = all->size;
  append(all, name, size);
  s->strings = all->bytes;
  s->size = all->size;
  return 0;
}

i64 sys_execve(const u64 *a) {
  const char *name;
  i64 error = path_arg(a[0], &name), argv = gather(a[1], 0, NULL), envp = gather(a[2], 0, NULL);
  if (error != 0) return error;
  if (argv < 0 || envp < 0) return argv < 0 ? argv : envp;
  if (argv + envp > (i64)STRINGS_MAX) return -E2BIG;
  struct strings all = {.bytes = kmalloc((u64)(argv + envp) + 2 * PATH_MAX + SCRIPTS_MAX * 2 * LINE_MAX)};
  char *program = kmalloc(PATH_MAX);
  struct start s = {0};
  error = all.bytes == NULL || program == NULL ? -ENOMEM : collect(a, program, &all, &s);
  if (error == 0) exec_replace(program, &s);
  else kfree(all.bytes);
  kfree(program);
  return error;
}
