/* System-call sites are rewritten the first time that they trap: 28 us becomes a few ns.
 *
 * Before   mov $nr,%eax ; syscall       the mov becomes a jump to a trampoline; the syscall stays, so a jump
 *                                       straight to it still works.
 * Behind   syscall ; cmp $imm,%rax      the jump takes the place of the syscall and of what follows it, when those
 *          syscall ; mov %eax,%edx ...  instructions work anywhere; the trampoline makes up for them. Not where a
 *                                       branch nearby may lead to the middle of the jump.
 * Other sites stay as they are and are counted; so does the sigreturn of C libraries, a mov $15,%rax that debuggers and
 * unwinders know a signal frame by. One vCPU: nobody else runs while we write. */
#include "arch.h"
#include "lib.h"
#include "mm.h"

extern u8 trampolines[], trampolines_end[];
static u8 *trampoline_next = trampolines;
#define TRAMPOLINE_SIZE 32 /* two loads or moved instructions, two jumps */

static void put32(u8 *at, u32 value) { memcpy(at, &value, 4); }
static u32 get32(const u8 *at) {
  u32 value;
  memcpy(&value, at, 4);
  return value;
}

/* A jump to target, for the place `from`. */
static void put_jump(u8 *at, u64 from, u64 target) {
  at[0] = 0xe9;
  put32(at + 1, (u32)(target - (from + 5)));
}

static u8 *put_load(u8 *at, u8 opcode, u64 value) { /* mov $value,%eax or %ecx */
  at[0] = opcode;
  put32(at + 1, (u32)value);
  return at + 5;
}

static bool number_precedes(const u8 *site, u64 number) {
  bool prefixed = (site[-6] & 0xf0) == 0x40; /* REX: another register's mov, or a 64-bit one */
  return site[-5] == 0xb8 && get32(site - 4) == number && !prefixed;
}

bool is_trampoline(u64 address) { return address >= (u64)trampolines && address < (u64)trampolines_end; }

/* The mov before this syscall is a jump already: the instruction was jumped to, or a thread was interrupted before it. */
static bool is_patched_before(const u8 *site) {
  return site[-5] == 0xe9 && is_trampoline((u64)site + (u64)(i64)(i32)get32(site - 4));
}

/* ---- instructions behind a syscall ---- */

enum { JUMP_SIZE = 5, SYSCALL_SIZE = 2, MOVED_MAX = 16, RT_SIGRETURN = 15 };

/* Bytes of a ModRM operand with what belongs to it, 0 if it depends on the place. */
static u64 operand_size(const u8 *modrm) {
  u8 mode = modrm[0] >> 6, rm = modrm[0] & 7;
  if (mode == 3) return 1;
  if (mode == 0 && rm == 5) return 0; /* relative to rip */
  u64 size = rm == 4 ? 2 : 1;
  bool wide = mode == 2 || (mode == 0 && rm == 4 && (modrm[1] & 7) == 5);
  return size + (wide ? 4 : mode == 1 ? 1 : 0);
}

/* The size of one of the instructions that compilers put there and that work anywhere; 0: another one. */
static u64 movable_size(const u8 *at) {
  u64 prefix = (at[0] & 0xf0) == 0x40 ? 1 : 0;
  bool wide = prefix && (at[0] & 8);
  const u8 *opcode = at + prefix;
  u64 operand = operand_size(opcode + 1);
  if ((opcode[0] & 0xf8) == 0xb8) return prefix + (wide ? 9 : 5); /* mov $imm,%reg */
  switch (opcode[0]) {
    case 0x3d: return prefix + 5; /* cmp $imm32,%eax */
    case 0x80:                    /* with an immediate operand */
    case 0x83: return operand == 0 ? 0 : prefix + 1 + operand + 1;
    case 0x81: return operand == 0 ? 0 : prefix + 1 + operand + 4;
    case 0x01: /* add, sub, and, or, xor, cmp, test, mov, lea */
    case 0x03:
    case 0x09:
    case 0x0b:
    case 0x21:
    case 0x23:
    case 0x29:
    case 0x2b:
    case 0x31:
    case 0x33:
    case 0x39:
    case 0x3b:
    case 0x85:
    case 0x89:
    case 0x8b:
    case 0x8d: return operand == 0 ? 0 : prefix + 1 + operand;
    default: return 0;
  }
}

/* What stands between functions; no function begins so. */
static bool is_padding(const u8 *at) {
  static const u8 pairs[][2] = {{0xcc, 0xcc}, {0x90, 0x90}, {0x66, 0x90}, {0x66, 0x2e}, {0x0f, 0x1f}};
  for (u32 i = 0; i < COUNT(pairs); i++)
    if (memcmp(at, pairs[i], 2) == 0) return true;
  return false;
}

/* Bytes of whole instructions that must move for the jump to fit; 0: they cannot. */
static u64 moved_size(const u8 *site) {
  enum { RET = 0xc3, RET_AND_PADDING = 3 };
  u64 size = 0;
  if (site[SYSCALL_SIZE] == RET && is_padding(site + SYSCALL_SIZE + 1)) return RET_AND_PADDING;
  while (SYSCALL_SIZE + size < JUMP_SIZE) {
    u64 next = movable_size(site + SYSCALL_SIZE + size);
    if (next == 0) return 0;
    size += next;
  }
  return size <= MOVED_MAX ? size : 0;
}

/* Where the bytes at `at` would branch to, if they are a branch. */
static u64 branch_target(const u8 *at) {
  if (at[0] == 0xe8 || at[0] == 0xe9) return (u64)at + 5 + (u64)(i64)(i32)get32(at + 1);
  if (at[0] == 0xeb || (at[0] & 0xf0) == 0x70) return (u64)at + 2 + (u64)(i64)(i8)at[1];
  if (at[0] == 0x0f && (at[1] & 0xf0) == 0x80) return (u64)at + 6 + (u64)(i64)(i32)get32(at + 2);
  return 0;
}

/* Whether any bytes around the site, read as instructions from wherever they start, lead into the jump. */
static bool is_branched_into(const u8 *site) {
  enum { WINDOW = 8 * KiB, LONGEST = 6 };
  const struct vma *v = space_find((u64)site);
  if (v == NULL) return true;
  u64 start = MAX((u64)site - WINDOW, v->start), end = MIN((u64)site + WINDOW, v->end - LONGEST);
  if (!user_readable(start, end + LONGEST - start)) return true; /* the mapped file ends before */
  for (u64 at = start; at < end; at++)
    if (branch_target((const u8 *)at) - ((u64)site + 1) < JUMP_SIZE - 1) return true;
  return false;
}

/* ---- patching ---- */

/* The vDSO lies in the kernel's image. */
static bool in_vdso(u64 start, u64 size) { return start >= (u64)vdso_start && start + size <= (u64)vdso_end; }

/* The bytes at `from` become a jump to the next trampoline, which is then taken. */
static bool redirect(u64 from) {
  u8 jump[JUMP_SIZE];
  put_jump(jump, from, (u64)trampoline_next);
  if (in_vdso(from, JUMP_SIZE)) memcpy((void *)from, jump, JUMP_SIZE);
  else if (!space_poke(from, jump, JUMP_SIZE)) return false;
  trampoline_next += TRAMPOLINE_SIZE;
  SHARED->stat_patched++;
  return true;
}

static void patch_before(const u8 *site, u64 number) {
  u8 *end = put_load(put_load(trampoline_next, 0xb8, number), 0xb9, (u64)site + SYSCALL_SIZE);
  put_jump(end, (u64)end, (u64)syscall_fast);
  redirect((u64)site - JUMP_SIZE);
}

enum { CALL_SIZE = 10 }; /* the load and the jump that a trampoline behind begins with */

/* Returns where the program goes on: what follows the syscall is the middle of a jump now. */
static u64 patch_behind(const u8 *site, u64 moved) {
  u8 *resume = trampoline_next + CALL_SIZE, *back = resume + moved;
  u8 *call = put_load(trampoline_next, 0xb9, (u64)resume);
  u64 after = (u64)site + SYSCALL_SIZE;
  put_jump(call, (u64)call, (u64)syscall_fast);
  memcpy(resume, site + SYSCALL_SIZE, moved);
  put_jump(back, (u64)back, after + moved);
  return redirect((u64)site) ? (u64)resume : after;
}

u64 restart_address(u64 after) { return is_trampoline(after) ? after - CALL_SIZE : after - SYSCALL_SIZE; }

/* How many bytes behind the site a jump in its place takes along; 0: it stays. */
static u64 moved_behind(const u8 *site, u64 number) {
  if (number == RT_SIGRETURN || in_vdso((u64)site, SYSCALL_SIZE)) return 0;
  u64 moved = moved_size(site);
  return moved != 0 && !is_branched_into(site) ? moved : 0;
}

u64 patch_site(u64 after, u64 number) {
  enum { BEFORE = 6, AROUND = BEFORE + SYSCALL_SIZE + MOVED_MAX + 15 }; /* with an instruction too many */
  if (debug_attached()) return after; /* a debugger sees the program as it was written */
  const u8 *site = (const u8 *)after - SYSCALL_SIZE;
  u64 start = (u64)site - BEFORE;
  bool reachable = after >= USER_MIN && after < LOW_ARENA_END;
  if (!reachable || trampoline_next + TRAMPOLINE_SIZE > trampolines_end) return after;
  if (!in_vdso(start, AROUND) && !user_readable(start, AROUND)) return after;
  if (is_patched_before(site)) return after;
  if (number_precedes(site, number)) {
    patch_before(site, number);
    return after;
  }
  u64 moved = moved_behind(site, number);
  return moved != 0 ? patch_behind(site, moved) : after;
}
