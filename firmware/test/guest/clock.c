/* Clocks only go forward, also while the VMM writes a new time into the page that they are read from. */
#include <stdio.h>
#include <time.h>

static const long long SECOND = 1000000000;

static long long now(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) != 0) return -1;
  return t.tv_sec * SECOND + t.tv_nsec;
}

static void watch(const char *name, clockid_t clock) {
  long long start = now(CLOCK_MONOTONIC), last = now(clock), steps_back = 0, leaps = 0;
  while (now(CLOCK_MONOTONIC) - start < SECOND / 4) {
    long long t = now(clock);
    steps_back += clock == CLOCK_MONOTONIC && t < last;
    leaps += t > last + 5 * SECOND || t < last - 5 * SECOND;
    last = t;
  }
  printf("%s: %lld steps back, %lld leaps\n", name, steps_back, leaps);
}

int main(void) {
  watch("monotonic", CLOCK_MONOTONIC);
  watch("realtime", CLOCK_REALTIME);
  struct timespec r;
  printf("resolution %d\n", clock_getres(CLOCK_MONOTONIC, &r) == 0 && r.tv_sec == 0);
  return 0;
}
