/* Page-table scans. The structures are declared here since the C library's headers are often older
 * than the kernel. */
#include "pagemap.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <pthread.h>
#include <sys/ioctl.h>

enum {
  PAGE_FILE = 1 << 2,
  PAGE_PRESENT = 1 << 3,
  PAGE_SWAPPED = 1 << 4,
  REGIONS_MAX = 512, /* a call; 12 KiB of stack */
};

struct region {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct scan_request {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t regions_max;
  uint64_t pages_max;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
_Static_assert(sizeof(struct scan_request) == 96, "layout of struct pm_scan_arg");

#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct scan_request)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int pagemap_fd;
static int open_errno;

static void open_once(void) {
  pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  open_errno = errno;
}

outcome pagemap_open(void) {
  pthread_once(&once, open_once);
  return pagemap_fd < 0 ? (outcome){"open /proc/self/pagemap", open_errno} : success();
}

outcome pagemap_each_written(const uint8_t *bytes, size_t size, pagemap_visitor visit, void *context) {
  struct region regions[REGIONS_MAX];
  uint64_t base = (uintptr_t)bytes, end = base + size;
  struct scan_request scan = {
      .size = sizeof(scan),
      .start = base,
      .end = end,
      .regions = (uintptr_t)regions,
      .regions_max = REGIONS_MAX,
      .category_inverted = PAGE_FILE,
      .category_mask = PAGE_FILE,
      .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
      .return_mask = PAGE_PRESENT,
  };
  outcome o = pagemap_open();
  /* A full region buffer ends the walk early: go on from walk_end until it reaches the end. */
  while (!failed(o) && scan.start < end) {
    int count = ioctl(pagemap_fd, PAGEMAP_SCAN_CALL, &scan);
    if (count < 0) return failure("PAGEMAP_SCAN");
    for (int i = 0; i < count; i++)
      if (!visit(context, regions[i].start - base, regions[i].end - base)) return (outcome){"malloc", ENOMEM};
    if (scan.walk_end <= scan.start) return (outcome){"PAGEMAP_SCAN without progress", EIO};
    scan.start = scan.walk_end;
  }
  return o;
}

outcome pagemap_is_populated(const uint8_t *bytes, size_t size, bool *populated) {
  struct region region;
  struct scan_request scan = {
      .size = sizeof(scan),
      .start = (uintptr_t)bytes,
      .end = (uintptr_t)bytes + size,
      .regions = (uintptr_t)&region,
      .regions_max = 1,
      .pages_max = 1,
      .category_anyof_mask = PAGE_PRESENT | PAGE_SWAPPED,
      .return_mask = PAGE_PRESENT,
  };
  outcome o = pagemap_open();
  if (failed(o)) return o;
  int count = ioctl(pagemap_fd, PAGEMAP_SCAN_CALL, &scan);
  if (count < 0) return failure("PAGEMAP_SCAN");
  *populated = count > 0;
  return success();
}
