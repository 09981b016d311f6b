/* fs/erofs.c: read-only EROFS images that lie in memory, uncompressed.
 * On-disk format: Linux's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h. All numbers
 * are little-endian. An image may be damaged: every offset is checked against its size, and what
 * does not fit answers -EIO. */
#include "inode.h"

enum {
  SUPER_OFFSET = 1024,
  SUPER_SIZE = 128,
  SUPER_MAGIC = 0xe0f5e1e2,
  NID_SHIFT = 5, /* inodes are addressed in units of 32 bytes */
  COMPACT_SIZE = 32,
  EXTENDED_SIZE = 64,
  LAYOUT_PLAIN = 0,
  LAYOUT_INLINE = 2,
  XATTR_HEADER = 12,
  XATTR_TRUSTED = 4,
  XATTR_USER = 1,
  DIRENT_SIZE = 12,
};

struct image {
  const u8 *data;
  u64 size;
  u64 meta;   /* byte offset of the inode area */
  u64 xattrs; /* byte offset of the shared xattr area */
  u64 root;
  u32 block_bits;
  u32 layer;
};

static u16 get16(const u8 *p) { return (u16)(p[0] | p[1] << 8); }
static u32 get32(const u8 *p) { return get16(p) | (u32)get16(p + 2) << 16; }
static u64 get64(const u8 *p) { return get32(p) | (u64)get32(p + 4) << 32; }

/* n bytes at offset, or NULL when they are not all inside the image. */
static const u8 *image_bytes(const struct image *image, u64 offset, u64 n) {
  return offset <= image->size && n <= image->size - offset ? image->data + offset : NULL;
}

struct image *image_open(const void *data, u64 size, u32 layer) {
  if (size < SUPER_OFFSET + SUPER_SIZE) return NULL;
  const u8 *super = (const u8 *)data + SUPER_OFFSET;
  u32 bits = super[12];
  if (get32(super) != SUPER_MAGIC || bits < 9 || bits > 16) return NULL;
  struct image *image = kzalloc(sizeof(*image));
  if (image == NULL) return NULL;
  image->data = data;
  image->size = size;
  image->layer = layer;
  image->block_bits = bits;
  image->root = get16(super + 14);
  image->meta = (u64)get32(super + 40) << bits;
  image->xattrs = (u64)get32(super + 44) << bits;
  return image;
}

u64 image_root(const struct image *image) { return image->root; }

u32 image_layer(const struct image *image) { return image->layer; }

/* Device numbers are stored in Linux's "new" encoding, which st_rdev shares for small numbers. */
static void read_inode_fields(const u8 *p, bool extended, struct image_inode *out) {
  out->mode = get16(p + 4);
  out->size = extended ? get64(p + 8) : get32(p + 8);
  out->nlink = extended ? get32(p + 44) : get16(p + 6);
  out->uid = extended ? get32(p + 24) : get16(p + 24);
  out->gid = extended ? get32(p + 28) : get16(p + 26);
  out->mtime = extended ? get64(p + 32) * NS_PER_SEC + get32(p + 40) : 0;
}

/* Whether the xattr entry at p..end is overlay.opaque = "y"; *next is the entry after it. */
static bool xattr_opaque(const u8 *p, const u8 *end, const u8 **next) {
  static const char name[] = "overlay.opaque";
  *next = end;
  if (end - p < 4) return false;
  u32 name_size = p[0], index = p[1], value_size = get16(p + 2);
  u64 size = ALIGN_UP(4 + name_size + value_size, 4);
  if (size > (u64)(end - p)) return false;
  *next = p + size;
  return (index == XATTR_TRUSTED || index == XATTR_USER) && name_size == sizeof(name) - 1 &&
         memcmp(p + 4, name, name_size) == 0 && value_size == 1 && p[4 + name_size] == 'y';
}

static bool read_opaque(const struct image *image, const u8 *p, u64 size) {
  if (size < XATTR_HEADER) return false;
  const u8 *end = p + size;
  u32 shared = p[4];
  p += XATTR_HEADER;
  if (4 * (u64)shared > (u64)(end - p)) return false;
  const u8 *next;
  for (u32 i = 0; i < shared; i++, p += 4) {
    u64 offset = image->xattrs + 4 * (u64)get32(p);
    if (offset < image->size && xattr_opaque(image->data + offset, image->data + image->size, &next)) return true;
  }
  for (; p < end; p = next)
    if (xattr_opaque(p, end, &next)) return true;
  return false;
}

/* Finds the data: whole blocks at an address, and with the inline layout the last block behind the
 * inode. Device inodes keep their number where files keep the address. */
static i64 read_layout(const struct image *image, const u8 *p, u64 tail, struct image_inode *out) {
  u32 layout = get16(p) >> 1 & 7, address = get32(p + 16), type = out->mode & S_IFMT;
  u64 block = 1ull << image->block_bits;
  if (type != S_IFREG && type != S_IFDIR && type != S_IFLNK) {
    out->rdev = address;
    out->size = 0;
    return 0;
  }
  if ((layout != LAYOUT_PLAIN && layout != LAYOUT_INLINE) || out->size > image->size) return -EIO;
  out->plain_size = out->size;
  if (layout == LAYOUT_INLINE && out->size > 0) {
    out->plain_size = (out->size - 1) & ~(block - 1);
    out->tail = image_bytes(image, tail, out->size - out->plain_size);
    if (out->tail == NULL) return -EIO;
  }
  if (out->plain_size == 0) return 0;
  out->plain = image_bytes(image, (u64)address << image->block_bits, out->plain_size);
  return out->plain == NULL ? -EIO : 0;
}

i64 image_inode(const struct image *image, u64 nid, struct image_inode *out) {
  memset(out, 0, sizeof(*out));
  if (nid > image->size >> NID_SHIFT) return -EIO;
  u64 offset = image->meta + (nid << NID_SHIFT);
  const u8 *p = image_bytes(image, offset, COMPACT_SIZE);
  if (p == NULL) return -EIO;
  bool extended = get16(p) & 1;
  u64 inode_size = extended ? EXTENDED_SIZE : COMPACT_SIZE;
  u64 xattr_count = get16(p + 2);
  u64 xattr_size = xattr_count == 0 ? 0 : XATTR_HEADER + 4 * (xattr_count - 1);
  if (image_bytes(image, offset, inode_size + xattr_size) == NULL) return -EIO;
  out->nid = nid;
  read_inode_fields(p, extended, out);
  if ((out->mode & S_IFMT) == S_IFDIR && xattr_size > 0) out->opaque = read_opaque(image, p + inode_size, xattr_size);
  if (!extended) /* compact inodes carry the image's build time */
    out->mtime = get64(image->data + SUPER_OFFSET + 24) * NS_PER_SEC + get32(image->data + SUPER_OFFSET + 32);
  return read_layout(image, p, offset + inode_size + xattr_size, out);
}

/* One block of a directory: dirents, then their names. */
struct dir_block {
  const u8 *data;
  u64 size;
  u32 count;
};

static u64 dir_blocks(const struct image *image, const struct image_inode *dir) {
  return (dir->size + (1ull << image->block_bits) - 1) >> image->block_bits;
}

static i64 read_dir_block(const struct image *image, const struct image_inode *dir, u64 index, struct dir_block *out) {
  u64 block = 1ull << image->block_bits, offset = index << image->block_bits;
  out->size = MIN(block, dir->size - offset);
  out->data = offset < dir->plain_size ? dir->plain + offset : dir->tail + (offset - dir->plain_size);
  if (out->size < DIRENT_SIZE) return -EIO;
  u32 names = get16(out->data + 8);
  if (names < DIRENT_SIZE || names % DIRENT_SIZE != 0 || names > out->size) return -EIO;
  out->count = names / DIRENT_SIZE;
  return 0;
}

/* The last name of a block ends at the block's end or at a NUL before it. */
static i64 read_dirent(const struct dir_block *block, u32 index, const char **name, size_t *n, u64 *nid, u8 *type) {
  const u8 *p = block->data + index * DIRENT_SIZE;
  u64 start = get16(p + 8);
  bool last = index + 1 == block->count;
  u64 end = last ? block->size : get16(p + DIRENT_SIZE + 8);
  if (start < block->count * DIRENT_SIZE || start >= end || end > block->size) return -EIO;
  *name = (const char *)block->data + start;
  *n = last ? strnlen(*name, end - start) : end - start;
  *nid = get64(p);
  *type = p[10];
  return *n == 0 || *n > NAME_MAX ? -EIO : 0;
}

static int compare_names(const char *a, size_t a_size, const char *b, size_t b_size) {
  int order = memcmp(a, b, MIN(a_size, b_size));
  if (order != 0) return order;
  return a_size < b_size ? -1 : a_size > b_size;
}

static i64 open_dir(const struct image *image, u64 nid, struct image_inode *dir) {
  i64 error = image_inode(image, nid, dir);
  if (error != 0) return error;
  return (dir->mode & S_IFMT) == S_IFDIR ? 0 : -EIO;
}

/* Names are sorted over the whole directory: first the block by its first name, then the name. */
static i64 find_block(const struct image *image, const struct image_inode *dir, const char *name, size_t n,
                      struct dir_block *block) {
  u64 low = 0, high = dir_blocks(image, dir); /* the block is in [low, high) */
  while (low < high) {
    u64 middle = (low + high) / 2;
    const char *first;
    size_t first_size;
    u64 nid;
    u8 type;
    struct dir_block candidate;
    i64 error = read_dir_block(image, dir, middle, &candidate);
    if (error == 0) error = read_dirent(&candidate, 0, &first, &first_size, &nid, &type);
    if (error != 0) return error;
    if (compare_names(name, n, first, first_size) >= 0) {
      *block = candidate;
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low == 0 ? -ENOENT : 0;
}

i64 image_find(const struct image *image, u64 dir_nid, const char *name, size_t n, u64 *nid) {
  struct image_inode dir;
  struct dir_block block;
  i64 error = open_dir(image, dir_nid, &dir);
  if (error == 0) error = find_block(image, &dir, name, n, &block);
  if (error != 0) return error;
  u32 low = 0, high = block.count;
  while (low < high) {
    u32 middle = (low + high) / 2;
    const char *other;
    size_t other_size;
    u8 type;
    error = read_dirent(&block, middle, &other, &other_size, nid, &type);
    if (error != 0) return error;
    int order = compare_names(name, n, other, other_size);
    if (order == 0) return 0;
    if (order > 0) low = middle + 1;
    else high = middle;
  }
  return -ENOENT;
}

i64 image_list(const struct image *image, u64 dir_nid, image_visit *visit, void *to) {
  struct image_inode dir;
  i64 error = open_dir(image, dir_nid, &dir);
  u64 blocks = error == 0 ? dir_blocks(image, &dir) : 0;
  for (u64 i = 0; error == 0 && i < blocks; i++) {
    struct dir_block block;
    error = read_dir_block(image, &dir, i, &block);
    for (u32 j = 0; error == 0 && j < block.count; j++) {
      const char *name;
      size_t n;
      u64 nid;
      u8 type;
      error = read_dirent(&block, j, &name, &n, &nid, &type);
      if (error == 0 && !visit(to, name, n, nid, type)) return 0;
    }
  }
  return error;
}
