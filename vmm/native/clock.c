/* TSC calibration and the clock page. */
#include "clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

static const uint64_t CALIBRATION_NS = 5000000;
static const int ATTEMPTS = 8;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool calibrated;
static uint64_t first_tsc, first_ns;
static uint64_t tsc_mult, tsc_shift;
/* A sample that took longer than this was interrupted, and is taken again. */
static uint64_t sample_ticks_max;

static inline uint64_t rdtsc(void) { return __builtin_ia32_rdtsc(); }

static uint64_t now_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Pairs a TSC value with a clock value: of several attempts, the one that took least. */
static uint64_t sample(uint64_t *tsc) {
  uint64_t best = UINT64_MAX, ns = 0;
  *tsc = 0;
  for (int i = 0; i < ATTEMPTS; i++) {
    uint64_t before = rdtsc(), t = now_ns(CLOCK_MONOTONIC_RAW), ticks = rdtsc() - before;
    if (ticks < best) {
      best = ticks;
      *tsc = before + ticks / 2;
      ns = t;
    }
  }
  return ns;
}

void clock_start(void) {
  pthread_mutex_lock(&lock);
  if (first_ns == 0) first_ns = sample(&first_tsc);
  pthread_mutex_unlock(&lock);
}

static uint64_t measure_khz(void) {
  uint64_t tsc, end;
  do end = now_ns(CLOCK_MONOTONIC_RAW);
  while (end - first_ns < CALIBRATION_NS);
  end = sample(&tsc);
  return (uint64_t)((unsigned __int128)(tsc - first_tsc) * 1000000u / (end - first_ns));
}

/* The kernel's own figure is better than 5 ms can measure, if the two agree: it is wrong where the
 * TSC is scaled. */
static uint64_t choose_khz(uint64_t measured, uint64_t hint) {
  uint64_t difference = measured > hint ? measured - hint : hint - measured;
  return difference < measured / 5000 ? hint : measured;
}

void clock_calibrate(uint64_t hint_khz) {
  pthread_mutex_lock(&lock);
  if (!calibrated) {
    uint64_t khz = choose_khz(measure_khz(), hint_khz);
    uint64_t shift = 32;
    while ((((unsigned __int128)1000000u << shift) / khz) >> 32) shift--;
    tsc_mult = (uint64_t)(((unsigned __int128)1000000u << shift) / khz);
    tsc_shift = shift;
    sample_ticks_max = khz / 200; /* 5 us */
    calibrated = true;
  }
  pthread_mutex_unlock(&lock);
}

void clock_write(struct clock_page *page) {
  uint64_t tsc = 0, mono = 0, wall = 0;
  for (int i = 0; i < ATTEMPTS; i++) {
    tsc = rdtsc();
    mono = now_ns(CLOCK_MONOTONIC);
    wall = now_ns(CLOCK_REALTIME);
    if (rdtsc() - tsc < sample_ticks_max) break;
  }
  page->tsc_base = tsc;
  page->mono_base_ns = mono;
  page->wall_base_ns = wall;
  page->tsc_mult = tsc_mult;
  page->tsc_shift = tsc_shift;
}
