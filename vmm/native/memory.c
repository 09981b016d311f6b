/*
 * Guest memory. Everything is placed so that address and file offset agree modulo 2 MiB: only then
 * can the host map 2 MiB folios, and only then is a guest's first touch of a page cheap.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pagemap.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Reserves address space that is congruent to `offset` modulo 2 MiB. */
static void *reserve(size_t size, uint64_t offset) {
  size_t slack = size + 2 * BLOCK_BYTES;
  if (slack < size) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  uint8_t *base = mmap(NULL, slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return MAP_FAILED;
  uintptr_t aligned = ((uintptr_t)base + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1);
  uint8_t *start = (uint8_t *)aligned + (offset & (BLOCK_BYTES - 1));
  uint8_t *end = start + size;
  if (start > base) munmap(base, (size_t)(start - base));
  if (base + slack > end) munmap(end, (size_t)(base + slack - end));
  return start;
}

/* A file mapping that reaches past the end of its file would kill the process (SIGBUS) on the first
 * touch. */
static outcome check_file_size(int fd, uint64_t offset, size_t size) {
  struct stat st;
  if (fstat(fd, &st) < 0) return failure("fstat");
  uint64_t pages_end = ((uint64_t)st.st_size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
  if (offset > pages_end || size > pages_end - offset) return (outcome){"mmap past the end of the file", ENXIO};
  return success();
}

static outcome open_memfd(size_t size, int *fd) {
  *fd = memfd_create("mayfly", MFD_CLOEXEC);
  if (*fd < 0) return failure("memfd_create");
  if (ftruncate(*fd, (off_t)size) < 0) {
    outcome o = failure("ftruncate");
    close(*fd);
    return o;
  }
  return success();
}

static int map_flags(enum mapping_kind kind) {
  switch (kind) {
    case MAPPING_ANONYMOUS: return MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    case MAPPING_PRIVATE_FILE: return MAP_PRIVATE | MAP_NORESERVE;
    default: return MAP_SHARED;
  }
}

static outcome map(const struct mapping_request *request, int fd, void **out) {
  int protection = PROT_READ | (request->kind == MAPPING_READONLY_FILE ? 0 : PROT_WRITE);
  void *place = reserve(request->size, request->offset);
  if (place == MAP_FAILED) return failure("mmap");
  void *bytes = mmap(place, request->size, protection, map_flags(request->kind) | MAP_FIXED, fd,
                     (off_t)request->offset);
  if (bytes == MAP_FAILED) {
    outcome o = failure("mmap");
    munmap(place, request->size);
    return o;
  }
  /* Advice only: a kernel without huge pages is slower, not wrong. */
  if (request->huge) madvise(bytes, request->size, MADV_HUGEPAGE);
  /* A child process must neither see guest memory nor make every page of it copy-on-write again.
     */
  madvise(bytes, request->size, MADV_DONTFORK);
  *out = bytes;
  return success();
}

struct mapping *mapping_adopt(void *bytes, size_t size, enum mapping_kind kind) {
  struct mapping *mapping = calloc(1, sizeof(*mapping));
  if (!mapping) return NULL;
  mapping->bytes = bytes;
  mapping->size = size;
  mapping->kind = kind;
  mapping->fd = -1;
  atomic_init(&mapping->refs, 1);
  return mapping;
}

outcome mapping_create(const struct mapping_request *request, struct mapping **out) {
  bool is_file = request->kind == MAPPING_PRIVATE_FILE || request->kind == MAPPING_READONLY_FILE;
  int memfd = -1;
  void *bytes;
  outcome o = success();
  if (is_file) o = check_file_size(request->fd, request->offset, request->size);
  else if (request->kind == MAPPING_MEMFD) o = open_memfd(request->size, &memfd);
  if (failed(o)) return o;
  o = map(request, is_file ? request->fd : memfd, &bytes);
  if (!failed(o)) {
    *out = mapping_adopt(bytes, request->size, request->kind);
    if (*out) {
      (*out)->fd = memfd;
      (*out)->huge = request->huge;
      return success();
    }
    munmap(bytes, request->size);
    o = (outcome){"malloc", ENOMEM};
  }
  if (memfd >= 0) close(memfd);
  return o;
}

outcome mapping_replace(struct mapping *mapping, int fd) {
  if (atomic_load(&mapping->refs) != 1) /* the handle's */ return (outcome){"replacing memory that is in use", EBUSY};
  outcome o = fd < 0 ? success() : check_file_size(fd, 0, mapping->size);
  if (failed(o)) return o;
  int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
  if (mmap(mapping->bytes, mapping->size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED) return failure("mmap");
  if (fd >= 0 && mapping->huge) madvise(mapping->bytes, mapping->size, MADV_HUGEPAGE);
  madvise(mapping->bytes, mapping->size, MADV_DONTFORK);
  return o;
}

outcome mapping_populate(struct mapping *mapping, size_t offset, size_t size) {
  if (madvise(mapping->bytes + offset, size, MADV_POPULATE_WRITE) == 0) return success();
  return failure("madvise (MADV_POPULATE_WRITE)");
}

struct mapping *mapping_ref(struct mapping *mapping) {
  atomic_fetch_add(&mapping->refs, 1);
  return mapping;
}

void mapping_unref(struct mapping *mapping) {
  if (!mapping || atomic_fetch_sub(&mapping->refs, 1) != 1) return;
  munmap(mapping->bytes, mapping->size);
  if (mapping->fd >= 0) close(mapping->fd);
  free(mapping);
}

static bool is_zero(const uint8_t *bytes, size_t size) {
  /* The first byte is 0 and every byte equals the one before it. */
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Looks at page tables first: reading a never-touched anonymous page would allocate page tables for
 * it. */
static bool block_is_zero(const struct mapping *mapping, size_t offset, size_t size) {
  bool populated = true;
  if (mapping->kind == MAPPING_ANONYMOUS && !failed(pagemap_is_populated(mapping->bytes + offset, size, &populated)) &&
      !populated)
    return true;
  return is_zero(mapping->bytes + offset, size);
}

static outcome write_all(int fd, const uint8_t *bytes, size_t size, off_t offset) {
  while (size > 0) {
    ssize_t written = pwrite(fd, bytes, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failure("pwrite");
    if (written == 0) return (outcome){"pwrite", ENOSPC};
    bytes += written;
    size -= (size_t)written;
    offset += written;
  }
  return success();
}

outcome mapping_write_to(const struct mapping *mapping, int fd, size_t size) {
  if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0) return failure("ftruncate");
  for (size_t at = 0; at < size; at += BLOCK_BYTES) {
    size_t length = size - at < BLOCK_BYTES ? size - at : BLOCK_BYTES;
    if (block_is_zero(mapping, at, length)) continue;
    /* One write per whole block: that is what makes the page cache hold it as one 2 MiB folio.
         */
    outcome o = write_all(fd, mapping->bytes + at, length, (off_t)at);
    if (failed(o)) return o;
  }
  return success();
}

static bool add_page(struct page_runs *runs, uint32_t page) {
  uint32_t *last = runs->count > 0 ? runs->pairs + 2 * (runs->count - 1) : NULL;
  if (last && last[0] + last[1] == page) {
    last[1]++;
    return true;
  }
  if (runs->count == runs->capacity) {
    size_t capacity = runs->capacity * 2 + 64;
    uint32_t *pairs = realloc(runs->pairs, capacity * 2 * sizeof(*pairs));
    if (!pairs) return false;
    runs->pairs = pairs;
    runs->capacity = capacity;
  }
  runs->pairs[2 * runs->count] = page;
  runs->pairs[2 * runs->count++ + 1] = 1;
  return true;
}

static bool add_written(void *context, size_t start, size_t end) {
  struct page_runs *runs = context;
  for (size_t at = start; at < end; at += PAGE_BYTES)
    if (!add_page(runs, (uint32_t)(at / PAGE_BYTES))) return false;
  return true;
}

outcome mapping_written(const struct mapping *mapping, struct page_runs *runs) {
  return pagemap_each_written(mapping->bytes, mapping->size, add_written, runs);
}

static bool page_differs(const struct mapping *mapping, const struct mapping *base, size_t at) {
  if (base) return memcmp(mapping->bytes + at, base->bytes + at, PAGE_BYTES) != 0;
  return !is_zero(mapping->bytes + at, PAGE_BYTES);
}

outcome mapping_runs(const struct mapping *mapping, const struct mapping *base, struct page_runs *runs) {
  for (size_t at = 0; at < mapping->size; at += BLOCK_BYTES) {
    size_t length = mapping->size - at < BLOCK_BYTES ? mapping->size - at : BLOCK_BYTES;
    bool populated = true;
    if (!base && mapping->kind == MAPPING_ANONYMOUS &&
        !failed(pagemap_is_populated(mapping->bytes + at, length, &populated)) && !populated)
      continue;
    for (size_t page = at; page < at + length; page += PAGE_BYTES)
      if (page_differs(mapping, base, page) && !add_page(runs, (uint32_t)(page / PAGE_BYTES)))
        return (outcome){"realloc", ENOMEM};
  }
  return success();
}
