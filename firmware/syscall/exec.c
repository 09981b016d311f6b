/* execve(2) and execveat(2): the program is replaced by another one in the same machine; there is no second process to run one in.
 * A script is started by its interpreter. */
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

/* What is to be started: the file, the name by which a script's interpreter finds it, and whether that name is gone by then. */
struct wanted {
  struct dentry *program; /* a reference; NULL when it could not be found */
  const char *name;
  bool name_ends;
};

/* Its '#!' line into `line`. */
static i64 read_script(struct dentry *program, char line[LINE_MAX + 1], char **interpreter, char **argument) {
  i64 error;
  struct file *f = open_dentry(program, O_RDONLY, &error);
  if (f == NULL) return error;
  ssize_t n = file_read_at(f, line, LINE_MAX, 0);
  file_put(f);
  if (n < 3 || line[0] != '#' || line[1] != '!') return -ENOEXEC;
  return parse_line(line, (size_t)n, interpreter, argument);
}

/* What starts it takes its place: an interpreter, when it is a script. What goes before the arguments behind argv[0] is put before
 * what `head` has. */
static i64 resolve(struct wanted *w, struct strings *head) {
  char line[LINE_MAX + 1], name[LINE_MAX + 1], *interpreter = NULL, *argument = NULL;
  for (int depth = 0;; depth++) {
    i64 error = exec_check(w->program);
    if (error != -ENOEXEC) return error;
    error = read_script(w->program, line, &interpreter, &argument);
    if (error == 0 && depth == SCRIPTS_MAX) error = -ELOOP;
    if (error == 0 && w->name_ends) error = -ENOENT;
    if (error != 0) return error;
    u64 gone = strlen(head->bytes) + 1, rest = head->size - gone;
    u64 more = strlen(interpreter) + 1 + (argument == NULL ? 0 : strlen(argument) + 1) + strlen(w->name) + 1;
    memmove(head->bytes + more, head->bytes + gone, rest);
    struct strings before = {head->bytes, 0, head->count - 1};
    append(&before, interpreter, strlen(interpreter));
    if (argument != NULL) append(&before, argument, strlen(argument));
    append(&before, w->name, strlen(w->name));
    *head = (struct strings){head->bytes, more + rest, before.count};
    dentry_put(w->program);
    w->program = path_entry(AT_FDCWD, interpreter, WALK_FOLLOW, &error);
    if (w->program == NULL) return error;
    w->name = memcpy(name, interpreter, strlen(interpreter) + 1);
  }
}

/* --- the calls --- */

/* argv[0] and what scripts add, then the other arguments, the environment, and the name. */
static i64 collect(u64 argv, u64 envp, struct wanted *w, struct strings *all, struct start *s) {
  u64 first;
  i64 error = pointer_at(argv, 0, &first);
  if (error != 0) return error;
  const char *zeroth = first == 0 ? "" : (const char *)first, *name = w->name;
  append(all, zeroth, strlen(zeroth));
  error = resolve(w, all);
  if (error != 0) return error;
  if (first != 0) gather(argv, 1, all);
  s->argc = all->count;
  gather(envp, 0, all);
  s->envc = all->count - s->argc;
  s->execfn = all->size;
  append(all, name, strlen(name));
  s->strings = all->bytes;
  s->size = all->size;
  return 0;
}

static i64 launch(struct wanted *w, u64 argv, u64 envp) {
  i64 arguments = gather(argv, 0, NULL), variables = gather(envp, 0, NULL);
  if (arguments < 0 || variables < 0) return arguments < 0 ? arguments : variables;
  if (arguments + variables > (i64)STRINGS_MAX) return -E2BIG;
  u64 room = (u64)(arguments + variables) + 2 * (strlen(w->name) + 1) + SCRIPTS_MAX * 2 * LINE_MAX;
  struct strings all = {.bytes = kmalloc(room)};
  struct start s = {0};
  i64 error = all.bytes == NULL ? -ENOMEM : collect(argv, envp, w, &all, &s);
  if (error == 0) exec_replace(w->program, &s);
  else kfree(all.bytes);
  return error;
}

/* The name of a program that a descriptor stands for, or leads to. */
static char *name_from(int fd, const char *path) {
  size_t size = strlen(path) + 24;
  char *name = kmalloc(size);
  if (name != NULL) snprint(name, size, path[0] == 0 ? "/dev/fd/%d" : "/dev/fd/%d/%s", fd, path);
  return name;
}

static i64 execute(int fd, u64 path, u64 argv, u64 envp, u64 flags) {
  const char *given;
  struct target t;
  i64 error = path_arg(path, &given);
  if (error == 0) error = target_find((u64)fd, path, flags, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, &t);
  if (error != 0) return error;
  if (t.dentry == NULL) return -EACCES; /* a pipe, a socket ... */
  bool named = fd == AT_FDCWD || given[0] == '/';
  char *name = named ? NULL : name_from(fd, given);
  if (!named && name == NULL) error = -ENOMEM;
  struct wanted w = {t.dentry, named ? given : name, !named && fd_cloexec(fd)};
  if (error == 0 && is_link(w.program->inode)) error = -ELOOP;
  if (error == 0) error = launch(&w, argv, envp);
  dentry_put(w.program);
  kfree(name);
  return error;
}

i64 sys_execve(const u64 *a) { return execute(AT_FDCWD, a[0], a[1], a[2], 0); }

i64 sys_execveat(const u64 *a) {
  if (a[4] & ~(u64)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return -EINVAL;
  return execute((int)a[0], a[1], a[2], a[3], a[4]);
}
