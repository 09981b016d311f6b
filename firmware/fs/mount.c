/* fs/mount.c: the tree at boot: the images as layers, /proc, /dev and /sys over them. */
#include "arch.h"
#include "inode.h"

/* The images, topmost first. */
static u32 open_images(struct source *sources) {
  const struct boot *boot = BOOT;
  u32 count = 0;
  if (boot->image_count > LAYERS_MAX) panic("%lu images: at most %d", boot->image_count, LAYERS_MAX);
  for (u32 i = (u32)boot->image_count; i-- > 0;) {
    const void *data = (const void *)(IMAGE_VA + (boot->image_gpa[i] - IMAGE_GPA));
    struct image *image = image_open(data, boot->image_size[i], i);
    if (image == NULL) panic("image %u is not an uncompressed EROFS image", i);
    sources[count++] = (struct source){image, image_root(image)};
  }
  return count;
}

static void make_missing(const char *name, u32 mode) {
  i64 error;
  struct dentry *d = directory_lookup(root_dentry, name, strlen(name), &error);
  if (d == NULL) tree_dir(root_dentry, name, DEV_ROOT, &directory_ops)->inode->mode = S_IFDIR | mode;
  dentry_put(d);
}

/* The working directory and the program, as the boot page names them. */
static void enter_start(void) {
  const char *strings = (const char *)(WINDOW_VA + STRINGS_GPA);
  i64 error;
  cwd_set(root_dentry);
  struct dentry *d = path_entry(AT_FDCWD, strings + BOOT->cwd % STRINGS_SIZE, WALK_FOLLOW, &error);
  if (d == NULL || !is_dir(d->inode))
    kprint("mayfly: no working directory %s, starting in /\n", strings + BOOT->cwd % STRINGS_SIZE);
  else cwd_set(d);
  dentry_put(d);
  d = path_entry(AT_FDCWD, strings + BOOT->execfn % STRINGS_SIZE, WALK_FOLLOW, &error);
  proc_set_program(d);
  dentry_put(d);
}

void fs_init(void) {
  struct source sources[LAYERS_MAX];
  i64 error = layers_mount(sources, open_images(sources));
  if (error != 0) panic("the images have no root directory: error %ld", -error);
  proc_mount();
  dev_mount();
  sysfs_mount();
  etc_mount();
  make_missing("tmp", 01777);
  enter_start();
}
