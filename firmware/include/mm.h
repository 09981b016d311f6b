/* mm/: physical frames, page tables, the program's address space. */
#pragma once
#include "types.h"

enum { PROT_NONE = 0, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4 };
enum {
  MAP_SHARED = 1,
  MAP_PRIVATE = 2,
  MAP_SHARED_VALIDATE = 3,
  MAP_TYPE = 0xf,
  MAP_FIXED = 0x10,
  MAP_ANONYMOUS = 0x20,
  MAP_32BIT = 0x40,
  MAP_GROWSDOWN = 0x100,
  MAP_NORESERVE = 0x4000,
  MAP_POPULATE = 0x8000,
  MAP_STACK = 0x20000,
  MAP_FIXED_NOREPLACE = 0x100000,
};

struct file;
struct inode;

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

/* mm/tables.c */
void tables_init(void);

/* mm/vmas.c: every user pointer goes through these before it is used. */
bool user_readable(u64 address, u64 size);
bool user_writable(u64 address, u64 size);
/* Length of the NUL-terminated user string at address, or -EFAULT, or -ENAMETOOLONG beyond max. */
ssize_t user_strlen(u64 address, size_t max);

/* Memory of the program that a call uses again after it slept: another thread may have taken it away by then. */
struct span {
  u8 *data;
  size_t size;
};
struct held {
  const struct span *spans;
  u32 count;
  bool writable;
};
bool still_there(const struct held *held); /* NULL is fine */

/* mm/vmas.c */
const struct vma *space_find(u64 address);   /* the mapping that holds address, or NULL */
const struct vma *space_list(size_t *count); /* sorted; for /proc/self/maps */

/* mm/space.c: mappings */
enum fault {
  FAULT_FIXED,    /* mapped now, go on */
  FAULT_UNMAPPED, /* nothing is mapped there: SEGV_MAPERR */
  FAULT_DENIED,   /* the mapping does not allow it: SEGV_ACCERR */
  FAULT_BEYOND    /* the mapped file ends before: SIGBUS, BUS_ADRERR */
};
enum { FAULT_WRITE = 2, FAULT_FETCH = 16 }; /* in the processor's error code */
void space_init(void);
i64 space_map(u64 hint, u64 size, u32 prot, u32 flags, struct file *file, u64 offset);
i64 space_unmap(u64 start, u64 size);
enum fault space_fault(u64 address, u64 error);
i64 space_protect(u64 start, u64 size, u32 prot);
i64 space_discard(u64 start, u64 size); /* MADV_DONTNEED */
i64 space_populate(u64 start, u64 size);
bool space_owns(u64 address);             /* may the program map something there? */
bool space_mapped(u64 start, u64 size);   /* without a hole? */
bool space_resident(u64 address);         /* for mincore */
void space_file_shrunk(struct inode *of); /* pages of a mapped file are gone */
/* Writes whatever the program may do there (its code), false: nothing is mapped there, or memory is short. */
bool space_poke(u64 address, const void *bytes, size_t n);
/* For a debugger, which writes what the program may not: the page at address gets bytes of its own. */
void space_own(u64 address);
struct remap {
  u64 old, old_size, new_size;
  bool may_move, fixed, keep_old; /* MREMAP_* */
  u64 to;                         /* when fixed */
};
i64 space_remap(const struct remap *r); /* sizes in whole pages */
extern u64 brk_start, brk_end;
extern u64 stack_top; /* sched/exec.c: of the first thread's stack */
