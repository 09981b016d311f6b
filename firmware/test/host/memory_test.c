/* Memory running out under a file, and coming back when the file goes. */
#include "kernel.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

enum { RESERVE = 4096 }; /* pages that files leave alone: 16 MiB */
#define CALL(name, ...) kernel_call(SYS_##name, (const uint64_t[6]){__VA_ARGS__})

static void expect(const char *what, long got, long wanted) {
  if (got == wanted) return;
  printf("%s: %ld, not %ld\n", what, got, wanted);
  exit(1);
}

int main(void) {
  static char data[100 * 4096], back[sizeof data];
  kernel_start(NULL, NULL, 0, "/");
  for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7 + i / 4096);
  pages_left = RESERVE + 10;
  uint64_t used = pages_used;
  long fd = CALL(open, (uint64_t) "/tmp/f", O_CREAT | O_RDWR, 0644);
  expect("a write takes what there is", CALL(pwrite64, (uint64_t)fd, (uint64_t)data, sizeof data, 100),
         10 * 4096 - 100);
  expect("the next finds none", CALL(pwrite64, (uint64_t)fd, (uint64_t)data, 10, 10 * 4096), -28);
  expect("overwriting needs none", CALL(pwrite64, (uint64_t)fd, (uint64_t)data, 10, 100), 10);
  expect("reading", CALL(pread64, (uint64_t)fd, (uint64_t)back, sizeof back, 100), 10 * 4096 - 100);
  expect("what was written", memcmp(back, data, 10 * 4096 - 100), 0);
  expect("truncate", CALL(ftruncate, (uint64_t)fd, 5000), 0);
  expect("gives pages back", (long)pages_left, RESERVE + 8);
  expect("growing takes none", CALL(ftruncate, (uint64_t)fd, 1l << 40), 0);
  expect("nor reading a hole", CALL(pread64, (uint64_t)fd, (uint64_t)back, sizeof back, 1l << 39), sizeof back);
  expect("which is zero", back[0] | back[sizeof back - 1], 0);
  expect("unlink", CALL(unlink, (uint64_t) "/tmp/f"), 0);
  expect("an open file keeps its pages", (long)pages_left, RESERVE + 8);
  expect("close", CALL(close, (uint64_t)fd), 0);
  expect("and then gives them back", (long)pages_left, RESERVE + 10);
  expect("all of them", (long)pages_used, (long)used);
  puts("ok memory");
  return 0;
}
