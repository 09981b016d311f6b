/* fs/layers.c: what the image layers say: inodes made from theirs, names found in and listed from
 * merged directories. */
#include "inode.h"

enum { FT_CHARDEV = 3, INO_LAYER_SHIFT = 48, SHARED_BUCKETS = 256 };

/* Inodes of images that have several names, so that a write through one shows through the others.
 * Each holds a reference, until its last name is removed. */
static struct inode *shared[SHARED_BUCKETS];

static u64 image_ino(const struct image *image, u64 nid) {
  return (u64)(image_layer(image) + 1) << INO_LAYER_SHIFT | nid;
}

static bool is_whiteout(const struct image_inode *info) { return (info->mode & S_IFMT) == S_IFCHR && info->rdev == 0; }

static struct inode *find_shared(u64 ino) {
  struct inode *inode = shared[ino % SHARED_BUCKETS];
  while (inode != NULL && inode->ino != ino) inode = inode->cache_next;
  return inode;
}

static void add_shared(struct inode *inode) {
  inode->cache_next = shared[inode->ino % SHARED_BUCKETS];
  shared[inode->ino % SHARED_BUCKETS] = inode_get(inode);
}

void layers_drop_shared(struct inode *inode) {
  struct inode **link = &shared[inode->ino % SHARED_BUCKETS];
  while (*link != NULL && *link != inode) link = &(*link)->cache_next;
  if (*link == NULL) return;
  *link = inode->cache_next;
  inode_put(inode);
}

/* An inode of our own from an image's: attributes copied, bytes pointed to. */
static struct inode *inode_from_image(const struct image *image, const struct image_inode *info) {
  u64 ino = image_ino(image, info->nid);
  u32 type = info->mode & S_IFMT;
  struct inode *inode = type == S_IFREG && info->nlink > 1 ? find_shared(ino) : NULL;
  if (inode != NULL) return inode_get(inode);
  if (type == S_IFLNK) {
    if (info->size >= PATH_MAX) return NULL;
    char *target = kzalloc(info->size + 1);
    if (target == NULL) return NULL;
    memcpy(target, info->plain, info->plain_size);
    memcpy(target + info->plain_size, info->tail, info->size - info->plain_size);
    inode = inode_link(DEV_ROOT, target, strlen(target));
    kfree(target);
  } else {
    const struct inode_ops *ops = type == S_IFDIR ? &directory_ops : type == S_IFREG ? &regular_ops : &node_ops;
    inode = inode_new(DEV_ROOT, info->mode, ops);
  }
  if (inode == NULL) return NULL;
  inode->ino = ino;
  inode->nlink = MAX(info->nlink, 1u);
  inode->uid = info->uid;
  inode->gid = info->gid;
  inode->rdev = info->rdev;
  inode->size = info->size;
  inode->atime = inode->mtime = inode->ctime = info->mtime;
  if (type == S_IFREG) {
    inode->content = (struct content){
        .plain = info->plain, .plain_size = info->plain_size, .tail = info->tail, .base_size = info->size};
    if (info->nlink > 1) add_shared(inode);
  }
  return inode;
}

static bool set_sources(struct inode *inode, const struct source *sources, u32 count) {
  struct source *copy = kmalloc(count * sizeof(*copy));
  if (copy == NULL) return false;
  memcpy(copy, sources, count * sizeof(*copy));
  inode->dir.sources = copy;
  inode->dir.source_count = count;
  inode->nlink = count > 1 ? 1 : inode->nlink;
  return true;
}

/* What a name means in the layers: the topmost hit, and for a directory all that merge into it. */
static i64 find_in_layers(const struct inode *dir, const char *name, size_t n, struct image_inode *top,
                          struct source *found, u32 *count) {
  *count = 0;
  for (u32 i = 0; i < dir->dir.source_count; i++) {
    const struct source *s = &dir->dir.sources[i];
    struct image_inode info;
    u64 nid;
    i64 error = image_find(s->image, s->nid, name, n, &nid);
    if (error == -ENOENT) continue;
    if (error == 0) error = image_inode(s->image, nid, &info);
    if (error != 0) return error;
    bool directory = (info.mode & S_IFMT) == S_IFDIR;
    if (is_whiteout(&info) || (*count > 0 && !directory)) break;
    if (*count == 0) *top = info;
    found[(*count)++] = (struct source){s->image, nid};
    if (!directory || info.opaque) break;
  }
  return *count == 0 ? -ENOENT : 0;
}

bool layers_have(const struct inode *dir, const char *name, size_t n) {
  if (dir->ops != &directory_ops) return false;
  struct image_inode top;
  struct source found[LAYERS_MAX];
  u32 count;
  return find_in_layers(dir, name, n, &top, found, &count) != -ENOENT;
}

static struct dentry *layers_lookup(struct dentry *dir, const char *name, size_t n, i64 *error) {
  struct image_inode top;
  struct source found[LAYERS_MAX];
  u32 count;
  *error = find_in_layers(dir->inode, name, n, &top, found, &count);
  if (*error != 0) return NULL;
  *error = -ENOMEM;
  struct inode *inode = inode_from_image(found[0].image, &top);
  if (inode == NULL) return NULL;
  if (is_dir(inode) && !set_sources(inode, found, count)) {
    inode_put(inode);
    return NULL;
  }
  struct dentry *d = dentry_new(dir, name, n, inode);
  if (d != NULL) dentry_attach(d);
  return d;
}

/* Types of EROFS directory entries are 1 + the order below. */
static const u16 entry_modes[] = {S_IFREG, S_IFDIR, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFLNK};

/* A name of layer l->layer counts unless the tree or a layer above has it. */
static bool visit_layer_name(void *to, const char *name, size_t n, u64 nid, u8 type) {
  struct listing *l = to;
  const struct inode *dir = l->dir;
  const struct source *s = &dir->dir.sources[l->layer];
  if ((n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.')) return true;
  if (dentry_find(dir, name, n) != NULL) return true;
  for (u32 i = 0; i < l->layer; i++) {
    u64 above;
    if (image_find(dir->dir.sources[i].image, dir->dir.sources[i].nid, name, n, &above) != -ENOENT) return true;
  }
  struct image_inode info;
  if (type == FT_CHARDEV && (image_inode(s->image, nid, &info) != 0 || is_whiteout(&info))) return true;
  u32 mode = type >= 1 && type <= COUNT(entry_modes) ? entry_modes[type - 1] : 0;
  return listing_add(l, name, n, image_ino(s->image, nid), mode);
}

static i64 layers_list(struct inode *dir, struct listing *l) {
  l->dir = dir;
  for (l->layer = 0; l->layer < dir->dir.source_count; l->layer++) {
    const struct source *s = &dir->dir.sources[l->layer];
    i64 error = image_list(s->image, s->nid, visit_layer_name, l);
    if (error != 0) return error;
    if (l->text == NULL && l->found) break;
  }
  return 0;
}

const struct inode_ops directory_ops = {.lookup = layers_lookup, .list = layers_list};

i64 layers_mount(const struct source *sources, u32 count) {
  struct inode *inode;
  struct image_inode info;
  i64 error = count == 0 ? 0 : image_inode(sources[0].image, sources[0].nid, &info);
  if (error != 0) return error;
  inode = count == 0 ? inode_new(DEV_ROOT, S_IFDIR | 0755, &directory_ops) : inode_from_image(sources[0].image, &info);
  if (inode == NULL || !is_dir(inode) || (count > 0 && !set_sources(inode, sources, count))) return -ENOMEM;
  root_dentry = dentry_new(NULL, "", 0, inode);
  return root_dentry == NULL ? -ENOMEM : 0;
}
