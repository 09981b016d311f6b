/* The clock page: how a guest tells the time from rdtsc alone. */
#ifndef MAYFLY_CLOCK_H
#define MAYFLY_CLOCK_H

#include <stdint.h>

/* ns since the epoch or boot = base + ((rdtsc - tsc_base) * tsc_mult >> tsc_shift), the product
 * taken in 128 bits. */
struct clock_page {
  uint64_t tsc_base; /* another one at each write: a reader that was interrupted sees it */
  uint64_t mono_base_ns;
  uint64_t wall_base_ns;
  uint64_t tsc_mult;  /* fits 32 bits */
  uint64_t tsc_shift; /* 32 or less */
};

/* Begins to measure the TSC's rate. */
void clock_start(void);

/* Measures the TSC's rate, once per process, over 5 ms at least since clock_start(). `hint_khz` is KVM_GET_TSC_KHZ, 0 if unknown. */
void clock_calibrate(uint64_t hint_khz);

/* Writes the time of now. clock_calibrate() has been called. */
void clock_write(struct clock_page *page);

#endif
