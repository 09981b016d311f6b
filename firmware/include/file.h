/* fs/: inodes, open files, descriptors, paths. */
#pragma once
#include "sched.h"
#include "types.h"

enum {
  O_RDONLY = 0,
  O_WRONLY = 1,
  O_RDWR = 2,
  O_ACCMODE = 3,
  O_CREAT = 0100,
  O_EXCL = 0200,
  O_NOCTTY = 0400,
  O_TRUNC = 01000,
  O_APPEND = 02000,
  O_NONBLOCK = 04000,
  O_DIRECTORY = 0200000,
  O_NOFOLLOW = 0400000,
  O_CLOEXEC = 02000000,
  O_PATH = 010000000,
  O_TMPFILE = 020200000,
};
enum { POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLNVAL = 32, POLLRDHUP = 0x2000 };
enum {
  S_IFMT = 0170000,
  S_IFSOCK = 0140000,
  S_IFLNK = 0120000,
  S_IFREG = 0100000,
  S_IFBLK = 0060000,
  S_IFDIR = 0040000,
  S_IFCHR = 0020000,
  S_IFIFO = 0010000,
  S_ISUID = 04000,
  S_ISGID = 02000,
  S_ISVTX = 01000
};
enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_EMPTY_PATH = 0x1000 };
enum { FIONREAD = 0x541b };
#define PATH_MAX 4096
#define NAME_MAX 255
#define FD_MAX 4096

struct file;

/* Operations of an open file. `buf` and other pointers are already-checked memory (user or kernel).
 * A missing operation answers EINVAL (read/write/seek ESPIPE), poll defaults to readable and writable.
 * read/write honour O_NONBLOCK in f->flags and sleep otherwise. */
struct file_ops {
  ssize_t (*read)(struct file *f, void *buf, size_t n, off_t *pos);
  ssize_t (*write)(struct file *f, const void *buf, size_t n, off_t *pos);
  u32 (*poll)(struct file *f);                 /* POLL* bits that are true now */
  struct wait_queue *(*queue)(struct file *f); /* woken when poll's answer may have changed; NULL = never */
  i64 (*ioctl)(struct file *f, u32 request, u64 arg);
  ssize_t (*getdents)(struct file *f, void *buf, size_t n);
  /* Pointer to n bytes of the file's data at offset if it lies contiguous in memory (images do), else NULL. */
  const void *(*data)(struct file *f, u64 offset, u64 n);
  void (*close)(struct file *f); /* last reference gone */
};

struct inode; /* fs/inode.h: private to fs/ */

struct file {
  int refs;
  u32 flags; /* O_* */
  off_t pos;
  const struct file_ops *ops;
  struct inode *inode; /* NULL for pipes, sockets, eventfd ... */
  void *state;         /* the object behind it */
  const char *kind;    /* "pipe", "eventfd", "socket", ...: for /proc/self/fd and strace */
  struct list watches; /* syscall/epoll.c: the epoll items on this file; zero = none */
};

/* fs/file.c */
struct file *file_new(const struct file_ops *ops, void *state, u32 flags,
                      const char *kind); /* refs = 1; NULL = no memory */
void file_ref(struct file *f);
void file_put(struct file *f);
/* syscall/epoll.c: removes the epoll items on f. file_put calls it before ops->close, while the wait queue is there. */
void epoll_forget(struct file *f);

/* fs/fd.c: one table, all threads share it */
struct file *fd_get(int fd); /* borrowed, NULL = EBADF. Take file_ref across a sleep. */
int fd_install(struct file *f, int from,
               bool cloexec); /* takes over the reference; lowest free fd >= from, or -EMFILE (reference dropped) */
int fd_close(int fd);
void fd_init(void); /* opens 0, 1, 2 on the console */

/* fs/path.c: for the ELF loader and the like; path is a kernel string */
struct file *file_open(const char *path, u32 flags, i64 *error); /* NULL and *error = -errno */
u64 file_size(struct file *f);
bool file_has_end(const struct file *f); /* a regular file: mappings end with it */
/* fs/regular.c: for shared mappings. The page of a regular file that all see; NULL: not in memory (make: no memory). */
void *file_page(struct file *f, u64 index, bool make);
void file_count_mapping(struct file *f, int change); /* shared mappings are told when pages go: space_file_shrunk */
ssize_t file_read_at(struct file *f, void *buf, size_t n, off_t pos);
i64 file_make_socket(const char *path);          /* for bind(): the name in the tree; -EADDRINUSE when it is taken */
void proc_own(void);                             /* /proc/PID belongs to the program's user */
void proc_set_auxv(const void *bytes, size_t n); /* what /proc/self/auxv tells */
ssize_t proc_program(char *path, size_t size);   /* where /proc/self/exe leads; its length, or -errno */
void fs_init(void);                              /* mounts images, tmpfs, proc, dev; working directory */

/* fs/proc_text.c: the text of /proc/PID/maps, until the next call; *size is 0 when memory is short. */
const char *proc_maps(size_t *size);

/* drivers/console.c */
void console_init(void);
extern const struct file_ops console_stdin_ops, console_stdout_ops, console_stderr_ops; /* state unused */
void console_write_early(const char *text, size_t n); /* to port 1, never sleeps: kprint's sink */

/* drivers/: polled from the scheduler whenever the VMM may have used a ring. Must not sleep. */
void devices_init(void);
void devices_poll(void);
/* net/vsock.c: a connected stream to the host: the file behind /dev/vsock/2/PORT */
struct file *vsock_connect(u32 cid, u32 port, u32 flags, i64 *error); /* sleeps until connected */
