/* fs/inotify.c: a descriptor on which nothing ever happens: only the program itself changes its
 * files, and the programs that watch them do it to notice other processes. */
#include "inode.h"

struct inotify {
  int next_watch;
  struct wait_queue queue; /* never woken */
};

static ssize_t inotify_read(struct file *f, void *buf, size_t n, off_t *pos) {
  struct inotify *state = f->state;
  if (f->flags & O_NONBLOCK) return -EAGAIN;
  for (;;) {
    int error = sleep_on(&state->queue, FOREVER);
    if (error < 0) return error;
  }
}

static u32 inotify_poll(struct file *f) { return 0; }

static void inotify_close(struct file *f) { kfree(f->state); }

static const struct file_ops inotify_ops = {.read = inotify_read, .poll = inotify_poll, .close = inotify_close};

struct file *inotify_new(u32 flags) {
  struct inotify *state = kzalloc(sizeof(*state));
  struct file *f = state == NULL ? NULL : file_new(&inotify_ops, state, flags & O_NONBLOCK, "inotify");
  if (f == NULL) kfree(state);
  else wait_queue_init(&state->queue);
  return f;
}

int inotify_watch(struct file *f) {
  return f->ops == &inotify_ops ? ++((struct inotify *)f->state)->next_watch : -EINVAL;
}
