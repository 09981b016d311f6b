/* System calls as compilers and assemblers write them: whatever stands around the instruction, the result, the flags and
 * the other registers are as on Linux. Each site is used often, since the guest kernel may rewrite it after the first time. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A function of assembly: the argument is in edi, the result in rax. */
#define SHAPE(name, text)                                                                                              \
  long name(long);                                                                                                     \
  __asm__(".text\n.globl " #name "\n" #name ":\n" text "\n.balign 16, 0xcc\n");

/* umask(022) always: the call's answer is 022 = 18 after the first, and it takes an argument. */
#define UMASK "mov $95, %eax\n"
SHAPE(number_before, "mov $95, %eax\n syscall\n ret")
SHAPE(number_before_64, "mov $95, %rax\n syscall\n mov %rax, %rdx\n mov %rdx, %rax\n ret")
SHAPE(compare_behind, UMASK "nop\n syscall\n cmp $-4095, %rax\n jae 1f\n ret\n 1: xor %eax, %eax\n ret")
SHAPE(compare_short, UMASK "nop\n syscall\n cmp $-38, %rax\n je 1f\n ret\n 1: xor %eax, %eax\n ret")
SHAPE(compare_half, UMASK "nop\n syscall\n cmp $0xfffff000, %eax\n ja 1f\n ret\n 1: xor %eax, %eax\n ret")
SHAPE(test_behind, UMASK "nop\n syscall\n test %rax, %rax\n js 1f\n ret\n 1: xor %eax, %eax\n ret")
SHAPE(two_behind, UMASK "nop\n syscall\n mov %eax, %edx\n test %eax, %eax\n js 1f\n mov %edx, %eax\n 1: ret")
SHAPE(stack_behind, "sub $24, %rsp\n movq $7, 8(%rsp)\n" UMASK
                    "nop\n syscall\n mov 8(%rsp), %rdx\n add %rdx, %rax\n add $24, %rsp\n ret")
SHAPE(store_behind,
      "sub $24, %rsp\n" UMASK "nop\n syscall\n mov %eax, 16(%rsp)\n mov 16(%rsp), %eax\n add $24, %rsp\n ret")
SHAPE(relative_behind, UMASK "nop\n syscall\n lea number_before(%rip), %rdx\n ret")
SHAPE(return_behind, UMASK "nop\n syscall\n ret")
SHAPE(jump_behind, UMASK "nop\n syscall\n jmp 1f\n ud2\n 1: ret")
/* The instruction behind is reached in two ways, the other not through the call. */
SHAPE(joined,
      "test %edi, %edi\n jz 1f\n" UMASK "nop\n syscall\n 2: cmp $-4095, %rax\n jae 3f\n ret\n 3: xor %eax, %eax\n"
      " ret\n 1: mov $5, %eax\n jmp 2b")
/* The instruction itself is reached in two ways. */
SHAPE(entered_late,
      "test %edi, %edi\n jz 1f\n mov $95, %eax\n 2: syscall\n cmp $-4095, %rax\n ret\n 1: mov $18, %edi\n mov $"
      "95, %rax\n jmp 2b")
SHAPE(flags_kept, UMASK "nop\n cmp %eax, %eax\n syscall\n mov %rax, %rdx\n mov %rdx, %rax\n ret")

static const struct {
  const char *name;
  long (*call)(long);
} shapes[] = {
    {"number before", number_before},
    {"64-bit number", number_before_64},
    {"compare behind", compare_behind},
    {"short compare", compare_short},
    {"half compare", compare_half},
    {"test behind", test_behind},
    {"two behind", two_behind},
    {"stack behind", stack_behind},
    {"store behind", store_behind},
    {"relative behind", relative_behind},
    {"return behind", return_behind},
    {"jump behind", jump_behind},
    {"joined", joined},
    {"entered late", entered_late},
    {"flags kept", flags_kept},
};

/* A read that blocks until the handler writes, and begins again then. */
#define READ "mov $0, %eax\n nop\n syscall\n"
SHAPE(read_number_before, "mov $0, %eax\n syscall\n ret")
SHAPE(read_compare_behind, READ "cmp $-4095, %rax\n jae 1f\n ret\n 1: neg %rax\n ret")
SHAPE(read_test_behind, READ "test %rax, %rax\n js 1f\n ret\n 1: neg %rax\n ret")
SHAPE(read_two_behind, READ "mov %eax, %edx\n test %eax, %eax\n mov %edx, %eax\n ret")
SHAPE(read_store_behind, "sub $24, %rsp\n" READ "mov %rax, 8(%rsp)\n mov 8(%rsp), %rax\n add $24, %rsp\n ret")
SHAPE(read_return_behind, READ "ret")
SHAPE(read_jump_behind, READ "jmp 1f\n ud2\n 1: ret")

typedef long read_shape(long fd, void *to, size_t n);
static const struct {
  const char *name;
  void *call;
} reads[] = {
    {"number before", read_number_before}, {"compare behind", read_compare_behind},
    {"test behind", read_test_behind},     {"two behind", read_two_behind},
    {"store behind", read_store_behind},   {"return behind", read_return_behind},
    {"jump behind", read_jump_behind},
};

static volatile int handled, pipe_end;
static void handler(int signal) {
  handled++;
  write(pipe_end, "z", 1);
}

static void begin_again(void) {
  int ends[2];
  char byte;
  pipe(ends);
  pipe_end = ends[1];
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
  for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
    for (int n = 0; n < 3; n++) {
      byte = handled = 0;
      ualarm(2000, 0);
      long got = ((read_shape *)reads[i].call)(ends[0], &byte, 1);
      printf("read, %s: %ld %c handlers %d\n", reads[i].name, got, byte, handled);
    }
  }
}

/* What follows the call faults, wherever it lies by then. */
SHAPE(fault_behind, UMASK "nop\n syscall\n mov (%rsi), %rdx\n ret")

/* It touches new memory, and a leaf function's red zone stays. */
SHAPE(touch_behind, "movq $7, -8(%rsp)\n" UMASK "nop\n syscall\n mov (%rsi), %rdx\n mov -8(%rsp), %rax\n ret")

static sigjmp_buf out;
static void faulted(int signal, siginfo_t *info, void *context) {
  printf("signal %d at %p\n", signal, info->si_addr);
  siglongjmp(out, 1);
}

static void fault(void) {
  enum { APART = 4 << 20, TIMES = 3 };
  long word = 0;
  long (*call)(long, const void *) = (long (*)(long, const void *))fault_behind;
  long (*touch)(long, const void *) = (long (*)(long, const void *))touch_behind;
  char *fresh = mmap(NULL, APART * TIMES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int n = 0; n < TIMES; n++) printf("red zone %ld\n", touch(18, fresh + APART * n));
  sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = faulted, .sa_flags = SA_SIGINFO}, NULL);
  for (int n = 0; n < TIMES; n++) {
    printf("%ld\n", call(18, &word));
    if (sigsetjmp(out, 1) == 0) call(18, (const void *)64);
  }
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  number_before(18);
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    long sum = 0;
    for (int n = 0; n < 200; n++) sum += shapes[i].call(n % 2 == 0 || i < 12 || i == 14 ? 18 : 0);
    printf("%s %ld\n", shapes[i].name, sum);
  }
  begin_again();
  fault();
  return 0;
}
