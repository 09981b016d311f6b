/* Which pages of this process's memory exist: PAGEMAP_SCAN (Linux 6.7) on /proc/self/pagemap. */
#ifndef MAYFLY_PAGEMAP_H
#define MAYFLY_PAGEMAP_H

#include <stdint.h>

#include "outcome.h"

/* Opens /proc/self/pagemap once per process; later calls return the first result. */
outcome pagemap_open(void);

/* One run of dirty pages, as byte offsets from the start of the scanned range. False stops the scan
 * (ENOMEM). */
typedef bool (*pagemap_visitor)(void *context, size_t start, size_t end);

/* Visits, in order, the pages of a private file mapping that were written: anonymous, present or
 * swapped. */
outcome pagemap_each_written(const uint8_t *bytes, size_t size, pagemap_visitor visit, void *context);

/* Whether any page of the range is present or swapped. */
outcome pagemap_is_populated(const uint8_t *bytes, size_t size, bool *populated);

#endif
