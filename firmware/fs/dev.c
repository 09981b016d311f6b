/* fs/dev.c: /dev. /dev/vsock/CID/PORT is a stream to the host: opening it connects. */
#include "arch.h"
#include "inode.h"

static u32 rdev(u32 major, u32 minor) { return major << 8 | minor; }

static ssize_t read_nothing(struct file *f, void *buf, size_t n, off_t *pos) { return 0; }

static ssize_t read_zeroes(struct file *f, void *buf, size_t n, off_t *pos) {
  memset(buf, 0, n);
  return (ssize_t)n;
}

static ssize_t read_random(struct file *f, void *buf, size_t n, off_t *pos) {
  random_fill(buf, n);
  return (ssize_t)n;
}

static ssize_t write_away(struct file *f, const void *buf, size_t n, off_t *pos) { return (ssize_t)n; }

static ssize_t write_full(struct file *f, const void *buf, size_t n, off_t *pos) { return n == 0 ? 0 : -ENOSPC; }

/* The first read takes a checkpoint; the text that it leaves tells which side of it we are on. */
static ssize_t read_checkpoint(struct file *f, void *buf, size_t n, off_t *pos) {
  struct text *side = &((struct opening *)f->state)->text;
  if (side->size == 0) text_print(side, checkpoint() ? "clone\n" : "original\n");
  return side->failed ? -ENOMEM : text_read(f, buf, n, pos);
}

/* The number of this life: another one in each clone and after each rewind. */
static ssize_t read_generation(struct file *f, void *buf, size_t n, off_t *pos) {
  char text[18];
  size_t size = (size_t)snprint(text, sizeof text, "%016lx\n", SHARED->generation);
  if (*pos < 0 || (size_t)*pos >= size) return 0;
  n = MIN(n, size - (size_t)*pos);
  memcpy(buf, text + *pos, n);
  *pos += (off_t)n;
  return (ssize_t)n;
}

static const struct file_ops null_file = {.read = read_nothing, .write = write_away};
static const struct file_ops zero_file = {.read = read_zeroes, .write = write_away};
static const struct file_ops full_file = {.read = read_zeroes, .write = write_full};
static const struct file_ops random_file = {.read = read_random, .write = write_away};

static const struct file_ops checkpoint_file = {.read = read_checkpoint};
static const struct file_ops generation_file = {.read = read_generation};

static const struct inode_ops null_ops = {.file = &null_file};
static const struct inode_ops zero_ops = {.file = &zero_file};
static const struct inode_ops full_ops = {.file = &full_file};
static const struct inode_ops random_ops = {.file = &random_file};
static const struct inode_ops checkpoint_ops = {.file = &checkpoint_file};
static const struct inode_ops generation_ops = {.file = &generation_file};
static const struct inode_ops tty_ops = {0}; /* no terminal: opening answers ENXIO */

static const struct {
  const char *name;
  u32 mode, major, minor;
  const struct inode_ops *ops;
} devices[] = {
    {"null", 0666, 1, 3, &null_ops},     {"zero", 0666, 1, 5, &zero_ops},      {"full", 0666, 1, 7, &full_ops},
    {"random", 0666, 1, 8, &random_ops}, {"urandom", 0666, 1, 9, &random_ops}, {"tty", 0666, 5, 0, &tty_ops},
    {"checkpoint", 0444, 10, 1, &checkpoint_ops},
    {"generation", 0444, 10, 2, &generation_ops},
};

/* ---- vsock --------------------------------------------------------------------------------- */

static struct file *vsock_open(struct inode *inode, u32 flags, i64 *error) {
  u32 cid = (u32)(inode->special.number >> 32), port = (u32)inode->special.number;
  if ((flags & O_ACCMODE) != O_RDWR) {
    *error = -EINVAL;
    return NULL;
  }
  return vsock_connect(cid, port, flags, error);
}

static const struct inode_ops port_ops = {.open = vsock_open};

/* Every number is a name here, so dentries are made anew each time and not kept in the tree. */
static struct dentry *number_lookup(struct dentry *dir, const char *name, size_t n, u32 mode,
                                    const struct inode_ops *ops, u64 high, i64 *error) {
  u64 number;
  if (!parse_number(name, n, &number) || number > 0xffffffff) return NULL;
  *error = -ENOMEM;
  struct inode *inode = inode_new(DEV_DEV, mode, ops);
  if (inode == NULL) return NULL;
  if (is_dir(inode)) { /* whose other fields hold its names */
    inode->rdev = number;
  } else {
    inode->rdev = rdev(10, 0);
    inode->special.number = high << 32 | number;
  }
  return dentry_new(dir, name, n, inode);
}

static struct dentry *port_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  return number_lookup(dir, name, n, S_IFCHR | 0666, &port_ops, dir->inode->rdev, error);
}

static const struct inode_ops cid_ops = {.lookup = port_lookup, .frozen = true};

static struct dentry *cid_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  return number_lookup(dir, name, n, S_IFDIR | 0555, &cid_ops, 0, error);
}

static const struct inode_ops vsock_ops = {.lookup = cid_lookup, .frozen = true};
static const struct inode_ops dev_ops = {0};

void dev_mount(void) {
  struct dentry *dev = tree_dir(root_dentry, "dev", DEV_DEV, &dev_ops);
  for (u32 i = 0; i < COUNT(devices); i++) {
    struct dentry *d = tree_file(dev, devices[i].name, S_IFCHR | devices[i].mode, devices[i].ops);
    d->inode->rdev = rdev(devices[i].major, devices[i].minor);
  }
  tree_link(dev, "stdin", "/proc/self/fd/0");
  tree_link(dev, "stdout", "/proc/self/fd/1");
  tree_link(dev, "stderr", "/proc/self/fd/2");
  tree_link(dev, "fd", "/proc/self/fd");
  tree_dir(dev, "shm", DEV_SHM, &dev_ops)->inode->mode = S_IFDIR | 01777;
  tree_dir(dev, "vsock", DEV_DEV, &vsock_ops);
}
