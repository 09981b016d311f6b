/* From the entry code to the handler and back, and --strace. */
#include "arch.h"
#include "lib.h"
#include "mm.h"
#include "syscall.h"
#include "thread.h"

#define TABLE_SIZE 512

struct row {
  syscall_fn *fn;
  const char *name, *format;
};

static const struct row table[TABLE_SIZE] = {
#define SYSCALL(number, name, format, support, missing) [number] = {sys_##name, #name, format},
#include "table.def"
#undef SYSCALL
};

static void print_argument(char *to, size_t size, char kind, u64 value) {
  switch (kind) {
    case 'd':
    case 'f': snprint(to, size, "%d", (i32)value); return;
    case 'u': snprint(to, size, "%lu", value); return;
    case 's': {
      ssize_t n = user_strlen(value, 200);
      if (n == -EFAULT) snprint(to, size, "0x%lx", value);
      else snprint(to, size, "\"%.*s\"", n < 0 ? 200 : (int)n, (const char *)value);
      return;
    }
    default: snprint(to, size, "0x%lx", value);
  }
}

/* Calls that do not return are told before. */
static bool never_returns(const struct row *row) { return row->fn == sys_exit || row->fn == sys_exit_group; }

static void print_call(const struct row *row, u64 number, const u64 *a, i64 result) {
  char line[400];
  size_t used = (size_t)snprint(line, sizeof line, "[%d] %s(", current->tid, row->name == NULL ? "?" : row->name);
  const char *format = row->format == NULL ? "xxxxxx" : row->format;
  if (row->name == NULL) used += (size_t)snprint(line + used, sizeof line - used, "%lu: ", number);
  for (int i = 0; format[i] != 0 && i < 6 && used < sizeof line - 230; i++) {
    if (i > 0) used += (size_t)snprint(line + used, sizeof line - used, ", ");
    print_argument(line + used, sizeof line - used, format[i], a[i]);
    used += strlen(line + used);
  }
  if (never_returns(row)) kprint("%s) = ?\n", line);
  else if (result < 0 && result > -4096) kprint("%s) = -%ld\n", line, -result);
  else kprint("%s) = 0x%lx\n", line, (u64)result);
}

static i64 unknown(u64 number) {
  static u8 told[TABLE_SIZE / 8];
  u64 bit = number % TABLE_SIZE;
  if (!(told[bit / 8] & 1 << bit % 8)) {
    told[bit / 8] |= (u8)(1 << bit % 8);
    if (BOOT->flags & BOOT_VERBOSE) kprint("mayfly: system call %lu is not there\n", number);
  }
  return -ENOSYS;
}

/* Returns whether all registers must be restored (a signal handler starts, sigreturn). */
int syscall_dispatch(struct regs *r) {
  u64 number = r->error;
  u64 a[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};
  SHARED->stat_syscalls++;
  if (r->vector == SYSCALL_TRAP_VECTOR) {
    SHARED->stat_traps++;
    r->rip = patch_site(r->rip, number);
  }
  static const struct row none;
  const struct row *row = number < TABLE_SIZE ? &table[number] : &none;
  bool strace = BOOT->flags & BOOT_STRACE;
  if (strace && never_returns(row)) print_call(row, number, a, 0);
  i64 result = row->fn == NULL ? unknown(number) : row->fn(a);
  r->rax = (u64)result;
  if (strace) print_call(row, number, a, result);
  int full = 0;
  if (current->attention) full = signals_deliver(r);
  if (SHARED->preempt_pending) {
    preempt();
    if (current->attention) full = signals_deliver(r);
  }
  return debug_call_end(r) || full;
}
