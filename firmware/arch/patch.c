/* System-call sites are rewritten the first time that they trap: 28 us becomes a few ns.
 *
 * Shape A   mov $nr,%eax ; syscall      the mov becomes a jump to a trampoline; the syscall stays, so a jump
 *                                       straight to it still works.
 * Shape B   syscall ; cmp $imm,%rax     both become a jump; the trampoline makes up for the cmp.
 * Other sites stay as they are and are counted; so does the sigreturn of C libraries, a mov $15,%rax that debuggers and
 * unwinders know a signal frame by. One vCPU: nobody else runs while we write. */
#include "arch.h"
#include "lib.h"
#include "mm.h"

extern u8 trampolines[], trampolines_end[];
static u8 *trampoline_next = trampolines;
#define TRAMPOLINE_SIZE 32

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

static bool is_shape_a(const u8 *site, u64 number) {
  bool prefixed = (site[-6] & 0xf0) == 0x40; /* REX: another register's mov, or a 64-bit one */
  return site[-5] == 0xb8 && get32(site - 4) == number && !prefixed;
}

bool is_trampoline(u64 address) { return address >= (u64)trampolines && address < (u64)trampolines_end; }

/* The mov before this syscall is a jump already: the instruction was jumped to, or a thread was interrupted before it. */
static bool has_jump(const u8 *site) {
  return site[-5] == 0xe9 && is_trampoline((u64)site + (u64)(i64)(i32)get32(site - 4));
}

u64 restart_address(u64 after) {
  return is_trampoline(after) ? after - 10 : after - 2; /* shape B: the load and the jump before */
}

static bool is_shape_b(const u8 *site) { return site[2] == 0x48 && site[3] == 0x3d; }

/* The vDSO lies in the kernel's image. */
static bool rewrite(u64 address, const u8 *bytes, size_t n) {
  bool in_vdso = address >= (u64)vdso_start && address + n <= (u64)vdso_end;
  if (in_vdso) memcpy((void *)address, bytes, n);
  return in_vdso || space_poke(address, bytes, n);
}

static bool is_code(u64 start, u64 size) {
  return (start >= (u64)vdso_start && start + size <= (u64)vdso_end) || user_readable(start, size);
}

#define JUMP_SIZE 5

u64 patch_site(u64 after, u64 number) {
  const u8 *site = (const u8 *)after - 2;
  bool reachable = after >= USER_MIN && after < LOW_ARENA_END;
  if (!reachable || trampoline_next + TRAMPOLINE_SIZE > trampolines_end) return after;
  if (!is_code(after - 8, 16)) return after;
  bool a = is_shape_a(site, number);
  if (!a && (has_jump(site) || !is_shape_b(site))) return after;
  u8 *t = trampoline_next, jump[JUMP_SIZE];
  u64 from = a ? (u64)site - JUMP_SIZE : (u64)site;
  u8 displaced[6];
  memcpy(displaced, site + 2, sizeof displaced);
  put_jump(jump, from, (u64)t);
  if (!rewrite(from, jump, JUMP_SIZE)) return after;
  trampoline_next += TRAMPOLINE_SIZE;
  SHARED->stat_patched++;
  if (a) {
    u8 *end = put_load(put_load(t, 0xb8, number), 0xb9, after);
    put_jump(end, (u64)end, (u64)syscall_fast);
    return after;
  }
  u8 *resume = t + 10; /* behind the load and the jump */
  u8 *call = put_load(t, 0xb9, (u64)resume);
  put_jump(call, (u64)call, (u64)syscall_fast);
  memcpy(resume, displaced, sizeof displaced);
  put_jump(resume + 6, (u64)resume + 6, after + 6);
  return (u64)resume; /* what follows the syscall is the middle of a jump now */
}
