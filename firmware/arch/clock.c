/* Time from the shared page, which the VMM fills at each entry, and the time-stamp counter. */
#include "arch.h"
#include "sched.h"

static u64 since_entry(void) {
  u64 ticks = rdtsc() - SHARED->tsc_base;
  return (u64)((unsigned __int128)ticks * SHARED->tsc_mult >> SHARED->tsc_shift);
}

/* Clones go on at their template's time: for a program, the time that it lay in a template did not pass, and timers that
 * would have fired meanwhile do not. The VMM takes a new base at each entry, and the host's clock may be slewed meanwhile: never go back. */
u64 clock_mono(void) {
  static u64 last;
  u64 now = SHARED->mono_base + SHARED->mono_offset + since_entry();
  if (now > last) last = now;
  return last;
}
u64 clock_wall(void) { return SHARED->wall_base + since_entry(); }
