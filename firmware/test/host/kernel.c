/* The guest kernel's neighbours of fs/, played by the host: memory from malloc, one thread, a fixed
 * clock. Tests call kernel_call(), or the functions of fs/inode.h directly. */
#include "exec.h"
#include "kernel.h"
#include "../../fs/inode.h"
#include "arch.h"
#include "identity.h"
#include "interval.h"
#include "mm.h"
#include "sched.h"
#include "signal.h"
#include "syscall.h"
#include "thread.h"

void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void *aligned_alloc(size_t, size_t);
void free(void *);
int vsnprintf(char *, size_t, const char *, va_list);
int vprintf(const char *, va_list);
_Noreturn void abort(void);

bool no_new_privileges;
u64 thread_cpu_time(const struct thread *t) { return 0; }
u64 process_cpu_time(void) { return 0; }
void interval_start(struct interval_timer *t, u64 deadline, u64 interval) {}
void interval_stop(struct interval_timer *t) {}
u64 interval_now(const struct interval_timer *t) { return 0; }
struct thread *processor_user(int signal) { return NULL; }
struct action signal_actions[SIGNALS + 1];
u64 signals_pending(const struct thread *t) { return 0; }
void proc_net_mount(struct dentry *process) {}
i64 signal_queue(struct thread *t, const struct siginfo *info) { return 0; }

u64 pages_left = 1 << 16;
u64 pages_used;
int signals_sent;
u8 vdso_start[1], vdso_end[1];

/* Every allocation may fail: about one in `fail_one_in`, when that is set. */
u32 fail_one_in;
static bool fails(void) {
  static u32 state = 12345;
  state = state * 1664525 + 1013904223;
  return fail_one_in != 0 && (state >> 8) % fail_one_in == 0;
}

void *kmalloc(size_t n) { return fails() ? NULL : malloc(n); }
void *kzalloc(size_t n) { return fails() ? NULL : calloc(1, n); }
void *krealloc(void *p, size_t n) { return fails() ? NULL : realloc(p, n); }
void kfree(void *p) { free(p); }

void *page_alloc(unsigned order) {
  if (pages_left == 0 || fails()) return NULL;
  pages_left--;
  pages_used++;
  void *page = aligned_alloc(PAGE, PAGE << order);
  memset(page, 0xa5, PAGE << order);
  return page;
}

void page_free(void *p, unsigned order) {
  pages_left++;
  pages_used--;
  free(p);
}

u64 frames_total(void) { return 256 * MiB; }
u64 frames_free(void) { return pages_left * PAGE; }

int vsnprint(char *to, size_t size, const char *format, va_list args) { return vsnprintf(to, size, format, args); }

int snprint(char *to, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(to, size, format, args);
  va_end(args);
  return n;
}

void kprint(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
}

_Noreturn void panic(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  abort();
}

void random_fill(void *to, size_t n) { memset(to, 0x5a, n); }
u64 clock_mono(void) { return 5 * NS_PER_SEC; }

u64 clock_wall(void) {
  static u64 now = 1700000000 * NS_PER_SEC;
  return now += 1000;
}

/* Low addresses are bad pointers, as in a real address space. */
bool user_readable(u64 address, u64 size) { return size == 0 || address >= 65536; }
bool user_writable(u64 address, u64 size) { return user_readable(address, size); }

ssize_t user_strlen(u64 address, size_t max) {
  if (address < 65536) return -EFAULT;
  size_t n = strnlen((const char *)address, max + 1);
  return n > max ? -ENAMETOOLONG : (ssize_t)n;
}

const struct vma *space_list(size_t *count) {
  static const struct vma list[] = {{0x400000, 0x402000, PROT_READ | PROT_EXEC, MAP_PRIVATE, NULL, 0}};
  *count = 1;
  return list;
}
void space_file_shrunk(struct inode *of) { (void)of; }
struct start started;
u64 brk_start = 0x600000, brk_end = 0x700000, stack_top;

static struct list threads = LIST_INIT(threads);
static struct thread only = {.tid = 77, .name = "test"};
struct thread *current = &only;
struct thread *leader(void) {
  return &only;
}
struct thread *thread_find(int tid) {
  return tid == only.tid ? &only : NULL;
}
int thread_count(void) { return 1; }
int process_id(void) { return 77; }
bool checkpoint(void) { return false; }
void signal_send(struct thread *t, int signal) { signals_sent++; }

int sleep_on(struct wait_queue *q, u64 deadline) { return -EINTR; } /* nobody could wake us */
int wake(struct wait_queue *q, u32 events) { return 0; }

const struct file_ops console_stdin_ops, console_stdout_ops, console_stderr_ops;
struct file *vsock_connect(u32 cid, u32 port, u32 flags, i64 *error) {
  *error = cid == 2 && port == 1024 ? -ECONNREFUSED : -ENODEV;
  return NULL;
}

long kernel_call(long number, const u64 *a) {
  static const struct {
    long number;
    syscall_fn *fn;
  } table[] = {
#define SYSCALL(number, name, format, support, missing) {number, sys_##name},
#include "../../syscall/file.def"
#undef SYSCALL
  };
  for (size_t i = 0; i < COUNT(table); i++)
    if (table[i].number == number) return table[i].fn(a);
  return -ENOSYS;
}

void kernel_start(void *const *images, const u64 *sizes, u64 count, const char *cwd) {
  struct boot *boot = (struct boot *)(WINDOW_VA + BOOT_GPA);
  char *strings = (char *)(WINDOW_VA + STRINGS_GPA);
  list_push(&threads, &only.all);
  map_at(WINDOW_VA, 4 * MiB);
  u64 at = 0;
  for (u64 i = 0; i < count; i++) {
    map_at(IMAGE_VA + at, ALIGN_UP(sizes[i], PAGE));
    memcpy((void *)(IMAGE_VA + at), images[i], sizes[i]);
    boot->image_gpa[i] = IMAGE_GPA + at;
    boot->image_size[i] = sizes[i];
    at += ALIGN_UP(sizes[i], BLOCK) + BLOCK;
  }
  boot->image_count = count;
  memcpy(strings, "prog\0arg\0HOME=/\0/prog", 22);
  boot->argc = 2;
  boot->envc = 1;
  boot->execfn = 16;
  boot->cwd = 64;
  boot->strings_size = 128;
  memcpy(strings + 64, cwd, strlen(cwd) + 1);
  started = (struct start){strings, boot->strings_size, boot->argc, boot->envc, boot->execfn};
  fs_init();
  fd_init();
}

/* There is no epoll here. */
void epoll_forget(struct file *f) { (void)f; }
