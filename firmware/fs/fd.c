/* fs/fd.c: the descriptor table. There is one process, so there is one table. */
#include "exec.h"
#include "inode.h"

#define WORD_BITS 64

static struct file *files[FD_MAX];
static u64 used[FD_MAX / WORD_BITS]; /* a set bit: the descriptor is open */
static u64 cloexec[FD_MAX / WORD_BITS];

static bool in_range(int fd) { return fd >= 0 && fd < FD_MAX; }

static void set_bit(u64 *bits, int fd, bool on) {
  u64 bit = 1ull << fd % WORD_BITS;
  bits[fd / WORD_BITS] = on ? bits[fd / WORD_BITS] | bit : bits[fd / WORD_BITS] & ~bit;
}

/* The lowest descriptor >= from whose used bit is `open`, or -1. */
static int scan(int from, bool open) {
  for (int word = from / WORD_BITS; in_range(from) && word < FD_MAX / WORD_BITS; word++) {
    u64 bits = open ? used[word] : ~used[word];
    if (word == from / WORD_BITS) bits &= ~0ull << from % WORD_BITS;
    if (bits != 0) return word * WORD_BITS + __builtin_ctzll(bits);
  }
  return -1;
}

struct file *fd_get(int fd) {
  return in_range(fd) ? files[fd] : NULL;
}

static void put_at(int fd, struct file *f, bool close_on_exec) {
  files[fd] = f;
  set_bit(used, fd, true);
  set_bit(cloexec, fd, close_on_exec);
}

int fd_install(struct file *f, int from, bool close_on_exec) {
  int fd = scan(from, false);
  if (fd < 0 || (u64)fd >= fd_limit()) {
    file_put(f);
    return -EMFILE;
  }
  put_at(fd, f, close_on_exec);
  return fd;
}

int fd_close(int fd) {
  struct file *f = fd_get(fd);
  if (f == NULL) return -EBADF;
  files[fd] = NULL;
  set_bit(used, fd, false);
  locks_process_closed(f->inode);
  file_put(f);
  return 0;
}

i64 fd_replace(int fd, struct file *f, bool close_on_exec) {
  if (!in_range(fd) || (u64)fd >= fd_limit()) {
    file_put(f);
    return -EBADF;
  }
  struct file *old = files[fd];
  put_at(fd, f, close_on_exec);
  if (old != NULL) locks_process_closed(old->inode);
  file_put(old);
  return fd;
}

bool fd_cloexec(int fd) { return cloexec[fd / WORD_BITS] >> fd % WORD_BITS & 1; }

void fd_set_cloexec(int fd, bool on) { set_bit(cloexec, fd, on); }

void fd_exec(void) {
  for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1))
    if (fd_cloexec(fd)) fd_close(fd);
}

int fd_next(int from) { return scan(from, true); }

void fd_init(void) {
  static const struct {
    const struct file_ops *ops;
    u32 flags;
  } console[] = {{&console_stdin_ops, O_RDONLY}, {&console_stdout_ops, O_WRONLY}, {&console_stderr_ops, O_WRONLY}};
  for (u32 i = 0; i < COUNT(console); i++) {
    struct file *f = file_new(console[i].ops, NULL, console[i].flags, "console");
    ASSERT(f != NULL);
    fd_install(f, 0, false);
  }
}
