/* mm/: physical frames, page tables, the program's address space. */
#pragma once
#include "types.h"

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4 };
enum {
  MAP_SHARED = 1,
  MAP_PRIVATE = 2,
  MAP_TYPE = 0xf,
  MAP_FIXED = 0x10,
  MAP_ANONYMOUS = 0x20,
  MAP_NORESERVE = 0x4000,
  MAP_STACK = 0x20000,
  MAP_FIXED_NOREPLACE = 0x100000,
};

struct file;

/* One mapping of the program: [start, end), page-aligned. */
struct vma {
  u64 start, end;
  u32 prot;
  u32 flags;         /* MAP_* */
  struct file *file; /* holds a reference; NULL when anonymous */
  u64 offset;        /* of start in the file */
};

/* mm/frames.c */
void frames_init(void);
u64 frames_total(void); /* bytes of RAM that the allocator owns */
u64 frames_free(void);
void *ram_pointer(u64 gpa); /* kernel pointer to RAM */
u64 ram_gpa(const void *p); /* and back */
void *block_alloc_zeroed(void);

/* mm/tables.c: 2 MiB entries only, accessed and dirty preset. */
void tables_init(void);
bool tables_map(u64 va, u64 gpa, bool writable); /* false: out of table pages */
u64 tables_lookup(u64 va);                       /* entry of the 2 MiB block, 0 = not mapped */
bool entry_writable(u64 entry);
u64 entry_gpa(u64 entry);
void tables_remap(u64 va, u64 gpa, bool writable); /* of a present entry; flushes the TLB */

/* mm/space.c: every user pointer goes through these before it is used. */
bool user_readable(u64 address, u64 size);
bool user_writable(u64 address, u64 size);
/* Length of the NUL-terminated user string at address, or -EFAULT, or -ENAMETOOLONG beyond max. */
ssize_t user_strlen(u64 address, size_t max);

/* mm/space.c: mappings */
void space_init(void);
const struct vma *space_find(u64 address);   /* the mapping that holds address, or NULL */
const struct vma *space_list(size_t *count); /* sorted; for /proc/self/maps */
i64 space_map(u64 hint, u64 size, u32 prot, u32 flags, struct file *file, u64 offset);
i64 space_unmap(u64 start, u64 size);
bool space_fault(u64 address, bool write); /* true: mapped now, go on */
bool space_make_writable(u64 block);       /* a 2 MiB block that holds mappings: private and writable for the kernel */
i64 space_protect(u64 start, u64 size, u32 prot);
i64 space_discard(u64 start, u64 size); /* MADV_DONTNEED */
extern u64 brk_start, brk_end;
