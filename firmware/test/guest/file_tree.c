/* Walks a directory and tells everything in it, sorted: names, types, modes, sizes, contents. */
#include "call.h"

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static unsigned long digest(const char *path) {
  static unsigned char buffer[65536];
  unsigned long hash = 5381;
  long fd = CALL(open, path, O_RDONLY), n;
  while ((n = CALL(read, fd, buffer, sizeof buffer)) > 0)
    for (long i = 0; i < n; i++) hash = hash * 33 + buffer[i];
  CALL(close, fd);
  return n < 0 ? (unsigned long)n : hash;
}

static void walk(const char *path);

static void tell(const char *path, int type) {
  struct stat s;
  char target[5000] = {0};
  long error = CALL(lstat, path, &s);
  if (error != 0) {
    show(path, error);
    return;
  }
  if (type != (int)(s.st_mode >> 12)) printf("%s: type %d in its directory\n", path, type);
  printf("%s %o %u %u %ld %ld ", path, s.st_mode, s.st_uid, s.st_gid, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size,
         s.st_mtime);
  if (S_ISLNK(s.st_mode)) CALL(readlink, path, target, sizeof target - 1);
  if (S_ISREG(s.st_mode)) printf("%lx\n", digest(path));
  else puts(target);
  if (S_ISDIR(s.st_mode)) walk(path);
}

static void walk(const char *path) {
  static char buffer[32768];
  size_t count = 0, capacity = 16;
  char **names = malloc(capacity * sizeof *names);
  long fd = CALL(open, path, O_RDONLY | O_DIRECTORY), n;
  while ((n = CALL(getdents64, fd, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < n; at += *(unsigned short *)(buffer + at + 16)) {
      char *name = buffer + at + 19, *entry;
      if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
      if (asprintf(&entry, "%s/%s%c", strcmp(path, "/") == 0 ? "" : path, name, buffer[at + 18]) < 0) exit(2);
      if (count == capacity) names = realloc(names, (capacity *= 2) * sizeof *names);
      names[count++] = entry;
    }
  CALL(close, fd);
  if (n < 0) show(path, n);
  qsort(names, count, sizeof *names, compare);
  for (size_t i = 0; i < count; i++) {
    size_t last = strlen(names[i]) - 1;
    int type = names[i][last];
    names[i][last] = 0;
    tell(names[i], type);
    free(names[i]);
  }
  free(names);
}

int main(int argc, char **argv) {
  if (argc > 1 && CALL(chdir, argv[1]) != 0) return 1;
  walk(".");
  return 0;
}
