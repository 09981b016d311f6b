/* Random calls with random arguments from several threads, which share their descriptors and memory: each ends with a
 * result, or the program does. In the guest only, which it makes sure of: on a host this does harm. Arguments: SEED CALLS.
 * Exit code 0: all calls were made, and afterwards files, memory, threads and clocks work as before. */
#include "call.h"
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>

enum { THREADS = 4, ARENA = 1 << 20, PAGE = 4096, STACK = 1 << 17 };
enum { OK = 0, NOT_HERE = 2, SLOW = 3, BROKEN = 4 };

static uint8_t *arena; /* pages that may be used; behind them one that may only be read, and one that may not be */
static volatile uint64_t made;
static uint64_t wanted;

/* ---- random arguments ---- */

struct random {
  uint64_t state;
};

static uint64_t next(struct random *r) {
  r->state ^= r->state << 13;
  r->state ^= r->state >> 7;
  r->state ^= r->state << 17;
  return r->state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(struct random *r, uint64_t limit) { return (next(r) >> 20) % limit; }

static const char *const paths[] = {
    "/",         "/tmp",          "/tmp/a",         "/tmp/b",          "/tmp/a/b",        "/tmp/link",      "a",
    ".",         "..",            "",               "/proc/self/maps", "/proc/self/fd",   "/proc/self/fd/5", "/proc/self/fd/1",
    "/dev/null", "/dev/zero",     "/dev/full",      "/dev/urandom",    "/proc/self/mem",  "/proc/self/exe", "/proc/self/status",
    "/dev/shm",  "/dev/tty",      "/dev/shm/s",     "/proc/self/task", "/proc/net/tcp",   "/etc/passwd",    "/sys",
    "/tmp/sock", "user.a",        "/proc/meminfo",  "/dev/fd/3",       "/proc/self/root", "/proc/sys/kernel/hostname",
};
enum { PATHS = sizeof paths / sizeof paths[0] };

/* No address of the program's: the ends of what there could be, and the guest kernel's own. */
static uint64_t wild(struct random *r) {
  static const uint64_t places[] = {0,          1,          0x1000,         0x7fffffffe000, 0x7ffffffff000,     0x800000000000,
                                    0x6fe00000, 0x6fe04000, 0x70000000,     0x70040ff8,     0xffffffff80000000, ~0ull,
                                    ~0ull - 7,  1ull << 63, ~0ull - 4095};
  return places[below(r, sizeof places / sizeof places[0])];
}

static uint64_t pointer(struct random *r) {
  uint64_t at = (uint64_t)arena;
  switch (below(r, 16)) {
    case 0: return wild(r);
    case 1: return at + ARENA - below(r, 128);        /* runs into what cannot be written */
    case 2: return at + ARENA + PAGE - below(r, 128);     /* runs into what cannot be read */
    case 3: return at + ARENA + PAGE;                     /* cannot be read */
    case 4:
    case 5: return (uint64_t)paths[below(r, PATHS)];
    case 6: return at + below(r, ARENA);
    case 7: return at + PAGE * below(r, ARENA / PAGE);
    default: return at + 8 * below(r, ARENA / 8);
  }
}

static uint64_t argument(struct random *r) {
  switch (below(r, 16)) {
    case 0: return 0;
    case 1: return below(r, 256);
    case 2: return 1ull << below(r, 64);
    case 3: return (1ull << below(r, 64)) - 1;
    case 4: return -below(r, 200);
    case 5: return next(r);
    case 6: return PAGE * below(r, 64);
    case 7: return below(r, 65536);
    case 8:
    case 9: return below(r, 48); /* a descriptor, a signal, a small number */
    case 10: return 3 + below(r, 40);
    default: return pointer(r);
  }
}

/* What would do for an argument of this kind in the table of calls. */
static uint64_t fitting(struct random *r, char kind) {
  uint64_t at = (uint64_t)arena + 8 * below(r, ARENA / 8 - PAGE);
  switch (kind) {
    case 'f': return below(r, 12) == 0 ? (uint64_t)AT_FDCWD : below(r, 48);
    case 's': return (uint64_t)paths[below(r, PATHS)];
    case 'p': return below(r, 8) == 0 ? 0 : at;
    case 'u': return below(r, 4) == 0 ? below(r, 65536) : 8 * below(r, 20);
    case 'd': return below(r, 8) == 0 ? -1ull : below(r, 3) == 0 ? 0 : below(r, 20);
    default: break;
  }
  switch (below(r, 8)) { /* flags, or what the table has no letter for */
    case 0: return below(r, 64);
    case 1: return 1ull << below(r, 20);
    case 2: return 1ull << below(r, 32) | 1ull << below(r, 14);
    case 3:
    case 4: return at;
    default: return 0;
  }
}

/* Structures come from this: numbers, descriptors and pointers side by side. */
static void fill(struct random *r, uint8_t *from, size_t size) {
  for (size_t at = 0; at + 8 <= size; at += 8) {
    uint64_t value = below(r, 3) == 0 ? below(r, 32) : argument(r);
    if (below(r, 4) == 0) value = (uint32_t)argument(r) | argument(r) << 32;
    memcpy(from + at, &value, 8);
  }
}

/* ---- what calls meet ---- */

static void give_descriptors(void) {
  int pair[2];
  syscall(SYS_open, "/tmp/a", O_RDWR | O_CREAT, 0644);
  syscall(SYS_open, "/tmp", O_RDONLY | O_DIRECTORY);
  syscall(SYS_open, "/proc/self/maps", O_RDONLY);
  syscall(SYS_pipe2, pair, 0);
  syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
  syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, pair);
  syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
  syscall(SYS_socket, AF_INET6, SOCK_DGRAM, 0);
  syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0);
  syscall(SYS_epoll_create1, 0);
  syscall(SYS_eventfd2, 1, EFD_SEMAPHORE);
  syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
  uint64_t set = 1ull << (SIGUSR2 - 1);
  syscall(SYS_signalfd4, -1, &set, 8, 0);
  syscall(SYS_inotify_init1, 0);
  syscall(SYS_memfd_create, "m", 0);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(4000), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), client = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  syscall(SYS_bind, listener, &here, sizeof here);
  syscall(SYS_listen, listener, 8);
  syscall(SYS_connect, client, &here, sizeof here);
}

static void lay_arena(void) {
  uint64_t at = (uint64_t)arena;
  syscall(SYS_mmap, at, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  syscall(SYS_mmap, at + ARENA, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  syscall(SYS_mmap, at + ARENA + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* ---- the calls ---- */

struct row {
  int number;
  const char *format;
  int refused;
};
static const struct row rows[] = {
#define FULL 0
#define PARTIAL 0
#define NONE 1
#define SYSCALL(number, name, format, support, missing) {number, format, support},
#include "../../syscall/table.def"
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* What ends the program or this test's hold on it comes seldom, or never. */
static int permitted(struct random *r, long number) {
  switch (number) {
    case SYS_exit_group:
    case SYS_exit:
    case SYS_clone:
    case SYS_clone3:
    case SYS_rt_sigreturn: return 0;
    case SYS_kill:
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigaction:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo:
    case SYS_rt_sigprocmask:
    case SYS_setrlimit:
    case SYS_prlimit64:
    case SYS_close_range:
    case SYS_chroot:
    case SYS_setuid:
    case SYS_setreuid:
    case SYS_setresuid:
    case SYS_setfsuid:
    case SYS_capset:
    case SYS_prctl:
    case SYS_execve:
    case SYS_execveat:
    case SYS_sigaltstack:
    case SYS_arch_prctl: return below(r, 64) == 0;
    default: return 1;
  }
}

/* Mappings change within the arena, but for one in some. */
static void tame(struct random *r, long number, uint64_t *a) {
  int hint = number == SYS_mmap && a[3] & MAP_FIXED;
  int place = number == SYS_munmap || number == SYS_mprotect || number == SYS_madvise || number == SYS_mremap ||
              number == SYS_shmat || number == SYS_remap_file_pages;
  int sends = number == SYS_kill || number == SYS_tkill || number == SYS_rt_sigqueueinfo;
  if (sends && a[1] % 64 == SIGKILL) a[1] = 0;
  if ((number == SYS_tgkill || number == SYS_rt_tgsigqueueinfo) && a[2] % 64 == SIGKILL) a[2] = 0;
  if (number == SYS_setrlimit && a[0] == RLIMIT_NOFILE) a[0] = RLIMIT_MEMLOCK; /* the last look needs descriptors */
  if (number == SYS_prlimit64 && (uint32_t)a[1] == RLIMIT_NOFILE) a[1] = RLIMIT_MEMLOCK;
  if (number == SYS_arch_prctl) a[0] = 0x1003; /* ARCH_GET_FS: the thread needs its own */
  if (number == SYS_brk || number == SYS_rseq || number == SYS_set_robust_list) a[0] = 0;
  if (!hint && !place) return;
  if (below(r, 16) == 0) {
    a[number == SYS_shmat] = wild(r);
    return;
  }
  a[number == SYS_shmat] = (uint64_t)arena + PAGE * below(r, ARENA / PAGE);
  a[1] = number == SYS_shmat ? a[1] : 1 + below(r, 16 * PAGE);
  if (number == SYS_mremap && (a[3] & 2)) a[4] = (uint64_t)arena + PAGE * below(r, ARENA / PAGE);
}

static __thread sigjmp_buf again;
static __thread volatile int inside;

/* A fault of a call, or of what it did to the memory; one that somebody sent says nothing. */
static void on_fault(int signal, siginfo_t *info, void *context) {
  if (info->si_code <= 0) return;
  if (inside) siglongjmp(again, 1);
  _exit(128 + signal);
}

static void on_signal(int signal, siginfo_t *info, void *context) {}

static void call_once(struct random *r) {
  uint64_t a[6];
  const struct row *row = &rows[below(r, ROWS)];
  long number = below(r, 200) == 0 ? (long)next(r) : row->number;
  if (!permitted(r, number) || (row->refused && below(r, 32) != 0)) return;
  size_t known = strlen(row->format);
  uint64_t odd = 4 + below(r, 12); /* one argument in so many is of another kind */
  for (size_t i = 0; i < 6; i++) a[i] = i >= known || below(r, odd) == 0 ? argument(r) : fitting(r, row->format[i]);
  tame(r, number, a);
  inside = 1;
  if (sigsetjmp(again, 1) == 0) {
    if (below(r, 8) == 0) fill(r, arena + 8 * below(r, ARENA / 8 - 64), 512);
    kernel_call(number, a);
  } else lay_arena();
  inside = 0;
  __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED);
}

struct worker {
  pthread_t thread;
  volatile int tid;
  uint64_t seed;
};

static void *work(void *argument) {
  struct worker *w = argument;
  struct random r = {w->seed};
  w->tid = (int)syscall(SYS_gettid);
  while (made < wanted) call_once(&r);
  w->tid = 0;
  return NULL;
}

static struct worker workers[4 * THREADS];
static int started;

static void start_worker(uint64_t seed) {
  struct worker *w = &workers[started];
  if (started == sizeof workers / sizeof workers[0]) return;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK);
  w->seed = seed * 0x9e3779b97f4a7c15ull + (uint64_t)started * 77 + 1;
  if (pthread_create(&w->thread, &attributes, work, w) == 0) started++;
}

static void catch_signals(void) {
  for (int signal = 1; signal < 65; signal++) {
    int fault = signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE || signal == SIGTRAP;
    struct sigaction action = {.sa_sigaction = fault ? on_fault : on_signal, .sa_flags = SA_NODEFER | SA_SIGINFO};
    sigaction(signal, &action, NULL);
  }
}

/* Wakes whoever waits, and starts others where somebody waits for ever. True: all calls were made. */
static int drive(uint64_t seed) {
  uint64_t before = 0;
  int still = 0;
  for (int round = 0; made < wanted; round++) {
    struct timespec a_while = {0, 1000000};
    syscall(SYS_nanosleep, &a_while, NULL);
    for (int i = 0; i < started; i++)
      if (workers[i].tid != 0) syscall(SYS_tgkill, syscall(SYS_getpid), workers[i].tid, SIGUSR1);
    if (round % 16 == 0) lay_arena(), give_descriptors();
    if (round % 256 == 0) syscall(SYS_close_range, 3, ~0u, 0), catch_signals();
    still = made == before ? still + 1 : 0;
    before = made;
    if (still > 0 && still % 100 == 0) start_worker(seed);
    if (still > 3000) return 0;
  }
  return 1;
}

static void *answer(void *argument) { return (char *)argument + 1; }

/* The kernel does what it did before. */
static int works(void) {
  char text[8] = {0}, path[] = "/tmp/works";
  int pair[2];
  void *result;
  pthread_t thread;
  struct timespec before, after, a_while = {0, 1000000};
  syscall(SYS_close_range, 3, ~0u, 0);
  if (syscall(SYS_pipe2, pair, 0) != 0 || write(pair[1], "abc", 3) != 3 || read(pair[0], text, 8) != 3) return 0;
  void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || *(uint64_t *)page != 0) return 0;
  clock_gettime(CLOCK_MONOTONIC, &before);
  nanosleep(&a_while, NULL);
  clock_gettime(CLOCK_MONOTONIC, &after);
  if (after.tv_sec == before.tv_sec && after.tv_nsec <= before.tv_nsec) return 0;
  if (pthread_create(&thread, NULL, answer, path) != 0 || pthread_join(thread, &result) != 0) return 0;
  return result == path + 1 && memcmp(text, "abc", 3) == 0;
}

static int in_guest(void) {
  struct utsname system;
  return uname(&system) == 0 && strstr(system.release, "-mayfly") != NULL;
}

int main(int argc, char **argv) {
  if (!in_guest()) return NOT_HERE;
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
  wanted = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000;
  arena = mmap(NULL, ARENA + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct random r = {seed * 0x9e3779b97f4a7c15ull + 99};
  catch_signals();
  lay_arena();
  fill(&r, arena, ARENA);
  give_descriptors();
  for (int i = 0; i < THREADS; i++) start_worker(seed);
  if (!drive(seed)) _exit(SLOW);
  _exit(works() ? OK : BROKEN);
}
