/* Time from the shared page, which the VMM fills at each entry, and the time-stamp counter. */
#include "arch.h"
#include "sched.h"

/* ns at `*base`, a field of the shared page, plus what passed since. The VMM may write the page between any two
 * instructions here: then the base of the counter is another one. */
static u64 time_from(const volatile u64 *base) {
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

/* Clones go on at their template's time: for a program, the time that it lay in a template did not pass, and timers that
 * would have fired meanwhile do not. The VMM takes a new base at each entry, and the host's clock may be slewed meanwhile: never go back. */
u64 clock_mono(void) {
  static u64 last;
  u64 now = time_from(&SHARED->mono_base) + SHARED->mono_offset;
  if (now > last) last = now;
  return last;
}
u64 clock_wall(void) { return time_from(&SHARED->wall_base); }
