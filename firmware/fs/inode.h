/* fs/inode.h: what the file layer is made of. Private to fs/ and to the system calls on files.
 *
 *   struct dentry    a name in the one tree      (made at the first lookup, then kept)
 *   struct inode     what the name stands for    (shared by hard links and open files)
 *   struct opening   what an open file adds      (its name; a listing or a generated text)
 *
 * The tree starts as a view of the image layers. A lookup makes a dentry and an inode from the
 * topmost layer that has the name; from then on memory is the truth: changed attributes live in the
 * inode, written pages lie over the image's bytes, new names are dentries without a layer behind
 * them, and a removed name that a layer still has stays as a dentry without an inode (a whiteout).
 * Nothing here sleeps, so each operation is atomic. */
#pragma once
#include "errno.h"
#include "file.h"
#include "identity.h"
#include "lib.h"
#include "list.h"

#define LAYERS_MAX 16
#define LINKS_MAX 40 /* symbolic links followed in one walk */
#define FILE_SIZE_MAX 0x7fffffffffffffffll

/* st_dev of each part of the tree. */
enum { DEV_ROOT = 1, DEV_PROC, DEV_DEV, DEV_SYS, DEV_SHM, DEV_ANONYMOUS };

struct dentry;
struct inode;
struct image;

/* A growing string: generated files, listings. `failed` is set when memory was short. */
struct text {
  char *data;
  size_t size, capacity;
  bool failed;
};
void text_add(struct text *t, const void *bytes, size_t n);
void text_print(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Either packs linux_dirent64 records into text, or (text NULL) stops at the first name. */
struct listing {
  struct text *text;
  bool found;
  const struct inode *dir; /* while layers are read: */
  u32 layer;
  i64 error;
};

/* A directory in one image; a merged directory has several, the topmost first. */
struct source {
  const struct image *image;
  u64 nid;
};

/* Pages are found in chunks, so that a grown file copies little and a one-page file stays small. */
#define CHUNK_PAGES 64
struct chunk {
  void *pages[CHUNK_PAGES]; /* NULL: the image's bytes, or a hole */
};

/* The bytes of a regular file: pages in memory over the bytes of an image over zeroes. */
struct content {
  const u8 *plain; /* the image's first plain_size bytes ... */
  u64 plain_size;
  const u8 *tail; /* ... and what follows them, up to base_size */
  u64 base_size;  /* bytes of the image that still count; truncation lowers it */
  struct chunk **chunks;
  u64 chunk_count;
  u64 page_count; /* pages in memory, for st_blocks */
};

struct inode_ops {
  /* Directories. lookup finds a name that the tree does not hold (yet): a new reference, or NULL
     * and *error. list adds such names. */
  struct dentry *(*lookup)(struct dentry *dir, const char *name, size_t n, i64 *error);
  i64 (*list)(struct inode *dir, struct listing *out);
  bool frozen; /* the program can neither add nor remove names */

  /* Symbolic links whose target is not inode->target: the text, and where it really leads. */
  void (*readlink)(struct inode *inode, struct text *out);
  struct dentry *(*follow)(struct inode *inode, i64 *error);

  /* Opening. file: the operations of open files. generate: the text that they read.
     * open: the open file is another object altogether. */
  const struct file_ops *file;
  void (*generate)(struct inode *inode, struct text *out);
  struct file *(*open)(struct inode *inode, u32 flags, i64 *error);
  void (*release)(struct inode *inode);
};

struct inode {
  int refs;
  u32 dev;  /* DEV_* */
  u32 mode; /* S_IF* and permissions */
  u32 nlink, uid, gid;
  u32 mappings; /* shared ones, of its pages */
  u64 ino, size, rdev;
  u64 atime, mtime, ctime; /* ns since 1970 */
  const struct inode_ops *ops;
  struct list xattrs;       /* fs/xattr.c; zero = none */
  struct locks *locks;      /* fs/locks.c; NULL: none yet */
  struct inode *cache_next; /* image inodes with several names: one inode for all of them */
  union {
    struct content content; /* regular files */
    char *target;           /* symbolic links, NUL-terminated */
    struct {
      struct list children; /* dentries by their siblings link, whiteouts too */
      struct source *sources;
      u32 source_count;
    } dir;
    struct {
      u64 number; /* made-up files: a descriptor, a thread, a port ... */
      void *data;
    } special;
  };
};

static inline bool is_dir(const struct inode *i) { return (i->mode & S_IFMT) == S_IFDIR; }
static inline bool is_regular(const struct inode *i) { return (i->mode & S_IFMT) == S_IFREG; }
static inline bool is_link(const struct inode *i) { return (i->mode & S_IFMT) == S_IFLNK; }

struct dentry {
  int refs;
  bool hashed; /* in the tree, which then holds one reference */
  u8 name_size;
  u32 hash;
  struct dentry *parent; /* a reference; the root is its own parent */
  struct dentry *hash_next;
  struct list siblings;
  struct inode *inode; /* a reference; NULL: a whiteout */
  char *name;          /* NUL-terminated */
};

/* What f->state is when f->inode is set. */
struct opening {
  struct dentry *dentry;
  struct text text; /* a directory's packed dirents, or the generated text */
};

/* fs/open.c: from the text of the opening */
ssize_t text_read(struct file *f, void *buf, size_t n, off_t *pos);

/* fs/inode.c */
extern const struct inode_ops regular_ops, link_ops, directory_ops, node_ops;
struct inode *inode_new(u32 dev, u32 mode, const struct inode_ops *ops); /* refs = 1, nlink = 1 */
struct inode *inode_get(struct inode *inode);
void inode_put(struct inode *inode);
void inode_changed(struct inode *inode);  /* ctime */
void inode_modified(struct inode *inode); /* mtime and ctime */
struct inode *inode_link(u32 dev, const char *target, size_t n);

/* fs/permission.c: 0, -EACCES or -EPERM */
enum { MAY_EXECUTE = 1, MAY_WRITE = 2, MAY_READ = 4 };
i64 inode_denied(const struct inode *inode, u32 wanted);
static inline i64 inode_permission(const struct inode *inode, u32 wanted) {
  if (capable(CAP_DAC_OVERRIDE) && (is_dir(inode) || !(wanted & MAY_EXECUTE))) return 0; /* root's every step asks this */
  return inode_denied(inode, wanted);
}
i64 inode_removable(const struct inode *dir, const struct inode *inode); /* its name in dir */
i64 inode_extendable(const struct inode *dir);                           /* by a new name */
bool inode_owned(const struct inode *inode);                             /* its mode and times may be changed */
struct inode *inode_new_in(const struct inode *dir, u32 mode, const struct inode_ops *ops);

/* fs/dentry.c */
extern struct dentry *root_dentry;
struct dentry *dentry_get(struct dentry *d);
void dentry_put(struct dentry *d); /* NULL is fine */
/* A dentry outside the tree; takes over the inode's reference also when it fails (NULL). */
struct dentry *dentry_new(struct dentry *parent, const char *name, size_t n, struct inode *inode);
void dentry_attach(struct dentry *d); /* into the tree, which takes a reference of its own */
void dentry_detach(struct dentry *d); /* out of it */
struct dentry *dentry_find(const struct inode *dir, const char *name, size_t n); /* borrowed, may be a whiteout */
bool dentry_set_name(struct dentry *d, const char *name, size_t n);
void dentry_set_parent(struct dentry *d, struct dentry *parent);
bool dentry_within(const struct dentry *d, const struct dentry *ancestor);
/* The path of d into buffer[0..size), NUL-terminated; its length without the NUL, or -ERANGE. */
ssize_t dentry_path(const struct dentry *d, char *buffer, size_t size);

/* fs/directory.c */
struct dentry *directory_lookup(struct dentry *dir, const char *name, size_t n, i64 *error); /* a reference */
bool directory_empty(struct inode *dir);
ssize_t directory_getdents(struct file *f, void *buf, size_t n);
bool listing_add(struct listing *l, const char *name, size_t n, u64 ino, u32 mode); /* false: enough */

/* fs/entries.c */
i64 directory_add(struct dentry *dir, const char *name, size_t n, struct inode *inode);
i64 directory_remove(struct dentry *entry);
i64 directory_rename(struct dentry *entry, struct dentry *dir, const char *name, size_t n, struct dentry *old);
i64 directory_exchange(struct dentry *a, struct dentry *b);

/* fs/layers.c */
i64 layers_mount(const struct source *sources, u32 count); /* makes the root from the layers, topmost first */
bool layers_have(const struct inode *dir, const char *name, size_t n);
void layers_drop_shared(struct inode *inode); /* its last name is gone */

/* fs/regular.c */
ssize_t content_read(const struct inode *inode, void *buf, size_t n, u64 pos);
ssize_t content_write(struct inode *inode, const void *buf, size_t n, u64 pos);
i64 content_truncate(struct inode *inode, u64 size);
i64 content_seek(const struct inode *inode, u64 pos, bool data); /* the next byte that is (not) in a hole */
i64 content_clear(struct inode *inode, u64 start, u64 end);      /* reads as zero from now on */
void content_free(struct inode *inode);

/* fs/path.c */
enum {
  WALK_FOLLOW = 1,
  WALK_PARENT = 2,
  WALK_CREATE = 4, /* a slash after the last name is EISDIR */
  /* openat2's restrictions */
  WALK_ONE_DEVICE = 8,
  WALK_NO_MAGIC = 16,
  WALK_NO_LINKS = 32,
  WALK_BENEATH = 64,
  WALK_IN_ROOT = 128,
  WALK_RESOLVE = WALK_ONE_DEVICE | WALK_NO_MAGIC | WALK_NO_LINKS | WALK_BENEATH | WALK_IN_ROOT,
};
/* Where a path leads. With WALK_PARENT the last name need not exist (entry NULL). */
struct place {
  struct dentry *dir; /* directory of the last name; NULL when the path ends in /, . or .. */
  struct dentry *entry;
  const char *name;
  size_t name_size;
  bool slash; /* the path ended with a slash */
  bool dots;  /* the last component was . or .., or the path was just / */
};
i64 path_walk(int dirfd, const char *path, u32 how, struct place *out);
void place_put(struct place *p);
/* The dentry a path leads to (a reference), or NULL and *error. */
struct dentry *path_entry(int dirfd, const char *path, u32 how, i64 *error);
struct dentry *file_dentry(const struct file *f); /* borrowed; NULL for pipes, sockets ... */
struct dentry *cwd_dentry(void);
void cwd_set(struct dentry *d);
struct dentry *process_root(void);
void process_root_set(struct dentry *d);

/* fs/open.c */
struct file *open_at(int dirfd, const char *path, u32 flags, u32 mode, u32 resolve, i64 *error); /* WALK_RESOLVE */
struct file *open_dentry(struct dentry *d, u32 flags, i64 *error);                       /* keeps its own reference */
struct file *open_anonymous(u32 dev, const char *name, u32 flags, u32 mode, i64 *error); /* no name in the tree */
/* A dentry outside the tree that stands for an open file: where /proc/self/fd/N leads. */
struct dentry *dentry_of_file(struct file *f, i64 *error);
extern const struct file_ops text_file_ops, regular_file_ops;
extern u32 fs_umask;
/* What fstat tells about a file without an inode. */
u32 file_mode(const struct file *f);
u64 file_number(const struct file *f);
void file_name(const struct file *f, struct text *out); /* path, or "pipe:[7]" */
void dentry_text(const struct dentry *d, struct text *out); /* its path, and whether it is gone */

/* syscall/limits.c */
u64 fd_limit(void); /* RLIMIT_NOFILE: new descriptors are below it */

/* fs/fd.c */
bool fd_cloexec(int fd);
void fd_set_cloexec(int fd, bool on);
i64 fd_replace(int fd, struct file *f, bool cloexec); /* dup2: takes over the reference */
int fd_next(int from);                                /* lowest open descriptor >= from, or -1 */

/* fs/erofs.c */
struct image_inode {
  u64 nid, size, rdev, mtime;
  u32 mode, nlink, uid, gid;
  const u8 *plain, *tail; /* data: plain_size bytes here, the rest there */
  u64 plain_size;
  bool opaque; /* a directory that hides what the layers below have */
};
typedef bool image_visit(void *to, const char *name, size_t n, u64 nid, u8 type);
struct image *image_open(const void *data, u64 size, u32 layer); /* NULL: not an EROFS image we can read */
u64 image_root(const struct image *image);
u32 image_layer(const struct image *image);
i64 image_inode(const struct image *image, u64 nid, struct image_inode *out);             /* -EIO */
i64 image_find(const struct image *image, u64 dir, const char *name, size_t n, u64 *nid); /* -ENOENT, -EIO */
i64 image_list(const struct image *image, u64 dir, image_visit *visit, void *to);

/* fs/xattr.c: names are NUL-terminated; the caller has checked them */
enum { XATTR_CREATE = 1, XATTR_REPLACE = 2 };
i64 xattr_set(struct inode *inode, const char *name, const void *value, size_t size, u32 flags);
i64 xattr_get(const struct inode *inode, const char *name, const void **value); /* its size */
i64 xattr_remove(struct inode *inode, const char *name);
void xattr_list(const struct inode *inode, struct text *out); /* each with its NUL */
void xattr_free(struct inode *inode);

/* fs/locks.c */
enum { F_RDLCK, F_WRLCK, F_UNLCK };
struct lock {
  const struct file *owner; /* NULL: the process */
  bool whole;               /* flock's, from 0 to FILE_SIZE_MAX */
  i32 type;
  i64 start, end; /* both within */
};
bool lock_find(const struct file *f, struct lock *wanted); /* what is in its way, into it */
i64 lock_set(struct file *f, const struct lock *wanted, bool wait);
void locks_process_closed(struct inode *inode); /* a descriptor of it: the process's go */
void locks_file_closed(const struct file *f);   /* and those of an open file with its last reference */
void locks_free(struct inode *inode);
void locks_print(const struct inode *inode, int *number, struct text *out); /* lines of /proc/locks */

/* fs/pipe.c */
i64 pipe_new(u32 flags, struct file *ends[2]);
enum { PIPE_NEITHER, PIPE_READ_END, PIPE_WRITE_END };
int pipe_end(const struct file *f);
bool pipe_same(const struct file *a, const struct file *b); /* two ends of one pipe */
ssize_t pipe_wait_data(struct file *f, bool nonblock);      /* bytes there; 0: the end; or -errno */
ssize_t pipe_wait_room(struct file *f, bool nonblock);      /* bytes that fit, or -errno */
size_t pipe_peek(const struct file *f, void *to, size_t n); /* copies; the bytes stay */
void pipe_discard(struct file *f, size_t n);
/* fs/inotify.c */
struct file *inotify_new(u32 flags);
int inotify_watch(struct file *f); /* a watch number, or -EINVAL: not an inotify file */

/* fs/tree.c: made-up directories and files */
struct dentry *tree_dir(struct dentry *parent, const char *name, u32 dev, const struct inode_ops *ops);
struct dentry *tree_file(struct dentry *parent, const char *name, u32 mode, const struct inode_ops *ops);
struct dentry *tree_text(struct dentry *parent, const char *name, const char *text);
struct dentry *tree_link(struct dentry *parent, const char *name, const char *target);
extern const struct inode_ops fixed_dir_ops;            /* frozen, nothing but what is in the tree */
bool parse_number(const char *s, size_t n, u64 *value); /* decimal, no sign, no leading zero */
void proc_mount(void);
extern const struct inode_ops proc_ops; /* fs/proc_self.c: knows the process's directory by its number */
void proc_self_mount(struct dentry *proc);
void proc_net_mount(struct dentry *process); /* net/proc_net.c */
extern const struct inode_ops proc_cmdline_ops, proc_environ_ops, proc_maps_ops, proc_statm_ops, proc_mounts_ops,
    proc_mountinfo_ops, proc_cgroup_ops, proc_limits_ops, proc_oom_ops, proc_stat_ops, proc_status_ops, proc_comm_ops,
    proc_auxv_ops, proc_smaps_ops, proc_smaps_rollup_ops, proc_fdinfo_ops, proc_io_ops, proc_loginuid_ops,
    proc_id_map_ops, proc_wchan_ops, proc_schedstat_ops, proc_children_ops, proc_personality_ops, proc_timerslack_ops,
    proc_coredump_ops, proc_setgroups_ops, proc_cpuset_ops, proc_mountstats_ops;
void proc_start(void);                   /* fs/proc_text.c: the program's age counts from now */
void proc_set_program(struct dentry *d); /* where /proc/self/exe leads; keeps its own reference */
bool inode_runs(const struct inode *inode); /* it is that program: nobody may write to it (ETXTBSY) */
void dev_mount(void);
void sysfs_mount(void);
extern const struct inode_ops random_uuid_ops, boot_id_ops, machine_id_ops; /* fs/ids.c */
void etc_mount(void);                                       /* fs/etc.c */
