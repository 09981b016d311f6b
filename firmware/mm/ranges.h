/* A sorted set of disjoint ranges [start, end). */
#pragma once
#include "types.h"

struct range {
  u64 start, end;
};
struct range_set {
  struct range *at;
  size_t count, capacity;
};

bool ranges_add(struct range_set *set, u64 start, u64 end);
/* Is address in the set? Lowers *until to where the answer changes. */
bool ranges_hold(const struct range_set *set, u64 address, u64 *until);
/* Takes [start, end) out; calls fn (unless NULL) for each part that was in. */
void ranges_take(struct range_set *set, u64 start, u64 end, void (*fn)(u64 start, u64 end));
