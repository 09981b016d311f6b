/* fs/dentry.c: the tree of names. Names in it are found by a hash of (directory, name). */
#include "inode.h"

enum { FIRST_BUCKETS = 1024 };

struct dentry *root_dentry;

static struct dentry *first_buckets[FIRST_BUCKETS];
static struct dentry **buckets = first_buckets;
static u32 bucket_count = FIRST_BUCKETS; /* a power of two */
static u32 hashed_count;

static u32 hash_name(const struct inode *dir, const char *name, size_t n) {
  u64 hash = (u64)dir >> 4;
  for (size_t i = 0; i < n; i++) hash = (hash ^ (u8)name[i]) * 0x100000001b3ull;
  return (u32)(hash ^ hash >> 32);
}

/* Keeps chains at about one entry. Growing is a convenience: without memory the chains get longer.
 */
static void grow_buckets(void) {
  u32 count = 2 * bucket_count;
  struct dentry **grown = kzalloc(count * sizeof(*grown));
  if (grown == NULL) return;
  for (u32 i = 0; i < bucket_count; i++) {
    struct dentry *next;
    for (struct dentry *d = buckets[i]; d != NULL; d = next) {
      next = d->hash_next;
      d->hash_next = grown[d->hash & (count - 1)];
      grown[d->hash & (count - 1)] = d;
    }
  }
  if (buckets != first_buckets) kfree(buckets);
  buckets = grown;
  bucket_count = count;
}

struct dentry *dentry_get(struct dentry *d) {
  d->refs++;
  return d;
}

/* A loop and not a recursion: freeing a deep branch must not eat the kernel stack. */
void dentry_put(struct dentry *d) {
  while (d != NULL && --d->refs == 0) {
    struct dentry *parent = d->parent == d ? NULL : d->parent;
    inode_put(d->inode);
    kfree(d->name);
    kfree(d);
    d = parent;
  }
}

bool dentry_set_name(struct dentry *d, const char *name, size_t n) {
  char *copy = kmalloc(n + 1);
  if (copy == NULL) return false;
  memcpy(copy, name, n);
  copy[n] = '\0';
  kfree(d->name);
  d->name = copy;
  d->name_size = (u8)n;
  return true;
}

void dentry_set_parent(struct dentry *d, struct dentry *parent) {
  struct dentry *old = d->parent;
  d->parent = dentry_get(parent);
  dentry_put(old);
}

struct dentry *dentry_new(struct dentry *parent, const char *name, size_t n, struct inode *inode) {
  struct dentry *d = kzalloc(sizeof(*d));
  if (d == NULL || n > NAME_MAX || !dentry_set_name(d, name, n)) {
    kfree(d);
    inode_put(inode);
    return NULL;
  }
  d->refs = 1;
  d->inode = inode;
  d->parent = parent == NULL ? d : dentry_get(parent);
  list_init(&d->siblings);
  return d;
}

void dentry_attach(struct dentry *d) {
  if (hashed_count >= bucket_count) grow_buckets();
  struct inode *dir = d->parent->inode;
  d->hash = hash_name(dir, d->name, d->name_size);
  d->hash_next = buckets[d->hash & (bucket_count - 1)];
  buckets[d->hash & (bucket_count - 1)] = d;
  hashed_count++;
  d->hashed = true;
  list_push(&dir->dir.children, &d->siblings);
  dentry_get(d);
}

void dentry_detach(struct dentry *d) {
  struct dentry **link = &buckets[d->hash & (bucket_count - 1)];
  while (*link != d) link = &(*link)->hash_next;
  *link = d->hash_next;
  hashed_count--;
  d->hashed = false;
  list_remove(&d->siblings);
  dentry_put(d);
}

struct dentry *dentry_find(const struct inode *dir, const char *name, size_t n) {
  u32 hash = hash_name(dir, name, n);
  for (struct dentry *d = buckets[hash & (bucket_count - 1)]; d != NULL; d = d->hash_next)
    if (d->hash == hash && d->parent->inode == dir && d->name_size == n && memcmp(d->name, name, n) == 0) return d;
  return NULL;
}

bool dentry_within(const struct dentry *d, const struct dentry *ancestor) {
  for (; d != ancestor; d = d->parent)
    if (d->parent == d) return false;
  return true;
}

ssize_t dentry_path(const struct dentry *d, char *buffer, size_t size) {
  size_t at = size; /* written from the end */
  if (size < 2) return -ERANGE;
  buffer[--at] = '\0';
  if (d == root_dentry || d == process_root()) buffer[--at] = '/';
  for (; d != root_dentry && d != process_root(); d = d->parent) {
    if (at < (size_t)d->name_size + 1) return -ERANGE;
    at -= d->name_size;
    memcpy(buffer + at, d->name, d->name_size);
    if (d->parent == d) /* an anonymous file: its name is all there is */
      break;
    buffer[--at] = '/';
  }
  memmove(buffer, buffer + at, size - at);
  return (ssize_t)(size - at - 1);
}
