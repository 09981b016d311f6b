/* fs/open.c: open files that stand for an inode. */
#include "inode.h"

#define O_LARGEFILE 0100000 /* Linux sets it in every 64-bit program's F_GETFL */

u32 fs_umask = 022;

/* ---- Operations ---------------------------------------------------------------------------- */

static ssize_t regular_read(struct file *f, void *buf, size_t n, off_t *pos) {
  ssize_t got = content_read(f->inode, buf, n, (u64)*pos);
  *pos += MAX(got, 0);
  return got;
}

static ssize_t regular_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  if (f->flags & O_APPEND) *pos = (off_t)f->inode->size;
  ssize_t put = content_write(f->inode, buf, n, (u64)*pos);
  *pos += MAX(put, 0);
  return put;
}

/* Only bytes that still are the image's: a written page lies elsewhere. */
static const void *regular_data(struct file *f, u64 offset, u64 n) {
  const struct content *c = &f->inode->content;
  u64 size = MIN(c->plain_size, MIN(c->base_size, f->inode->size));
  if (offset > size || n > size - offset || n == 0) return NULL;
  u64 last = (offset + n - 1) / PAGE;
  for (u64 i = offset / PAGE; i <= last && i / CHUNK_PAGES < c->chunk_count; i++) {
    const struct chunk *chunk = c->chunks[i / CHUNK_PAGES];
    if (chunk == NULL) i |= CHUNK_PAGES - 1;
    else if (chunk->pages[i % CHUNK_PAGES] != NULL) return NULL;
  }
  return c->plain + offset;
}

const struct file_ops regular_file_ops = {.read = regular_read, .write = regular_write, .data = regular_data};

ssize_t text_read(struct file *f, void *buf, size_t n, off_t *pos) {
  const struct text *t = &((struct opening *)f->state)->text;
  if ((u64)*pos >= t->size) return 0;
  n = MIN(n, t->size - (u64)*pos);
  memcpy(buf, t->data + *pos, n);
  *pos += (off_t)n;
  return (ssize_t)n;
}

/* Settings like /proc/self/oom_score_adj are taken and forgotten. */
static ssize_t text_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  *pos += (off_t)n;
  return (ssize_t)n;
}

const struct file_ops text_file_ops = {.read = text_read, .write = text_write};

static ssize_t directory_read(struct file *f, void *buf, size_t n, off_t *pos) { return -EISDIR; }

static const struct file_ops directory_file_ops = {.read = directory_read, .getdents = directory_getdents};
static const struct file_ops path_file_ops = {0}; /* O_PATH */

/* ---- Opening ------------------------------------------------------------------------------- */

struct dentry *file_dentry(const struct file *f) {
  return f->inode == NULL ? NULL : ((struct opening *)f->state)->dentry;
}

static struct file *new_opening(struct dentry *d, const struct file_ops *ops, u32 flags, const char *kind) {
  struct opening *o = kzalloc(sizeof(*o));
  struct file *f = o == NULL ? NULL : file_new(ops, o, flags, kind);
  if (f == NULL) {
    kfree(o);
    return NULL;
  }
  o->dentry = dentry_get(d);
  f->inode = inode_get(d->inode);
  return f;
}

static const char *kind_of(const struct inode *inode) {
  return is_dir(inode) ? "directory" : is_regular(inode) ? "file" : "device";
}

static struct file *open_inode(struct dentry *d, const struct file_ops *ops, u32 flags, i64 *error) {
  struct inode *inode = d->inode;
  struct file *f = new_opening(d, ops, flags, kind_of(inode));
  *error = -ENOMEM;
  if (f == NULL) return NULL;
  if (inode->ops->generate != NULL) {
    struct opening *o = f->state;
    inode->ops->generate(inode, &o->text);
    if (o->text.failed) {
      file_put(f);
      return NULL;
    }
  }
  *error = 0;
  return f;
}

/* O_TRUNC comes after everything that can fail. */
struct file *open_dentry(struct dentry *d, u32 flags, i64 *error) {
  struct inode *inode = d->inode;
  u32 kept = (flags & ~(u32)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)) | O_LARGEFILE;
  bool writes = (flags & O_ACCMODE) != O_RDONLY;
  *error = 0;
  if ((flags & O_DIRECTORY) && !is_dir(inode)) *error = -ENOTDIR;
  else if (flags & O_PATH) return open_inode(d, &path_file_ops, O_PATH | (flags & (O_DIRECTORY | O_NOFOLLOW)), error);
  else if (is_link(inode)) *error = -ELOOP;
  else if (is_dir(inode) && writes) *error = -EISDIR;
  else if (writes && inode_runs(inode)) *error = -ETXTBSY;
  if (*error != 0) return NULL;
  if (inode->ops->open != NULL) return inode->ops->open(inode, kept, error);
  const struct file_ops *ops = is_dir(inode) ? &directory_file_ops : inode->ops->file;
  if (ops == NULL) {
    *error = -ENXIO;
    return NULL;
  }
  struct file *f = open_inode(d, ops, kept, error);
  if (f != NULL && (flags & O_TRUNC) && writes && inode->ops == &regular_ops) content_truncate(inode, 0);
  return f;
}

/* Whether a file that was there already may be opened so. What is wrong with its type is open_dentry's to say. */
static i64 open_denied(const struct inode *inode, u32 flags) {
  enum { O_NOATIME = 01000000 };
  static const u8 wanted[4] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE};
  u32 want = wanted[flags & O_ACCMODE] | (flags & O_TRUNC ? MAY_WRITE : 0);
  if ((flags & O_PATH) || is_link(inode)) return 0;
  if (is_dir(inode) ? want & MAY_WRITE : flags & O_DIRECTORY) return 0;
  i64 error = inode_permission(inode, want);
  return error == 0 && (flags & O_NOATIME) && !inode_owned(inode) ? -EPERM : error;
}

static struct dentry *create_file(const struct place *p, u32 mode, i64 *error) {
  *error = inode_extendable(p->dir->inode);
  if (*error != 0) return NULL;
  struct inode *inode = inode_new_in(p->dir->inode, S_IFREG | (mode & 07777 & ~fs_umask), &regular_ops);
  *error = inode == NULL ? -ENOSPC : directory_add(p->dir, p->name, p->name_size, inode);
  inode_put(inode);
  return *error == 0 ? directory_lookup(p->dir, p->name, p->name_size, error) : NULL;
}

/* open with O_CREAT: the file at the place, made if it is missing. */
static struct dentry *find_or_create(struct place *p, u32 flags, u32 mode, i64 *error) {
  *error = 0;
  if (p->entry != NULL && (flags & O_EXCL)) *error = -EEXIST;
  else if (p->entry != NULL && is_dir(p->entry->inode)) *error = -EISDIR;
  if (*error != 0) return NULL;
  return p->entry != NULL ? dentry_get(p->entry) : create_file(p, mode, error);
}

static struct file *open_temporary(struct dentry *dir, u32 flags, u32 mode, i64 *error) {
  *error = -ENOTDIR;
  if (!is_dir(dir->inode)) return NULL;
  *error = (flags & O_ACCMODE) == O_RDONLY ? -EINVAL : dir->inode->ops->frozen ? -EOPNOTSUPP : 0;
  if (*error == 0) *error = inode_permission(dir->inode, MAY_WRITE | MAY_EXECUTE);
  if (*error != 0) return NULL;
  return open_anonymous(dir->inode->dev, "/#temporary", flags & ~(u32)O_TMPFILE, mode & ~fs_umask, error);
}

struct file *open_at(int dirfd, const char *path, u32 flags, u32 mode, u32 resolve, i64 *error) {
  struct place place;
  bool creates = (flags & O_CREAT) && !(flags & O_PATH);
  bool exclusive = creates && (flags & O_EXCL);
  u32 how = resolve | ((flags & O_NOFOLLOW) || exclusive ? 0 : WALK_FOLLOW);
  if (creates && (flags & O_DIRECTORY)) {
    *error = -EINVAL;
    return NULL;
  }
  *error = path_walk(dirfd, path, how | (creates ? WALK_PARENT | WALK_CREATE : 0), &place);
  if (*error != 0) return NULL;
  struct file *f = NULL;
  bool old = place.entry != NULL;
  struct dentry *d = creates ? find_or_create(&place, flags, mode, error) : dentry_get(place.entry);
  place_put(&place);
  if (d != NULL && (flags & O_TMPFILE) == O_TMPFILE && !(flags & O_PATH)) f = open_temporary(d, flags, mode, error);
  else if (d != NULL && (!old || (*error = open_denied(d->inode, flags)) == 0)) f = open_dentry(d, flags, error);
  dentry_put(d);
  return f;
}

struct file *open_anonymous(u32 dev, const char *name, u32 flags, u32 mode, i64 *error) {
  struct inode *inode = inode_new(dev, S_IFREG | (mode & 07777), &regular_ops);
  struct dentry *d = inode == NULL ? NULL : dentry_new(NULL, name, strlen(name), inode);
  *error = -ENOMEM;
  if (d == NULL) return NULL;
  inode->nlink = 0;
  struct file *f = open_dentry(d, flags, error);
  dentry_put(d);
  return f;
}

/* ---- Files as names ------------------------------------------------------------------------ */

static struct file *reopen(struct inode *inode, u32 flags, i64 *error) {
  struct file *f = inode->special.data;
  file_ref(f);
  return f;
}

static void release_reopen(struct inode *inode) { file_put(inode->special.data); }

static const struct inode_ops reopen_ops = {.open = reopen, .release = release_reopen};

struct dentry *dentry_of_file(struct file *f, i64 *error) {
  struct dentry *d = file_dentry(f);
  if (d != NULL) return dentry_get(d);
  *error = -ENOMEM;
  struct inode *inode = inode_new(DEV_ANONYMOUS, file_mode(f), &reopen_ops);
  if (inode == NULL) return NULL;
  inode->ino = file_number(f);
  inode->special.data = f;
  file_ref(f);
  d = dentry_new(NULL, f->kind, strlen(f->kind), inode);
  if (d != NULL) *error = 0;
  return d;
}

static bool kind_is(const struct file *f, const char *kind) { return strcmp(f->kind, kind) == 0; }

/* The console looks like a pipe: programs then do not treat it as a terminal. */
u32 file_mode(const struct file *f) {
  if (kind_is(f, "pipe") || kind_is(f, "console")) return S_IFIFO | 0600;
  return kind_is(f, "socket") ? S_IFSOCK | 0777 : 0600;
}

u64 file_number(const struct file *f) { return (u64)(f->state != NULL ? f->state : f) >> 4 & 0xffffffff; }

void file_name(const struct file *f, struct text *out) {
  const struct dentry *d = file_dentry(f);
  if (d == NULL) {
    bool numbered = (file_mode(f) & S_IFMT) != 0;
    if (numbered) text_print(out, "%s:[%lu]", kind_is(f, "console") ? "pipe" : f->kind, file_number(f));
    else text_print(out, "anon_inode:[%s]", f->kind);
    return;
  }
  dentry_text(d, out);
}

void dentry_text(const struct dentry *d, struct text *out) {
  char *path = kmalloc(PATH_MAX);
  ssize_t n = path == NULL ? -ENOMEM : dentry_path(d, path, PATH_MAX);
  if (n >= 0) text_add(out, path, (size_t)n);
  if (n >= 0 && !d->hashed && d->inode->nlink == 0) text_add(out, " (deleted)", 10);
  out->failed |= path == NULL;
  kfree(path);
}

/* ---- For the rest of the kernel ------------------------------------------------------------ */

struct file *file_open(const char *path, u32 flags, i64 *error) {
  return open_at(AT_FDCWD, path, flags, 0666, 0, error);
}

i64 file_make_socket(const char *path) {
  struct place p;
  i64 error = path_walk(AT_FDCWD, path, WALK_PARENT, &p);
  if (error != 0) return error;
  if (p.entry != NULL || p.slash) error = p.entry != NULL ? -EADDRINUSE : -ENOENT;
  else error = inode_extendable(p.dir->inode);
  if (error == 0) {
    struct inode *inode = inode_new_in(p.dir->inode, S_IFSOCK | (0777 & ~fs_umask), &node_ops);
    error = inode == NULL ? -ENOSPC : directory_add(p.dir, p.name, p.name_size, inode);
    inode_put(inode);
  }
  place_put(&p);
  return error;
}

u64 file_size(struct file *f) { return f->inode == NULL ? 0 : f->inode->size; }

bool file_has_end(const struct file *f) { return f->ops == &regular_file_ops; }

ssize_t file_read_at(struct file *f, void *buf, size_t n, off_t pos) {
  return f->ops->read == NULL ? -EINVAL : f->ops->read(f, buf, n, &pos);
}
