#include "clock.h"
#include "sched.h"

u64 clock_mono(void) { return monotonic_time(); }
u64 clock_wall(void) { return wall_time(); }
