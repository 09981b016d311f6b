/* fs/path.c: from a path to a dentry, and the directories that paths start from. */
#include "inode.h"

static struct dentry *cwd;
static struct dentry *root; /* chroot's; NULL: the tree's */

struct dentry *cwd_dentry(void) {
  return cwd;
}

void cwd_set(struct dentry *d) {
  dentry_get(d);
  dentry_put(cwd);
  cwd = d;
}

struct dentry *process_root(void) {
  return root == NULL ? root_dentry : root;
}

void process_root_set(struct dentry *d) {
  dentry_get(d);
  dentry_put(root);
  root = d;
}

void place_put(struct place *p) {
  dentry_put(p->dir);
  dentry_put(p->entry);
}

static bool is_dots(const char *name, size_t n) { return name[0] == '.' && (n == 1 || (n == 2 && name[1] == '.')); }

static i64 start_of(int dirfd, const char *path, u32 how, struct dentry **base) {
  bool absolute = path[0] == '/';
  *base = process_root();
  if (absolute && (how & WALK_BENEATH)) return -EXDEV;
  if (absolute && !(how & WALK_IN_ROOT)) return 0;
  *base = cwd;
  if (dirfd == AT_FDCWD) return 0;
  struct file *f = fd_get(dirfd);
  if (f == NULL) return -EBADF;
  *base = file_dentry(f);
  return *base == NULL || !is_dir((*base)->inode) ? -ENOTDIR : 0;
}

/* One walk: links are counted over all of it, depth only where a link stands amid a path. The last
 * component's links are followed in the loop, so the kernel stack stays small. */
struct walk {
  u32 how, links, depth;
  bool slash; /* a path so far ended with a slash: what it leads to must be a directory */
  struct place *out;
  struct dentry *root; /* where a leading slash leads, and above which .. does not */
};
enum { DEPTH_MAX = 8 };

/* One component; a reference to what it leads to. */
static i64 step(const struct walk *w, struct dentry *dir, const char *name, size_t n, struct dentry **next) {
  i64 error = 0;
  bool up = n == 2 && is_dots(name, n);
  *next = NULL;
  if (!is_dir(dir->inode)) return -ENOTDIR;
  if ((error = inode_permission(dir->inode, MAY_EXECUTE)) != 0) return error;
  if (n > NAME_MAX) return -ENAMETOOLONG;
  if (up && dir == w->root && (w->how & WALK_BENEATH)) return -EXDEV;
  if (n == 1 && name[0] == '.') *next = dentry_get(dir);
  else if (up) *next = dentry_get(dir == w->root ? dir : dir->parent);
  else if ((*next = directory_lookup(dir, name, n, &error)) != NULL) error = 0;
  if (*next == NULL || !(w->how & WALK_ONE_DEVICE) || (*next)->inode->dev == dir->inode->dev) return error;
  dentry_put(*next);
  *next = NULL;
  return -EXDEV;
}

/* Whether the walk may go through this link. */
static i64 check_link(const struct walk *w, const struct inode *link) {
  bool magic = link->ops->follow != NULL, absolute = !magic && link->target[0] == '/';
  if (w->links > LINKS_MAX || w->depth > DEPTH_MAX) return -ELOOP;
  if ((w->how & WALK_NO_LINKS) || (magic && (w->how & WALK_NO_MAGIC))) return -ELOOP;
  if (magic && (w->how & (WALK_BENEATH | WALK_IN_ROOT | WALK_ONE_DEVICE))) return -EXDEV;
  return absolute && (w->how & WALK_BENEATH) ? -EXDEV : 0;
}

static i64 walk(struct walk *w, struct dentry *dir, const char *path);

/* Where the link `next` amid a path leads; takes over the reference and gives one. */
static i64 pass_link(struct walk *w, struct dentry *dir, struct dentry **next) {
  struct inode *inode = (*next)->inode;
  struct place through = {0};
  struct walk inner = {WALK_FOLLOW | (w->how & WALK_RESOLVE), w->links + 1, w->depth + 1, false, &through, w->root};
  i64 error = check_link(&inner, inode);
  if (error == 0 && inode->ops->follow != NULL) through.entry = inode->ops->follow(inode, &error);
  else if (error == 0) error = walk(&inner, inode->target[0] == '/' ? w->root : dir, inode->target);
  w->links = inner.links;
  dentry_put(*next);
  dentry_put(through.dir);
  *next = through.entry;
  return error;
}

/* The walk's end; takes over the references to dir and entry (NULL: not there). */
static i64 arrive(struct walk *w, struct dentry *dir, struct dentry *entry, const char *name, size_t n) {
  bool parent = w->how & WALK_PARENT, dots = is_dots(name, n);
  *w->out = (struct place){dots ? NULL : dir, entry, name, n, w->slash, dots};
  if (dots) dentry_put(dir);
  i64 error = 0;
  if (entry == NULL && !parent) error = -ENOENT;
  else if (entry != NULL && w->slash && !parent && !is_dir(entry->inode)) error = -ENOTDIR;
  if (error != 0) {
    place_put(w->out);
    *w->out = (struct place){0};
  }
  return error;
}

static bool follows(const struct walk *w, const struct dentry *last) {
  return last != NULL && is_link(last->inode) && ((w->how & WALK_FOLLOW) || (w->slash && !(w->how & WALK_PARENT)));
}

/* The path so far ended in a link: the walk goes on with its target, from *dir. */
static i64 enter_link(struct walk *w, struct dentry **dir, struct dentry *link, const char **path) {
  struct inode *inode = link->inode;
  struct dentry *start = NULL;
  w->links++;
  i64 error = check_link(w, inode);
  if (error == 0 && inode->ops->follow != NULL) {
    start = inode->ops->follow(inode, &error);
    *path = "";
  } else if (error == 0) {
    *path = inode->target; /* which the tree keeps */
    start = dentry_get(inode->target[0] == '/' ? w->root : *dir);
  }
  dentry_put(link);
  if (error == 0) {
    dentry_put(*dir);
    *dir = start;
  }
  return error;
}

static i64 walk(struct walk *w, struct dentry *base, const char *path) {
  struct dentry *dir = dentry_get(base), *next;
  i64 error = 0;
  while (error == 0) {
    while (*path == '/') path++;
    if (*path == '\0') /* the root, or where a link of /proc led */
      return arrive(w, NULL, dir, ".", 1);
    const char *name = path;
    while (*path != '\0' && *path != '/') path++;
    size_t n = (size_t)(path - name);
    bool slash = *path == '/';
    while (*path == '/') path++;
    bool last = *path == '\0';

    if (last && slash && (w->how & WALK_CREATE) && is_dir(dir->inode) && !is_dots(name, n)) {
      error = -EISDIR;
      break;
    }
    error = step(w, dir, name, n, &next);
    if (last && (error == 0 || error == -ENOENT)) {
      w->slash |= slash;
      if (!follows(w, next)) return arrive(w, dir, next, name, n);
      error = enter_link(w, &dir, next, &path);
      continue;
    }
    if (error == 0 && is_link(next->inode)) error = pass_link(w, dir, &next);
    if (error == 0) {
      dentry_put(dir);
      dir = next;
    }
  }
  dentry_put(dir);
  return error;
}

i64 path_walk(int dirfd, const char *path, u32 how, struct place *out) {
  struct dentry *base;
  struct walk w = {.how = how, .out = out};
  *out = (struct place){0};
  if (path[0] == '\0') return -ENOENT;
  i64 error = start_of(dirfd, path, how, &base);
  if (error != 0) return error;
  w.root = how & (WALK_BENEATH | WALK_IN_ROOT) ? base : process_root();
  return walk(&w, base, path);
}

struct dentry *path_entry(int dirfd, const char *path, u32 how, i64 *error) {
  struct place place;
  *error = path_walk(dirfd, path, how & ~(u32)WALK_PARENT, &place);
  if (*error != 0) return NULL;
  dentry_put(place.dir);
  return place.entry;
}
