/* The clocks, as kernel and vDSO read them: from the shared page, which the VMM fills at each entry, and the
 * time-stamp counter. */
#pragma once
#include "arch.h"

/* ns at `*base`, a field of the shared page, plus what passed since. The VMM may write the page between any two
 * instructions here: then the base of the counter is another one. */
static inline u64 time_from(const volatile u64 *base) {
  u64 start, ns;
  i64 ticks;
  do {
    start = SHARED->tsc_base;
    ns = *base;
    ticks = (i64)(rdtsc() - start);
  } while (start != SHARED->tsc_base);
  if (ticks < 0) return ns; /* another processor's counter may be a little behind */
  return ns + (u64)((unsigned __int128)(u64)ticks * SHARED->tsc_mult >> SHARED->tsc_shift);
}

/* If `*at` is `*expected`, makes it `value`; else tells in `*expected` what it is. One vCPU: needs no lock. */
static inline bool replace(volatile u64 *at, u64 *expected, u64 value) {
  bool done;
  __asm__ volatile("cmpxchg %3, %1" : "=@ccz"(done), "+m"(*at), "+a"(*expected) : "r"(value) : "memory");
  return done;
}

/* CLOCK_MONOTONIC, ns. Clones go on at their template's time: for a program, the time that it lay in a template did not
 * pass, and timers that would have fired meanwhile do not. The VMM takes a new base at each entry, and the host's clock
 * may be slewed meanwhile: never go back. */
static inline u64 monotonic_time(void) {
  u64 now = time_from(&SHARED->mono_base) + SHARED->mono_offset, last = SHARED->mono_last;
  while (now > last)
    if (replace(&SHARED->mono_last, &last, now)) return now;
  return last;
}
static inline u64 wall_time(void) { return time_from(&SHARED->wall_base); }
