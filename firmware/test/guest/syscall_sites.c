/* System-call instructions in the shapes that compilers and libraries make, entered in every way: the guest kernel
 * rewrites them at their first use. */
#include "call.h"
#include <signal.h>

/* The mov and the compare of glibc's wrappers around one instruction. */
__asm__(".globl site, site_instruction\n"
        "site: mov $39, %eax\n"
        "site_instruction: syscall\n"
        "cmp $-4095, %rax\n"
        "jae 1f\n"
        "ret\n"
        "1: neg %rax\n"
        "ret\n");
long site(void);
extern char site_instruction[];

static long jump_to(const void *at, long number) {
  long result;
  __asm__ volatile("call *%2" : "=a"(result) : "0"(number), "r"(at) : "rcx", "r11", "memory");
  return result;
}

/* The long mov of C libraries' sigreturn, which stays as it is. */
__asm__(".globl long_site, long_instruction\n"
        "long_site: mov $39, %rax\n"
        "long_instruction: syscall\n"
        "cmp $-4095, %rax\n"
        "sbb %rcx, %rcx\n"
        "ret\n");
long long_site(void);
extern char long_instruction[];

/* The number comes from elsewhere: only the compare behind it can become a jump. */
__asm__(".globl variable_site\n"
        "variable_site: mov %edi, %eax\n"
        "mov %rsi, %rdi\n"
        "mov %rdx, %rsi\n"
        "mov %rcx, %rdx\n"
        "syscall\n"
        "cmp $-4095, %rax\n"
        "sbb %rcx, %rcx\n"
        "ret\n");
long variable_site(long number, ...);

static volatile int handled, pipe_end;
static void handler(int signal) {
  handled++;
  write(pipe_end, "z", 1); /* what began again then has something to read */
}

int main(void) {
  int ends[2];
  char byte = 0;
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  pid_t pid = getpid();
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int i = 0; i < 3; i++) printf("%d %d\n", site() == pid, jump_to(site_instruction, SYS_getpid) == pid);
  for (int i = 0; i < 3; i++) printf("long: %d %d\n", long_site() == pid, jump_to(long_instruction, SYS_getpid) == pid);
  printf("another number: %ld\n", jump_to(site_instruction, SYS_geteuid) - geteuid());
  printf("%d\n", site() == pid);
  for (int i = 0; i < 3; i++) printf("%d\n", variable_site(SYS_getpid) == pid);
  printf("%s\n", strerrorname_np(-variable_site(SYS_close, -1)));

  /* A call of each shape that begins again. */
  pipe(ends);
  pipe_end = ends[1];
  sigaction(SIGALRM, &action, NULL);
  for (int i = 0; i < 3; i++) {
    handled = 0;
    ualarm(5000, 0);
    long n = variable_site(SYS_read, ends[0], &byte, 1);
    printf("variable: %ld %c handlers %d\n", n, byte, handled);
    ualarm(5000, 0);
    n = read(ends[0], &byte, 1);
    printf("glibc's: %ld %c handlers %d\n", n, byte, handled);
    ualarm(5000, 0);
    n = CALL(read, ends[0], &byte, 1);
    printf("plain: %ld %c handlers %d\n", n, byte, handled);
  }
  return 0;
}
