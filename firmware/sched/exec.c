/* Starts a program: maps its ELF segments and its interpreter's, lays out the stack as the System V ABI (AMD64
 * supplement, 3.4.1) says, and jumps. The first one is the boot page's, others take its place (syscall/exec.c). */
#include "exec.h"
#include "../fs/inode.h"
#include "arch.h"
#include "errno.h"
#include "file.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "thread.h"

struct elf_header {
  u8 ident[16];
  u16 type, machine;
  u32 version;
  u64 entry, phoff, shoff;
  u32 flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct program_header {
  u32 type, flags;
  u64 offset, vaddr, paddr, filesz, memsz, align;
};
enum {
  ET_EXEC = 2,
  ET_DYN = 3,
  EM_X86_64 = 62,
  PT_LOAD = 1,
  PT_INTERP = 3,
  PT_GNU_STACK = 0x6474e551,
  PF_X = 1,
  PF_W = 2,
  PF_R = 4
};
enum {
  AT_NULL,
  AT_PHDR = 3,
  AT_PHENT,
  AT_PHNUM,
  AT_PAGESZ,
  AT_BASE,
  AT_FLAGS,
  AT_ENTRY,
  AT_UID = 11,
  AT_EUID,
  AT_GID,
  AT_EGID,
  AT_PLATFORM,
  AT_HWCAP,
  AT_CLKTCK,
  AT_SECURE = 23,
  AT_RANDOM = 25,
  AT_HWCAP2,
  AT_EXECFN = 31,
  AT_SYSINFO_EHDR = 33,
  AT_MINSIGSTKSZ = 51
};

#define MAX_HEADERS 32
#define STACK_SIZE (8 * MiB)

u64 stack_top;
static bool secure; /* AT_SECURE: the program has more rights than who started it */
struct start started;

struct loaded {
  u64 entry, bias, headers, end;
  u16 header_count;
  bool stack_executable;
  char interpreter[256];
};

static _Noreturn void refuse(const char *path, const char *why) {
  kprint("mayfly: %s: %s\n", path, why);
  process_exit(126 << 8);
}

/* A program needs no permission to be read for being started. */
static i64 exec_permission(const struct inode *inode) {
  return is_regular(inode) ? inode_permission(inode, MAY_EXECUTE) : -EACCES;
}

static _Noreturn void refuse_for(const char *path, i64 error) {
  const char *why = error == -ENOENT ? "not found" : error == -EACCES ? "permission denied" : "cannot be opened";
  kprint("mayfly: %s: %s\n", path, why);
  process_exit((error == -ENOENT ? 127 : 126) << 8);
}

static struct dentry *find_program(const char *path) {
  i64 error;
  struct dentry *d = path_entry(AT_FDCWD, path, WALK_FOLLOW, &error);
  if (d != NULL && (error = exec_permission(d->inode)) == 0) return d;
  refuse_for(path, error);
}

static struct file *open_program(const char *path, struct dentry *program) {
  i64 error;
  struct file *f = open_dentry(program, O_RDONLY, &error);
  if (f == NULL) refuse_for(path, error);
  return f;
}

static u32 protection_of(u32 flags) {
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static void map_segment(const char *path, struct file *f, const struct program_header *p, u64 bias) {
  u64 start = bias + p->vaddr, page = ALIGN_DOWN(start, PAGE);
  u64 file_end = start + p->filesz, end = start + p->memsz;
  u32 prot = protection_of(p->flags);
  if (p->filesz > p->memsz || p->offset % PAGE != p->vaddr % PAGE) refuse(path, "damaged ELF: segment");
  if (p->filesz > 0) {
    i64 r = space_map(page, file_end - page, prot, MAP_PRIVATE | MAP_FIXED, f, ALIGN_DOWN(p->offset, PAGE));
    if (r < 0) refuse(path, r == -ENOMEM ? "does not fit into the guest's memory" : "cannot be mapped");
  }
  u64 mapped = p->filesz > 0 ? ALIGN_UP(file_end, PAGE) : page;
  if (p->memsz > p->filesz && (prot & PROT_WRITE)) {
    /* To the page's end: ld.so's first allocations come from there. */
    if (p->filesz > 0) memset((void *)file_end, 0, mapped - file_end);
    if (end > mapped && space_map(mapped, end - mapped, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0) < 0)
      refuse(path, "does not fit into the guest's memory");
  }
}

static u64 choose_bias(const struct program_header *p, u16 n) {
  u64 low = ~0ull, high = 0;
  for (u16 i = 0; i < n; i++) {
    if (p[i].type != PT_LOAD) continue;
    low = MIN(low, p[i].vaddr);
    high = MAX(high, p[i].vaddr + p[i].memsz);
  }
  if (high > GiB || low > high) return 0;
  i64 at = space_map(0, high - ALIGN_DOWN(low, PAGE), PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
  if (at < 0) return 0;
  space_unmap((u64)at, high - ALIGN_DOWN(low, PAGE));
  return (u64)at - ALIGN_DOWN(low, PAGE);
}

/* Reads the headers; returns what is wrong with them, or NULL. */
static const char *read_headers(struct file *f, struct elf_header *h, struct program_header p[MAX_HEADERS]) {
  if (file_read_at(f, h, sizeof *h, 0) != sizeof *h || memcmp(h->ident, "\177ELF", 4) != 0) return "not an ELF program";
  if (h->ident[4] != 2 || h->machine != EM_X86_64) return "not a program for x86-64";
  if (h->type != ET_EXEC && h->type != ET_DYN) return "not an executable";
  if (h->phentsize != sizeof *p || h->phnum == 0 || h->phnum > MAX_HEADERS) return "damaged ELF: program headers";
  ssize_t size = h->phnum * (ssize_t)sizeof *p;
  return file_read_at(f, p, (size_t)size, (off_t)h->phoff) == size ? NULL : "damaged ELF: program headers";
}

static void load(const char *path, struct dentry *file, struct loaded *l) {
  struct file *f = open_program(path, file);
  struct elf_header h;
  struct program_header p[MAX_HEADERS];
  const char *wrong = read_headers(f, &h, p);
  if (wrong != NULL) refuse(path, wrong);
  *l = (struct loaded){.header_count = h.phnum};
  if (h.type == ET_DYN) {
    l->bias = choose_bias(p, h.phnum);
    if (l->bias == 0) refuse(path, "does not fit into the address space");
  }
  for (u16 i = 0; i < h.phnum; i++) {
    if (p[i].type == PT_INTERP) {
      size_t n = MIN(p[i].filesz, sizeof l->interpreter - 1);
      if (file_read_at(f, l->interpreter, n, (off_t)p[i].offset) != (ssize_t)n)
        refuse(path, "damaged ELF: interpreter");
    }
    if (p[i].type == PT_GNU_STACK) l->stack_executable = p[i].flags & PF_X;
    if (p[i].type != PT_LOAD) continue;
    map_segment(path, f, &p[i], l->bias);
    if (p[i].offset <= h.phoff && h.phoff < p[i].offset + p[i].filesz)
      l->headers = l->bias + p[i].vaddr + (h.phoff - p[i].offset);
    l->end = MAX(l->end, l->bias + p[i].vaddr + p[i].memsz);
  }
  l->entry = l->bias + h.entry;
  file_put(f);
}

static void brk_setup(u64 program_end) {
  /* After a program at a fixed address the heap follows it; a relocatable one gets a place below 1.75 GiB. */
  brk_start = brk_end = program_end < PROGRAM_END ? ALIGN_UP(program_end, PAGE) : 16 * MiB;
}

struct stack {
  u64 at; /* grows down */
};

static u64 push_bytes(struct stack *s, const void *bytes, size_t n) {
  s->at -= n;
  memcpy((void *)s->at, bytes, n);
  return s->at;
}

static u64 build_stack(const struct loaded *program, u64 base) {
  const struct start *start = &started;
  i64 low = space_map(0, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, NULL, 0);
  if (low < 0) refuse(start->strings + start->execfn, "no memory for the stack");
  if (program->stack_executable) space_protect((u64)low, STACK_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
  stack_top = (u64)low + STACK_SIZE;
  struct stack s = {stack_top - 64};
  u64 count = start->argc + start->envc;
  u64 copy = push_bytes(&s, start->strings, start->size);
  u8 random[16];
  random_fill(random, sizeof random);
  u64 random_at = push_bytes(&s, random, sizeof random);
  u64 platform = push_bytes(&s, "x86_64", 7);
  u32 leaf1[4];
  cpuid(1, 0, leaf1);
  u64 aux[][2] = {
      {AT_PHDR, program->headers},
      {AT_PHENT, sizeof(struct program_header)},
      {AT_PHNUM, program->header_count},
      {AT_PAGESZ, PAGE},
      {AT_BASE, base},
      {AT_FLAGS, 0},
      {AT_ENTRY, program->entry},
      {AT_UID, user_ids.real},
      {AT_EUID, user_ids.effective},
      {AT_GID, group_ids.real},
      {AT_EGID, group_ids.effective},
      {AT_SECURE, secure},
      {AT_RANDOM, random_at},
      {AT_HWCAP, leaf1[3]},
      {AT_HWCAP2, 2},
      {AT_CLKTCK, 100},
      {AT_PLATFORM, platform},
      {AT_EXECFN, copy + start->execfn},
      {AT_SYSINFO_EHDR, (u64)vdso_start},
      {AT_MINSIGSTKSZ, frame_size()},
      {AT_NULL, 0},
  };
  u64 words = 1 + count + 2 + sizeof aux / 8;
  s.at = ALIGN_DOWN(s.at - words * 8, 16);
  u64 *at = (u64 *)s.at, *to = at;
  *to++ = start->argc;
  u64 string = copy;
  for (u64 i = 0; i < count; i++) {
    if (i == start->argc) *to++ = 0;
    *to++ = string;
    string += strlen((const char *)string) + 1;
  }
  if (start->envc == 0) *to++ = 0;
  *to++ = 0;
  memcpy(to, aux, sizeof aux);
  proc_set_auxv(aux, sizeof aux);
  debug_auxv = (u64)to;
  return s.at;
}

static void name_thread(const char *path) {
  const char *slash = strrchr(path, '/');
  const char *base = slash == NULL ? path : slash + 1;
  memset(current->name, 0, sizeof current->name);
  memcpy(current->name, base, strnlen(base, sizeof current->name - 1));
}

/* Maps the program and builds what the running thread goes on with. */
static void begin(struct dentry *file) {
  const struct inode *inode = file->inode;
  secure = identity_exec(inode->mode, inode->uid, inode->gid);
  proc_own();
  struct loaded program, interpreter = {0};
  const char *name = started.strings + started.execfn;
  name_thread(name);
  load(name, file, &program);
  brk_setup(program.end);
  u64 entry = program.entry;
  if (program.interpreter[0] != 0) {
    struct dentry *d = find_program(program.interpreter);
    load(program.interpreter, d, &interpreter);
    dentry_put(d);
    entry = interpreter.entry;
  }
  struct regs r = {.vector = NO_VECTOR, .rip = entry, .cs = USER_CS, .ss = USER_DS, .rflags = 0x202};
  r.rsp = build_stack(&program, interpreter.bias);
  *thread_regs(current) = r;
}

void exec_program(void) {
  const char *strings = (const char *)(WINDOW_VA + STRINGS_GPA);
  if (BOOT->strings_size > STRINGS_SIZE || BOOT->strings_size > STACK_SIZE / 4) panic("arguments too large");
  started = (struct start){strings, BOOT->strings_size, BOOT->argc, BOOT->envc, BOOT->execfn};
  struct dentry *program = find_program(strings + BOOT->execfn);
  begin(program);
  dentry_put(program);
  debug_start(false);
  start_program(thread_regs(current));
}

/* --- execve --- */

static i64 check_interpreter(struct file *f, const struct program_header *p) {
  char path[sizeof((struct loaded *)0)->interpreter] = {0};
  size_t n = MIN(p->filesz, sizeof path - 1);
  if (file_read_at(f, path, n, (off_t)p->offset) != (ssize_t)n) return -ENOEXEC;
  i64 error;
  struct dentry *interpreter = path_entry(AT_FDCWD, path, WALK_FOLLOW, &error);
  if (interpreter != NULL) error = exec_permission(interpreter->inode);
  dentry_put(interpreter);
  return error;
}

i64 exec_check(struct dentry *program) {
  struct elf_header h;
  struct program_header p[MAX_HEADERS];
  i64 error;
  if ((error = exec_permission(program->inode)) != 0) return error;
  struct file *f = open_dentry(program, O_RDONLY, &error);
  if (f == NULL) return error;
  error = read_headers(f, &h, p) == NULL ? 0 : -ENOEXEC;
  for (u16 i = 0; error == 0 && i < h.phnum; i++)
    if (p[i].type == PT_INTERP) error = check_interpreter(f, &p[i]);
  file_put(f);
  return error;
}

/* The boot page's strings are no allocation. */
static void start_set(const struct start *s) {
  static bool allocated;
  if (allocated) kfree((void *)(u64)started.strings);
  allocated = true;
  started = *s;
}

void exec_replace(struct dentry *program, const struct start *s) {
  threads_end_others();
  posix_timers_end();
  signals_reset();
  fd_exec();
  proc_set_program(program);
  start_set(s);
  thread_reset();
  space_clear();
  begin(program);
  debug_start(true);
}
