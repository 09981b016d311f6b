/* The stack frame of a signal handler, and the way back (rt_sigreturn): Linux's struct rt_sigframe for x86-64.
 *
 *   rsp ->  return address (the restorer), ucontext, siginfo, ..., vector state (XSAVE, 64-byte aligned)
 *
 * Programs read and change all of it, so what comes back may be anything. */
#include "arch.h"
#include "errno.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"
#include "thread.h"

#define RED_ZONE 128
#define RFLAGS_FIXED 0x3202u                               /* IOPL 3, interrupts, the bit that is always set */
#define RFLAGS_PROGRAM (1u << 18 | 1u << 16 | 0xfd5u)      /* AC RF, OF DF TF SF ZF AF PF CF */
#define RFLAGS_ENTRY_CLEAR (1u << 10 | 1u << 16 | 1u << 8) /* a handler starts without DF RF TF */
#define RFLAGS_SHOWN (~(3ull << 12))                       /* IOPL is our business */
enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };
enum { FP_XSTATE_MAGIC1 = 0x46505853, FP_XSTATE_MAGIC2 = 0x46505845 };
#define SS_AUTODISARM (1u << 31)

struct stack {
  u64 base;
  u32 flags, pad;
  u64 size;
};
struct sigcontext {
  u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  u16 cs, gs, fs, ss;
  u64 error, vector, old_mask, cr2;
  u64 fpstate;
  u64 reserved[8];
};
struct ucontext {
  u64 flags, link;
  struct stack stack;
  struct sigcontext context;
  u64 mask;
};
struct frame {
  u64 restorer;
  struct ucontext uc;
  u8 siginfo[SIGINFO_SIZE];
};
_Static_assert(sizeof(struct frame) == 440, "struct rt_sigframe");

/* --- vector state --- */

struct fpu_header { /* the parts of an XSAVE area that need care */
  u8 x87[24];
  u32 mxcsr, mxcsr_mask;
  u8 registers[432];
  struct {
    u32 magic1, extended_size;
    u64 features;
    u32 state_size, pad[7];
  } software; /* the processor leaves these alone */
  u64 present, compaction, reserved[6];
};
_Static_assert(sizeof(struct fpu_header) == 576, "legacy region and header of XSAVE");

/* Not the keys of PKRU, which the kernel runs with too, and no tiles: 8 KiB in each frame. */
#define KEPT_OUT (1ull << 9 | 3ull << 17)

static u64 features;
static u32 state_size;

static void measure(void) {
  features = fpu_features() & ~KEPT_OUT;
  state_size = sizeof(struct fpu_header);
  for (u32 i = 2; i < 63; i++) {
    if (!(features >> i & 1)) continue;
    u32 part[4];
    cpuid(0xd, i, part);
    state_size = MAX(state_size, part[0] + part[1]);
  }
}

static u32 fpu_area_size(void) {
  if (state_size == 0) measure();
  return state_size + sizeof(u32); /* magic2 */
}

u64 frame_size(void) { return RED_ZONE + fpu_area_size() + 64 + sizeof(struct frame) + 16; }

/* A handler starts with clean vector state: nothing is present but MXCSR, which xrstor always loads. */
static void fpu_reset(void) {
  static const struct fpu_header clean __attribute__((aligned(64))) = {.mxcsr = 0x1f80};
  fpu_restore_parts(&clean, features);
}

static void fpu_push(struct fpu_header *area) {
  memset(area, 0, sizeof *area);
  fpu_save_parts(area, features);
  area->software.magic1 = FP_XSTATE_MAGIC1;
  area->software.extended_size = fpu_area_size();
  area->software.features = features;
  area->software.state_size = state_size;
  u32 magic2 = FP_XSTATE_MAGIC2;
  memcpy((u8 *)area + state_size, &magic2, sizeof magic2);
  fpu_reset();
}

/* The size of the state that lies there: all of it, or only the legacy part when the program put its own there. */
static u64 stored_size(const struct fpu_header *area) {
  u32 magic2;
  if (!user_readable((u64)area, fpu_area_size())) return 512;
  memcpy(&magic2, (const u8 *)area + state_size, sizeof magic2);
  bool ours = area->software.magic1 == FP_XSTATE_MAGIC1 && area->software.state_size == state_size;
  return ours && magic2 == FP_XSTATE_MAGIC2 ? state_size : 512;
}

/* xrstor faults on bits that are reserved. */
static bool fpu_valid(const struct fpu_header *state, u32 mxcsr_mask) {
  u64 reserved = state->compaction | (state->present & ~features);
  for (size_t i = 0; i < COUNT(state->reserved); i++) reserved |= state->reserved[i];
  return reserved == 0 && !(state->mxcsr & ~(mxcsr_mask != 0 ? mxcsr_mask : 0xffbf));
}

static bool fpu_pop(u64 address) {
  if (address == 0) {
    fpu_reset();
    return true;
  }
  const struct fpu_header *area = (const struct fpu_header *)address;
  if (!user_readable(address, 512)) return false;
  struct fpu_header *state = current->xsave; /* free while the thread runs */
  fpu_save(state);
  u32 mxcsr_mask = state->mxcsr_mask;
  u64 size = stored_size(area);
  memcpy(state, area, size);
  if (size == 512) {
    state->present = features & 3;
    state->compaction = 0;
    memset(state->reserved, 0, sizeof state->reserved);
  }
  if (!fpu_valid(state, mxcsr_mask)) return false;
  fpu_restore_parts(state, features);
  return true;
}

/* --- the alternate stack --- */

bool on_altstack(u64 rsp) {
  if (current->altstack.flags & SS_AUTODISARM) return false;
  return rsp > current->altstack.base && rsp - current->altstack.base <= current->altstack.size;
}

static struct stack altstack_kept(void) {
  return (struct stack){current->altstack.base, current->altstack.flags, 0, current->altstack.size};
}

static struct stack altstack_now(u64 rsp) {
  u32 state = current->altstack.size == 0 ? SS_DISABLE : on_altstack(rsp) ? SS_ONSTACK : 0;
  u32 flags = state | (current->altstack.flags & SS_AUTODISARM);
  return (struct stack){current->altstack.base, flags, 0, current->altstack.size};
}

static void altstack_set(const struct stack *s) {
  bool none = (s->flags & ~SS_AUTODISARM) == SS_DISABLE;
  current->altstack.base = none ? 0 : s->base;
  current->altstack.size = none ? 0 : s->size;
  current->altstack.flags = s->flags;
}

static i64 altstack_change(const struct stack *s, u64 rsp) {
  enum { MINSIGSTKSZ = 2048 };
  u32 mode = s->flags & ~SS_AUTODISARM;
  if (on_altstack(rsp)) return -EPERM;
  if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE) return -EINVAL;
  if (mode != SS_DISABLE && s->size < MINSIGSTKSZ) return -ENOMEM;
  altstack_set(s);
  return 0;
}

i64 sys_sigaltstack(const u64 *a) {
  u64 rsp = thread_regs(current)->rsp;
  struct stack old = altstack_now(rsp), wanted;
  if (a[0] != 0) {
    if (!user_readable(a[0], sizeof wanted)) return -EFAULT;
    wanted = *(const struct stack *)a[0];
    i64 error = altstack_change(&wanted, rsp);
    if (error != 0) return error;
  }
  if (a[1] != 0) {
    if (!user_writable(a[1], sizeof old)) return -EFAULT;
    *(struct stack *)a[1] = old;
  }
  return 0;
}

/* --- in and out --- */

static struct sigcontext context_of(const struct regs *r, u64 fpstate) {
  return (struct sigcontext){
      r->r8,
      r->r9,
      r->r10,
      r->r11,
      r->r12,
      r->r13,
      r->r14,
      r->r15,
      r->rdi,
      r->rsi,
      r->rbp,
      r->rbx,
      r->rdx,
      r->rax,
      r->rcx,
      r->rsp,
      r->rip,
      r->rflags & RFLAGS_SHOWN,
      .cs = USER_CS,
      .ss = USER_DS,
      .error = current->fault.error,
      .vector = current->fault.vector,
      .cr2 = current->fault.address,
      .old_mask = current->restore_mask ? current->saved_mask : current->signal_mask,
      .fpstate = fpstate,
  };
}

static void context_load(struct regs *r, const struct sigcontext *c) {
  *r = (struct regs){.r15 = c->r15,
                     .r14 = c->r14,
                     .r13 = c->r13,
                     .r12 = c->r12,
                     .rbp = c->rbp,
                     .rbx = c->rbx,
                     .r11 = c->r11,
                     .r10 = c->r10,
                     .r9 = c->r9,
                     .r8 = c->r8,
                     .rax = c->rax,
                     .rcx = c->rcx,
                     .rdx = c->rdx,
                     .rsi = c->rsi,
                     .rdi = c->rdi,
                     .vector = NO_VECTOR,
                     .rip = c->rip,
                     .cs = USER_CS,
                     .rflags = RFLAGS_FIXED | (c->rflags & RFLAGS_PROGRAM),
                     .rsp = c->rsp,
                     .ss = USER_DS};
}

bool frame_push(struct regs *r, const struct siginfo *info, const struct action *action) {
  bool switches = (action->flags & SA_ONSTACK) && current->altstack.size > 0 && !on_altstack(r->rsp);
  bool nested = on_altstack(r->rsp);
  u64 top = switches ? current->altstack.base + current->altstack.size : r->rsp - RED_ZONE;
  u64 fpstate = ALIGN_DOWN(top - fpu_area_size(), 64);
  struct frame *f = (struct frame *)(ALIGN_DOWN(fpstate - sizeof *f + 8, 16) - 8); /* as after a call */
  if (!(action->flags & SA_RESTORER)) return false;
  if ((switches || nested) && (u64)f <= current->altstack.base) return false;
  if (!user_writable((u64)f, top - (u64)f)) return false;
  *f = (struct frame){
      .restorer = action->restorer,
      .uc = {.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
             .stack = altstack_kept(),
             .context = context_of(r, fpstate)},
  };
  f->uc.mask = f->uc.context.old_mask;
  memcpy(f->siginfo, info, sizeof *info);
  fpu_push((struct fpu_header *)fpstate);
  if (current->altstack.flags & SS_AUTODISARM) altstack_set(&(struct stack){.flags = SS_DISABLE});
  r->rdi = (u64)info->signo;
  r->rsi = (u64)f->siginfo;
  r->rdx = (u64)&f->uc;
  r->rax = 0;
  r->rip = action->handler;
  r->rsp = (u64)f;
  r->rflags &= ~(u64)RFLAGS_ENTRY_CLEAR;
  return true;
}

bool frame_pop(struct regs *r) {
  const struct frame *f = (const struct frame *)(r->rsp - sizeof f->restorer);
  if (!user_readable((u64)f, sizeof *f)) return false;
  struct ucontext uc = f->uc;
  if (!fpu_pop(uc.context.fpstate)) return false;
  signal_mask_set(uc.mask);
  context_load(r, &uc.context);
  altstack_change(&uc.stack, r->rsp);
  return true;
}
