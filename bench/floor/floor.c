/* The least that KVM allows: what any monitor must pay for a machine, an exit and a rewind, without
 * Mayfly's code.
 *
 *   floor [--pages N] [--iterations K]
 *       prints medians and 99th percentiles as JSON, times in microseconds
 *   floor --batch
 *       reads `create K`, `exit K`, `rewind N K` and `copy N K` lines and answers each with a JSON array of K
 *       times in nanoseconds, so that a caller can alternate with its own. `copy` is the part of a rewind that wants no KVM
 */
#include "machine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGES_MAX 8192
#define CREATE_RUNS 40
#define WARM_UP 100

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void measure_create(uint64_t *times, long iterations) {
  for (long i = 0; i < iterations; i++) {
    struct machine m;
    uint64_t start = now_ns();
    create(&m);
    enter_at(&m, CODE_GPA, 1);
    times[i] = now_ns() - start;
    destroy(&m);
  }
}

/* One warm machine, a new one whenever the number of pages changes: a page once written stays
 * private to its machine, and every later rewind copies it. */
static struct machine *machine_for(long pages) {
  static struct machine m;
  static long pages_now = -1;
  if (pages == pages_now) return &m;
  if (pages_now >= 0) destroy(&m);
  pages_now = pages;
  create(&m);
  for (int i = 0; i < WARM_UP; i++) enter_at(&m, CODE_GPA, pages > 0 ? (uint64_t)pages : 1);
  return &m;
}

static void measure_exit(uint64_t *times, long iterations) {
  struct machine *m = machine_for(0);
  enter_at(m, EXIT_GPA, 0);
  for (long i = 0; i < iterations; i++) {
    uint64_t start = now_ns();
    enter(m);
    times[i] = now_ns() - start;
  }
}

static void measure_rewind(uint64_t *times, long pages, long iterations) {
  struct machine *m = machine_for(pages);
  for (long i = 0; i < iterations; i++) {
    uint64_t start = now_ns();
    rewind_ram(m);
    enter_at(m, CODE_GPA, (uint64_t)pages);
    times[i] = now_ns() - start;
  }
}

static void measure_copy(uint64_t *times, long pages, long iterations) {
  struct machine m;
  map_ram(&m);
  for (long i = -WARM_UP; i < iterations; i++) {
    for (long page = 0; page < pages; page++) m.ram[DATA_GPA + page * PAGE] = 1;
    uint64_t start = now_ns();
    rewind_ram(&m);
    if (i >= 0) times[i] = now_ns() - start;
  }
  if (m.ram[DATA_GPA] != 0 || m.ram[DATA_GPA + (pages - 1) * PAGE] != 0) check(-1, "copy");
  unmap_ram(&m);
}

/* A floor that does not do the work would be no floor: what the guest wrote is there, and then it
 * is gone. Looks at few pages of a machine of its own, because a page that the host has read makes
 * every later scan of that machine longer. */
static void prove_rewind(void) {
  const long pages = 300;
  struct machine m;
  create(&m);
  const uint8_t *first = m.ram + DATA_GPA, *last = first + (pages - 1) * PAGE;
  enter_at(&m, CODE_GPA, pages);
  int wrote = first[0] == 1 && last[0] == 1 && last[PAGE] == 0;
  rewind_ram(&m);
  int rewound = memcmp(first, template_ram + DATA_GPA, pages * PAGE) == 0;
  destroy(&m);
  if (wrote && rewound) return;
  fprintf(stderr, "floor: the guest's writes were not as expected, or not rewound\n");
  exit(1);
}

static int by_time(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void print_summary(const char *name, uint64_t *times, long count) {
  qsort(times, (size_t)count, sizeof *times, by_time);
  printf("\"%s\":{\"median\":%.2f,\"p99\":%.2f}", name, (double)times[count / 2] / 1e3,
         (double)times[count * 99 / 100] / 1e3);
}

static void print_times(const uint64_t *times, long count) {
  for (long i = 0; i < count; i++) printf("%s%lu", i == 0 ? "[" : ",", times[i]);
  puts("]");
  fflush(stdout);
}

static uint64_t *times_for(long iterations) {
  uint64_t *times = calloc((size_t)iterations, sizeof *times);
  if (times == NULL) check(-1, "calloc");
  return times;
}

static void summarise(const long *pages, int sizes, long iterations) {
  uint64_t *times = times_for(iterations > CREATE_RUNS ? iterations : CREATE_RUNS);
  measure_create(times, CREATE_RUNS);
  printf("{");
  print_summary("create_us", times, CREATE_RUNS);
  measure_exit(times, iterations);
  printf(",");
  print_summary("exit_us", times, iterations);
  printf(",\"rewind\":{");
  for (int i = 0; i < sizes; i++) {
    char name[24];
    snprintf(name, sizeof name, "%ld", pages[i]);
    measure_rewind(times, pages[i], iterations);
    printf("%s", i == 0 ? "" : ",");
    print_summary(name, times, iterations);
  }
  puts("}}");
  free(times);
}

static long parse(const char *text, long max) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text != 0 && (*end == 0 || *end == '\n' || *end == ' ') && value > 0 && value <= max) return value;
  fprintf(stderr, "floor: not a number from 1 to %ld: %s\n", max, text);
  exit(2);
}

/* At the first command that wants it. */
static void need_kvm(void) {
  static int is_open;
  if (is_open) return;
  is_open = 1;
  open_kvm();
  prove_rewind();
}

static void serve(void) {
  char line[128], verb[16];
  while (fgets(line, sizeof line, stdin) != NULL) {
    long first = 0, second = 0;
    if (sscanf(line, "%15s %ld %ld", verb, &first, &second) < 2 || first < 1 || first > 1000000) exit(2);
    int copies = strcmp(verb, "copy") == 0, rewinds = copies || strcmp(verb, "rewind") == 0;
    if (!copies) need_kvm();
    if (rewinds && (first > PAGES_MAX || second < 1 || second > 1000000)) exit(2);
    long iterations = rewinds ? second : first;
    uint64_t *times = times_for(iterations);
    if (copies) measure_copy(times, first, iterations);
    else if (rewinds) measure_rewind(times, first, iterations);
    else if (strcmp(verb, "exit") == 0) measure_exit(times, iterations);
    else measure_create(times, iterations);
    print_times(times, iterations);
    free(times);
  }
}

int main(int argc, char **argv) {
  long pages[] = {5, 50, 500};
  int sizes = 3, batch = 0;
  long iterations = 3000;
  for (int i = 1; i < argc; i++) {
    int more = i + 1 < argc;
    if (strcmp(argv[i], "--batch") == 0) batch = 1;
    else if (strcmp(argv[i], "--pages") == 0 && more) pages[0] = parse(argv[++i], PAGES_MAX), sizes = 1;
    else if (strcmp(argv[i], "--iterations") == 0 && more) iterations = parse(argv[++i], 1000000);
    else return fprintf(stderr, "usage: floor [--batch] [--pages N] [--iterations K]\n"), 2;
  }
  open_memory();
  if (batch) return serve(), 0;
  need_kvm();
  summarise(pages, sizes, iterations);
  return 0;
}
