/* An agent that tells everything of its processor that CPL 3 can read, right after each read of a frame, and then changes
 * as much of it, of its memory and of its devices as it can, as a seed says.
 *
 * Frame in: {"seed":N,"pages":N}, and {"tables":1} to map memory, {"gate":1} to write to the IDT, {"entry":N} to run code of its
 * own at CPL 0, {"msr":1} to write to an MSR there. Frame out: {}, with struct seen as its body. */
#include <cpuid.h>
#include <fcntl.h>
#include <immintrin.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, ARENA_PAGES = 2048, XSAVE_BYTES = 8192 };

/* What the next life must find as the template left it. */
struct seen {
  uint64_t gprs[16]; /* rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 ... r15 */
  uint64_t rflags, fs_base, gs_base, xcr0;
  uint16_t selectors[4]; /* ds, es, fs, gs */
  uint64_t word;         /* of `spare` */
  uint8_t xsave[XSAVE_BYTES] __attribute__((aligned(64)));
};

/* Named in the assembly below. */
#define NAMED __attribute__((used)) static
NAMED struct seen seen;
NAMED uint8_t scrambled_xsave[XSAVE_BYTES] __attribute__((aligned(64)));
NAMED uint64_t scrambled_gprs[16];
NAMED uint64_t scrambled_fs, scrambled_gs, scrambled_flags;
NAMED char frame[4096];
NAMED char *spare;
static char arena[ARENA_PAGES * PAGE];
static char *heap;
NAMED struct {
  uint32_t length, head_length;
  char head[2];
  struct seen seen;
} __attribute__((packed)) answer = {4 + 2 + sizeof(struct seen), 2, "{}", {{0}}};

/* read(fd, frame, sizeof frame); everything that can be read of the processor; back with the caller's registers. */
long read_and_look(long fd);
/* write(fd, answer), read(fd, frame): in registers of which none is what it was. Does not return. */
_Noreturn void leave_scrambled(long fd);

__asm__(
    ".text\n"
    "read_and_look:\n"
    "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "  lea frame(%rip), %rsi\n"
    "  mov $4096, %edx\n"
    "  mov $0, %eax\n"
    "  syscall\n"
    "looking:\n"
    "  mov %rax, seen(%rip)\n"
    "  lea seen(%rip), %rax\n"
    "  mov %rbx, 8(%rax); mov %rcx, 16(%rax); mov %rdx, 24(%rax); mov %rsi, 32(%rax); mov %rdi, 40(%rax)\n"
    "  mov %rbp, 48(%rax); mov %rsp, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax)\n"
    "  mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
    "  pushf; pop 128(%rax)\n"
    "  mov %rax, %r12\n"
    "  rdfsbase %rax; mov %rax, 136(%r12)\n"
    "  rdgsbase %rax; mov %rax, 144(%r12)\n"
    "  xor %ecx, %ecx; xgetbv; mov %eax, 152(%r12); mov %edx, 156(%r12)\n"
    "  mov %ds, 160(%r12); mov %es, 162(%r12); mov %fs, 164(%r12); mov %gs, 166(%r12)\n"
    "  mov spare(%rip), %rax; mov (%rax), %rax; mov %rax, 168(%r12)\n"
    "  mov $-1, %eax; mov $-1, %edx\n"
    "  xsave64 192(%r12)\n"
    "  mov (%r12), %rax\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "  ret\n"
    "leave_scrambled:\n"
    "  mov $-1, %eax; mov $-1, %edx\n"
    "  xrstor64 scrambled_xsave(%rip)\n"
    "  mov scrambled_fs(%rip), %rax; wrfsbase %rax\n"
    "  mov scrambled_gs(%rip), %rax; wrgsbase %rax\n"
    "  lea scrambled_gprs(%rip), %rax\n"
    "  mov 8(%rax), %rbx; mov 48(%rax), %rbp\n"
    "  mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10; mov 96(%rax), %r12; mov 104(%rax), %r13\n"
    "  mov 112(%rax), %r14; mov 120(%rax), %r15\n"
    "  push scrambled_flags(%rip); popf\n"
    "  lea answer(%rip), %rsi\n"
    "  mov answer(%rip), %edx\n"
    "  lea 4(%rdx), %edx\n"
    "  mov $1, %eax\n"
    "  syscall\n"
    "1: lea frame(%rip), %rsi\n"
    "  mov $4096, %edx\n"
    "  mov $0, %eax\n"
    "  syscall\n"
    "  jmp 1b\n");
_Static_assert(__builtin_offsetof(struct seen, rflags) == 128, "read_and_look");
_Static_assert(__builtin_offsetof(struct seen, xsave) == 192, "read_and_look");

static uint64_t state;
static uint64_t any(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void any_bytes(void *to, size_t n) {
  for (size_t i = 0; i + 8 <= n; i += 8) {
    uint64_t word = any();
    memcpy((char *)to + i, &word, 8);
  }
}

/* Bytes at random places of random pages: heap, static data, stack. */
static void scramble_memory(unsigned pages) {
  char deep[64 * PAGE];
  for (unsigned i = 0; i < pages; i++) {
    char *area = any() % 3 == 0 ? heap : arena;
    char *page = area + any() % ARENA_PAGES * PAGE;
    any_bytes(page + any() % (PAGE - 64), 8 + any() % 56);
    deep[any() % sizeof deep] = (char)any();
  }
  __asm__ volatile("" : : "r"(deep) : "memory");
}

/* Where component `i` lies in the standard format; 0: there is none (SDM vol. 1, 13.2). */
static unsigned component(unsigned i, unsigned *size) {
  unsigned a, b, c, d;
  if (i < 2 || !__get_cpuid_count(0xd, i, &a, &b, &c, &d)) return 0;
  *size = a;
  return b;
}

/* All vector registers, opmasks, and the keys of PKRU but the first, which every page has. */
static void scramble_vectors(void) {
  uint64_t features = seen.xcr0;
  any_bytes(scrambled_xsave, sizeof scrambled_xsave);
  memset(scrambled_xsave + 512, 0, 64);
  memcpy(scrambled_xsave + 512, &features, 8);
  *(uint16_t *)scrambled_xsave = 0x037f ^ (any() & 0x0c00); /* rounding */
  *(uint16_t *)(scrambled_xsave + 2) = any() & 0x4700;      /* conditions */
  *(uint32_t *)(scrambled_xsave + 24) = 0x1f80 ^ (any() & 0xe03f);
  for (int i = 0; i < 8; i++) memset(scrambled_xsave + 32 + 16 * i + 10, 0, 6);
  memset(scrambled_xsave + 416, 0, 96);
  unsigned size = 0, pkru = features & 0x200 ? component(9, &size) : 0;
  if (pkru) *(uint32_t *)(scrambled_xsave + pkru) = (uint32_t)any() & ~3u;
}

static void scramble_registers(void) {
  any_bytes(scrambled_gprs, sizeof scrambled_gprs);
  scrambled_fs = any() & 0x7fffffffffff;
  scrambled_gs = any() & 0x7fffffffffff;
  scrambled_flags = 0x202 | (any() & 0x200cd5); /* CF PF AF ZF SF DF OF ID */
}

static sigjmp_buf refused;
static void on_fault(int signal) { siglongjmp(refused, signal); }

/* What CPL 3 may not: the processor says so. */
static void scramble_msrs(void) {
  static const uint32_t msrs[] = {0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102, 0x174, 0x277, 0x10};
  signal(SIGSEGV, on_fault);
  for (unsigned i = 0; i < sizeof msrs / sizeof *msrs; i++)
    if (sigsetjmp(refused, 1) == 0) __asm__ volatile("wrmsr" : : "c"(msrs[i]), "a"((uint32_t)any()), "d"(0));
  signal(SIGILL, on_fault);
  if (sigsetjmp(refused, 1) == 0) __asm__ volatile("mov %0, %%dr0" : : "r"(any()));
  if (sigsetjmp(refused, 1) == 0) __asm__ volatile("mov %0, %%cr3" : : "r"(any()));
}

static void scramble_files_and_devices(void) {
  char name[32], bytes[3000];
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "/tmp/%lx", any());
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    any_bytes(bytes, sizeof bytes);
    if (write(fd, bytes, any() % sizeof bytes) < 0 || any() % 2) close(fd);
  }
  printf("%lx\n", any()); /* console */
  fflush(stdout);
  int nobody = open("/dev/vsock/2/9", O_RDWR); /* refused: packets both ways */
  if (nobody >= 0) close(nobody);
  int random = open("/dev/random", O_RDONLY);
  if (read(random, bytes, 64) < 0) perror("/dev/random");
  timer_t timer;
  struct itimerspec soon = {{0, 0}, {3600, 0}};
  if (timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0) timer_settime(timer, 0, &soon, NULL);
  if (chdir("/tmp") < 0) perror("/tmp");
}

/* ---- what a program gets by writing to page tables, all of which are mapped ---- */

enum { KERNEL_VA = 0x70000000, KERNEL_GPA = 0x200000, BLOCK = 0x200000 };

static uint64_t *at_gpa(uint64_t gpa) { return (uint64_t *)(0x7e0000000000 + gpa); }

/* The entry of the 2 MiB at `va`. */
static volatile uint64_t *entry_of(uint64_t va) {
  uint64_t table = 0x10000;
  for (int shift = 39; shift > 21; shift -= 9) table = at_gpa(table)[va >> shift & 511] & 0xffffffffff000;
  return &at_gpa(table)[va >> 21 & 511];
}

static const uint64_t FRAME = 0xfffffffe00000;

/* `spare`: 2 MiB in one entry. */
static void take_spare(void) {
  char *p = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  spare = (char *)(((uintptr_t)p + BLOCK - 1) & -(uintptr_t)BLOCK);
  memset(spare, 3, BLOCK);
  if (!(*entry_of((uintptr_t)spare) & 0x80)) exit(3);
}

static void flush_tlb(void) { __asm__ volatile("out %%eax, %%dx" : : "a"(0), "d"(0x60c) : "memory"); }

/* At CPL 0, where `syscall` leads when the guest kernel was replaced: r10 is what to do. Where `syscall` stays at CPL 3, this
 * does nothing. DR0 stops whoever goes on from the template. */
void at_cpl0(void);
extern char looking[];
__asm__(".text\n"
        "at_cpl0:\n"
        "  mov %cs, %eax; test $3, %al; jz 1f\n"
        "  jmp *%rcx\n"
        "1: mov %rcx, %r8\n"
        "  test %r10, %r10; jz 1f\n"
        "  mov $0xc0000102, %ecx; mov $7, %eax; xor %edx, %edx; wrmsr\n"
        "1: lea looking(%rip), %rax; mov %rax, %dr0; mov %rax, %dr3; mov $0x401, %eax; mov %rax, %dr7\n"
        "  rdgsbase %r9; mov $0x123456, %eax; wrgsbase %rax; swapgs; wrgsbase %r9\n"
        "  mov $5, %eax; mov %rax, %cr8\n"
        "  mov %cr0, %rax; and $~0x10000, %rax; mov %rax, %cr0\n"
        "  mov %cr4, %rax; or $0x100, %rax; mov %rax, %cr4\n"
        "  xor %ecx, %ecx; mov $3, %eax; xor %edx, %edx; xsetbv\n"
        "  mov %r8, %rcx\n"
        "  sysretq\n");

/* `entry`: where `syscall` leads to. For as long as other code is there, no upcall may come. */
static void run_at_cpl0(uint64_t entry, long msr) {
  volatile uint64_t *shared = at_gpa(0x4000), *kernel = entry_of(KERNEL_VA), *own = entry_of((uintptr_t)spare);
  uint64_t start = shared[0x98 / 8], end = shared[0xa0 / 8], was = *kernel, mine = *own;
  shared[0x98 / 8] = 0;
  shared[0xa0 / 8] = ~0ull;
  memcpy(spare, at_gpa(KERNEL_GPA), BLOCK);
  char *code = spare + (entry - KERNEL_VA);
  memcpy(code, "\xff\x25\0\0\0\0", 6); /* jmp *(%rip) */
  memcpy(code + 6, &(void *){at_cpl0}, 8);
  *kernel = (was & ~FRAME) | (mine & FRAME);
  flush_tlb();
  register long to_do __asm__("r10") = msr;
  __asm__ volatile("syscall" : : "r"(to_do) : "rax", "rcx", "rdx", "r8", "r9", "r11", "memory");
  *kernel = was;
  flush_tlb();
  *own = (mine & ~FRAME) | KERNEL_GPA; /* stays in the TLB */
  (void)*(volatile char *)spare;
  *own = mine;
  shared[0x98 / 8] = start;
  shared[0xa0 / 8] = end;
}

/* write(fd, answer), read(fd, frame), with no vector register and none of the C library. */
_Noreturn static void leave_plainly(long fd) {
  long result = 1;
  __asm__ volatile("syscall" : "+a"(result) : "D"(fd), "S"(&answer), "d"(sizeof answer) : "rcx", "r11", "memory");
  for (;;) {
    result = 0;
    __asm__ volatile("syscall" : "+a"(result) : "D"(fd), "S"(frame), "d"(sizeof frame) : "rcx", "r11", "memory");
  }
}

static unsigned long number(const char *name) {
  const char *at = strstr(frame + 8, name);
  return at == NULL ? 0 : strtoul(at + strlen(name), NULL, 10);
}

static void edit_tables(void) {
  for (int i = 0; i < 4; i++) {
    char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) memset(p, 1, 4 << 20);
  }
}

/* So that the template has blocks, patched sites and kernel memory for what lives do. */
static void warm_up(void) {
  seen.xcr0 = 7;
  state = 1;
  heap = malloc(ARENA_PAGES * PAGE);
  memset(heap, 1, ARENA_PAGES * PAGE);
  memset(arena, 2, sizeof arena);
  take_spare();
  scramble_memory(500);
  scramble_msrs();
  scramble_files_and_devices();
  memset(&seen, 0, sizeof seen);
}

int main(void) {
  static const char ready[] = "\x14\0\0\0\x10\0\0\0{\"type\":\"ready\"}";
  int stream = open("/dev/vsock/2/1024", O_RDWR);
  if (stream < 0) return 1;
  warm_up();
  _writegsbase_u64(0x123456789000);
  __m128 mark = _mm_set1_ps(1.5f);
  if (write(stream, ready, sizeof ready - 1) != sizeof ready - 1) return 1;
  __asm__ volatile("movaps %0, %%xmm7" : : "x"(mark) : "xmm7");
  if (read_and_look(stream) <= 0) return 1;
  answer.seen = seen;
  state = number("\"seed\":") * 0x9e3779b97f4a7c15 + 1;
  scramble_memory((unsigned)number("\"pages\":"));
  scramble_msrs();
  scramble_files_and_devices();
  if (number("\"tables\":")) edit_tables();
  volatile uint64_t *gate = at_gpa(0x3000);
  if (number("\"gate\":")) *gate = *gate;
  if (number("\"entry\":")) {
    run_at_cpl0(number("\"entry\":"), (long)number("\"msr\":"));
    leave_plainly(stream);
  }
  scramble_vectors();
  scramble_registers();
  leave_scrambled(stream);
}
