/* Damaged images: whatever bytes an image has, reading it stays inside it and ends. The image lies
 * in malloc's memory, so that the address sanitizer sees each byte outside. Arguments: BUILD
 * [ROUNDS] */
#include "kernel.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int64_t i64;
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

/* As in fs/inode.h, which cannot be included beside the host's headers. */
struct image;
struct image_inode {
  u64 nid, size, rdev, mtime;
  u32 mode, nlink, uid, gid;
  const u8 *plain, *tail;
  u64 plain_size;
  bool opaque;
};
typedef bool image_visit(void *to, const char *name, size_t n, u64 nid, u8 type);
struct image *image_open(const void *data, u64 size, u32 layer);
u64 image_root(const struct image *image);
i64 image_inode(const struct image *image, u64 nid, struct image_inode *out);
i64 image_find(const struct image *image, u64 dir, const char *name, size_t n, u64 *nid);
i64 image_list(const struct image *image, u64 dir, image_visit *visit, void *to);

static uint64_t state = 88172645463325252ull;

static unsigned next(unsigned limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned)((state >> 11) % limit);
}

struct walk {
  const struct image *image;
  u64 dir;
  int depth, left; /* loops are cut by both */
  u64 sum;
};

static void look(struct walk *w, u64 nid);

static bool visit(void *to, const char *name, size_t n, u64 nid, u8 type) {
  struct walk *w = to;
  u64 found = 0;
  (void)type;
  image_find(w->image, w->dir, name, n, &found);
  if ((n == 1 && name[0] == '.') || (n == 2 && memcmp(name, "..", 2) == 0)) return true;
  look(w, nid);
  return w->left > 0;
}

static void look(struct walk *w, u64 nid) {
  struct image_inode info;
  if (w->depth > 12 || --w->left <= 0 || image_inode(w->image, nid, &info) != 0) return;
  for (u64 i = 0; i < info.plain_size; i++) w->sum += info.plain[i];
  for (u64 i = info.plain_size; info.tail != NULL && i < info.size; i++) w->sum += info.tail[i - info.plain_size];
  u64 parent = w->dir;
  w->dir = nid;
  w->depth++;
  image_list(w->image, nid, visit, w);
  w->depth--;
  w->dir = parent;
}

static int inspect(const u8 *data, u64 size) {
  struct image *image = image_open(data, size, 0);
  if (image == NULL) return 0;
  struct walk w = {.image = image, .left = 2000};
  look(&w, image_root(image));
  free(image);
  return 2000 - w.left;
}

int main(int argc, char **argv) {
  char path[4096];
  snprintf(path, sizeof path, "%s/layers/merged.erofs", argc > 1 ? argv[1] : ".");
  int rounds = argc > 2 ? atoi(argv[2]) : 3000;
  uint64_t size;
  u8 *good = read_whole(path, &size);
  long seen = 0;
  printf("%d inodes undamaged\n", inspect(good, size));
  for (int i = 0; i < rounds; i++) {
    u64 cut = next(10) == 0 ? next((unsigned)size) : size;
    u8 *bad = malloc(cut == 0 ? 1 : cut);
    memcpy(bad, good, cut);
    unsigned changes = 1 + next(next(2) ? 40 : 2000),
             start = next(4) == 0 ? 1024 : 1152; /* mostly past the superblock */
    unsigned area = next(2) ? 20000 : (unsigned)size;
    for (unsigned j = 0; j < changes; j++) {
      u64 at = start + next(area);
      if (at < cut) bad[at] = next(3) ? (u8)next(256) : 0xff;
    }
    seen += inspect(bad, cut);
    free(bad);
  }
  free(good);
  printf("ok damage: %d images, %ld inodes\n", rounds, seen);
  return 0;
}
