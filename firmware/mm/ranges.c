#include "ranges.h"
#include "lib.h"

static size_t first_ending_after(const struct range_set *set, u64 address) {
  size_t low = 0, high = set->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (set->at[middle].end > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

static bool insert(struct range_set *set, size_t i, struct range r) {
  if (set->count == set->capacity) {
    size_t capacity = set->capacity == 0 ? 32 : set->capacity * 2;
    struct range *grown = krealloc(set->at, capacity * sizeof *grown);
    if (grown == NULL) return false;
    set->at = grown;
    set->capacity = capacity;
  }
  memmove(set->at + i + 1, set->at + i, (set->count - i) * sizeof *set->at);
  set->at[i] = r;
  set->count++;
  return true;
}

static void erase(struct range_set *set, size_t i) {
  set->count--;
  memmove(set->at + i, set->at + i + 1, (set->count - i) * sizeof *set->at);
}

bool ranges_add(struct range_set *set, u64 start, u64 end) {
  size_t i = first_ending_after(set, start == 0 ? 0 : start - 1);
  while (i < set->count && set->at[i].start <= end) {
    start = MIN(start, set->at[i].start);
    end = MAX(end, set->at[i].end);
    erase(set, i);
  }
  return insert(set, i, (struct range){start, end});
}

bool ranges_hold(const struct range_set *set, u64 address, u64 *until) {
  size_t i = first_ending_after(set, address);
  if (i == set->count) return false;
  bool held = set->at[i].start <= address;
  *until = MIN(*until, held ? set->at[i].end : set->at[i].start);
  return held;
}

void ranges_take(struct range_set *set, u64 start, u64 end, void (*fn)(u64, u64)) {
  size_t i = first_ending_after(set, start);
  while (i < set->count && set->at[i].start < end) {
    struct range r = set->at[i];
    if (fn != NULL) fn(MAX(r.start, start), MIN(r.end, end));
    erase(set, i);
    if (r.start < start && insert(set, i, (struct range){r.start, start})) i++;
    if (r.end > end && insert(set, i, (struct range){end, r.end})) i++;
  }
}
