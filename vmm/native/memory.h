/* Guest memory: mappings that outlive the handle that made them for as long as a VM uses them. */
#ifndef MAYFLY_MEMORY_H
#define MAYFLY_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "outcome.h"

#define PAGE_BYTES 4096ul
#define BLOCK_BYTES (2ul << 20)

enum mapping_kind {
  MAPPING_ANONYMOUS,
  MAPPING_MEMFD,
  MAPPING_PRIVATE_FILE,
  MAPPING_READONLY_FILE,
  MAPPING_RUN_PAGE,
  MAPPING_KINDS,
};

struct mapping {
  uint8_t *bytes;
  size_t size;
  enum mapping_kind kind;
  int fd;    /* of a memfd, else -1 */
  bool huge; /* as requested */
  atomic_uint refs;
};

struct mapping_request {
  enum mapping_kind kind;
  size_t size;     /* bytes, a multiple of 4 KiB */
  int fd;          /* file kinds */
  uint64_t offset; /* file kinds, a multiple of 4 KiB */
  bool huge;
};

/* The address is a multiple of 2 MiB, or congruent to the file offset modulo 2 MiB. */
outcome mapping_create(const struct mapping_request *request, struct mapping **out);

/* Takes over a mapping made elsewhere (kvm_run). NULL when out of memory. */
struct mapping *mapping_adopt(void *bytes, size_t size, enum mapping_kind kind);

/*
 * Puts another file behind a private file mapping, at the same address: whoever kept that address, such as a JS buffer,
 * sees the other file's bytes. -1: zeros, and the pages that were there are given back. EBUSY while a VM, a vCPU's clock or a rewinder
 * uses it.
 */
outcome mapping_replace(struct mapping *mapping, int fd);

/* Copies the template's bytes into these pages ahead of the guest's first write to them (MADV_POPULATE_WRITE, Linux
 * 5.14). */
outcome mapping_populate(struct mapping *mapping, size_t offset, size_t size);

struct mapping *mapping_ref(struct mapping *mapping);
void mapping_unref(struct mapping *mapping);

static inline bool mapping_is_writable(const struct mapping *mapping) { return mapping->kind != MAPPING_READONLY_FILE; }

/* Runs of pages, rising: pairs {first page, count}. */
struct page_runs {
  uint32_t *pairs;
  size_t count, capacity; /* pairs */
};

/* Finds the pages that are not zero, or with `base`, of the same size, that differ from it. The caller frees
 * runs->pairs. */
outcome mapping_runs(const struct mapping *mapping, const struct mapping *base, struct page_runs *runs);

/* Finds the pages of a private file mapping that were written. The caller frees runs->pairs, also on failure. */
outcome mapping_written(const struct mapping *mapping, struct page_runs *runs);

/* Replaces the contents of a file by the first `size` bytes, leaving holes for 2 MiB blocks of
 * zeros. */
outcome mapping_write_to(const struct mapping *mapping, int fd, size_t size);

#endif
