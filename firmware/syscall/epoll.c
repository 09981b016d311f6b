/* epoll: a set of files with a list of those that became ready.
 *
 * Each item hangs a hook into its file's wait queue; the hook puts the item on the instance's ready list. epoll_wait
 * looks only at that list, so its cost is that of what happened, not of what is watched. A level-triggered item stays
 * on the list until a look finds nothing true of it. */
#include "errno.h"
#include "event.h"
#include "lib.h"
#include "mm.h"
#include "signal.h"
#include "syscall.h"

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 };
#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP (1u << 29)
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)
#define CONTROL_BITS (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET)
#define NESTING_MAX 5

struct epoll_event {
  u32 events;
  u64 data;
} __attribute__((packed));
_Static_assert(sizeof(struct epoll_event) == 12, "struct epoll_event is Linux's");

struct epoll {
  struct list ready;          /* items, by their ready link */
  struct wait_queue sleepers; /* threads in epoll_wait: one is woken for one item */
  struct wait_queue watchers; /* poll and outer epolls: all are woken */
  struct item **items;        /* by descriptor; items of the same one are chained */
  u32 items_size;
};

struct item {
  struct list ready;
  struct list of_file; /* in file->watches */
  struct item *next;   /* of the same descriptor number */
  struct wait_entry hook;
  struct epoll *epoll;
  struct file *file; /* not counted: file_put removes the item */
  int fd;
  struct epoll_event event;
};

static bool enabled(const struct item *item) { return (item->event.events & ~CONTROL_BITS) != 0; }

static u32 true_events(struct item *item) {
  return enabled(item) ? file_poll(item->file) & (item->event.events | POLLERR | POLLHUP) : 0;
}

static void make_ready(struct item *item) {
  struct epoll *ep = item->epoll;
  if (!list_linked(&item->ready)) list_push(&ep->ready, &item->ready);
  wake_some(&ep->sleepers, POLLIN, 1);
  wake(&ep->watchers, POLLIN);
}

static void on_wake(struct wait_entry *entry, u32 events) {
  struct item *item = entry->owner;
  if (events != 0 && !(events & (item->event.events | POLLERR | POLLHUP))) return;
  if (enabled(item)) make_ready(item);
}

static struct item **slot_of(struct epoll *ep, int fd, const struct file *f) {
  if ((u32)fd >= ep->items_size) return NULL;
  for (struct item **slot = &ep->items[fd]; *slot != NULL; slot = &(*slot)->next)
    if ((*slot)->file == f) return slot;
  return NULL;
}

static void item_remove(struct item **slot) {
  struct item *item = *slot;
  *slot = item->next;
  wait_remove(&item->hook);
  if (list_linked(&item->ready)) list_remove(&item->ready);
  list_remove(&item->of_file);
  kfree(item);
}

void epoll_forget(struct file *f) {
  if (f->watches.next == NULL) return;
  while (!list_empty(&f->watches)) {
    struct item *item = CONTAINER(f->watches.next, struct item, of_file);
    item_remove(slot_of(item->epoll, item->fd, f));
  }
}

static bool items_grow(struct epoll *ep, int fd) {
  if ((u32)fd < ep->items_size) return true;
  u32 size = MAX(ep->items_size, 32u);
  while (size <= (u32)fd) size *= 2;
  struct item **grown = krealloc(ep->items, size * sizeof *grown);
  if (grown == NULL) return false;
  memset(grown + ep->items_size, 0, (size - ep->items_size) * sizeof *grown);
  ep->items = grown;
  ep->items_size = size;
  return true;
}

/* ---- the file ---- */

static u32 epoll_poll(struct file *f) {
  struct epoll *ep = f->state;
  LIST_EACH(&ep->ready, link) {
    if (true_events(CONTAINER(link, struct item, ready)) != 0) return POLLIN;
    list_remove(link);
  }
  return 0;
}

static struct wait_queue *epoll_queue(struct file *f) { return &((struct epoll *)f->state)->watchers; }

static void epoll_close(struct file *f) {
  struct epoll *ep = f->state;
  for (u32 fd = 0; fd < ep->items_size; fd++)
    while (ep->items[fd] != NULL) item_remove(&ep->items[fd]);
  kfree(ep->items);
  kfree(ep);
}

const struct file_ops epoll_ops = {.poll = epoll_poll, .queue = epoll_queue, .close = epoll_close};

static i64 create(u32 flags) {
  if (flags & ~(u32)O_CLOEXEC) return -EINVAL;
  struct epoll *ep = kzalloc(sizeof *ep);
  struct file *f = ep == NULL ? NULL : file_new(&epoll_ops, ep, O_RDWR, "eventpoll");
  if (f == NULL) {
    kfree(ep);
    return -ENOMEM;
  }
  list_init(&ep->ready);
  wait_queue_init(&ep->sleepers);
  wait_queue_init(&ep->watchers);
  return fd_install(f, 0, flags & O_CLOEXEC);
}

i64 sys_epoll_create(const u64 *a) { return (i32)a[0] <= 0 ? -EINVAL : create(0); }
i64 sys_epoll_create1(const u64 *a) { return create((u32)a[0]); }

/* ---- epoll_ctl ---- */

/* How deep the epolls below f are nested; more than NESTING_MAX also for a chain that leads back to `outer`. */
static int depth_below(const struct file *f, const struct epoll *outer, int level) {
  if (f->ops != &epoll_ops) return level;
  const struct epoll *ep = f->state;
  if (ep == outer || level >= NESTING_MAX) return NESTING_MAX + 1;
  int deepest = level + 1;
  for (u32 fd = 0; fd < ep->items_size; fd++)
    for (const struct item *item = ep->items[fd]; item != NULL; item = item->next)
      deepest = MAX(deepest, depth_below(item->file, outer, level + 1));
  return deepest;
}

/* How many epolls are nested around ep, at the longest. */
static int depth_above(const struct epoll *ep, int level) {
  int deepest = level;
  if (level > NESTING_MAX) return level;
  LIST_EACH(&ep->watchers.entries, link) {
    const struct wait_entry *e = CONTAINER(link, struct wait_entry, link);
    if (e->wake == on_wake) deepest = MAX(deepest, depth_above(((struct item *)e->owner)->epoll, level + 1));
  }
  return deepest;
}

/* Something may be true already: that counts as having become so. */
static void first_look(struct item *item) {
  if (true_events(item) != 0) make_ready(item);
}

static i64 add(struct epoll *ep, int fd, struct file *f, struct epoll_event event) {
  if (f->ops->poll == NULL) return -EPERM;
  if (slot_of(ep, fd, f) != NULL) return -EEXIST;
  if ((event.events & EPOLLEXCLUSIVE) && f->ops == &epoll_ops) return -EINVAL;
  if (f->ops == &epoll_ops && depth_below(f, ep, 0) + depth_above(ep, 0) > NESTING_MAX) return -ELOOP;
  struct item *item = items_grow(ep, fd) ? kzalloc(sizeof *item) : NULL;
  if (item == NULL) return -ENOMEM;
  item->epoll = ep;
  item->file = f;
  item->fd = fd;
  item->event = event;
  item->next = ep->items[fd];
  ep->items[fd] = item;
  list_init(&item->ready);
  if (f->watches.next == NULL) list_init(&f->watches);
  list_push(&f->watches, &item->of_file);
  struct wait_queue *queue = file_queue(f);
  if (queue != NULL) wait_add(queue, &item->hook, on_wake, item);
  first_look(item);
  return 0;
}

static i64 modify(struct item *item, struct epoll_event event) {
  if ((item->event.events | event.events) & EPOLLEXCLUSIVE) return -EINVAL;
  item->event = event;
  if (list_linked(&item->ready)) list_remove(&item->ready);
  first_look(item);
  return 0;
}

i64 sys_epoll_ctl(const u64 *a) {
  struct file *f = fd_get((int)a[0]), *target = fd_get((int)a[2]);
  struct epoll_event event = {0};
  if (a[1] != EPOLL_CTL_DEL) {
    if (!user_readable(a[3], sizeof event)) return -EFAULT;
    memcpy(&event, (const void *)a[3], sizeof event);
  }
  if (f == NULL || target == NULL) return -EBADF;
  if (f->ops != &epoll_ops || f == target) return -EINVAL;
  struct epoll *ep = f->state;
  if (a[1] == EPOLL_CTL_ADD) return add(ep, (int)a[2], target, event);
  struct item **slot = slot_of(ep, (int)a[2], target);
  if (a[1] != EPOLL_CTL_DEL && a[1] != EPOLL_CTL_MOD) return -EINVAL;
  if (slot == NULL) return -ENOENT;
  if (a[1] == EPOLL_CTL_MOD) return modify(*slot, event);
  item_remove(slot);
  return 0;
}

/* ---- epoll_wait ---- */

/* Moves up to `max` events out. Level-triggered items that were true go to the end of the list: the next wait looks
 * at them again, after the others had their turn. */
static int harvest(struct epoll *ep, struct epoll_event *out, int max) {
  struct list again;
  list_init(&again);
  int n = 0;
  while (n < max && !list_empty(&ep->ready)) {
    struct item *item = CONTAINER(ep->ready.next, struct item, ready);
    list_remove(&item->ready);
    u32 events = true_events(item);
    if (events == 0) continue;
    out[n++] = (struct epoll_event){events, item->event.data};
    if (item->event.events & EPOLLONESHOT) item->event.events &= CONTROL_BITS;
    else if (!(item->event.events & EPOLLET)) list_push(&again, &item->ready);
  }
  while (!list_empty(&again)) {
    struct list *link = again.next;
    list_remove(link);
    list_push(&ep->ready, link);
  }
  return n;
}

static i64 wait_events(struct file *f, u64 address, int max, u64 deadline) {
  struct epoll *ep = f->state;
  struct epoll_event *out = (struct epoll_event *)address;
  for (int slept = 0;;) {
    if (!user_writable(address, (u64)max * sizeof *out)) return -EFAULT;
    int n = harvest(ep, out, max);
    /* This thread may have taken the wake-up of an item that it leaves. */
    if (!list_empty(&ep->ready)) wake_some(&ep->sleepers, POLLIN, 1);
    if (n > 0 || slept == -ETIMEDOUT) return n;
    if (slept < 0) return -EINTR; /* never begins again */
    if (deadline == 0) return 0;
    slept = sleep_on(&ep->sleepers, deadline);
  }
}

static i64 wait_fd(const u64 *a, u64 deadline, u64 mask, u64 mask_size) {
  struct file *f = fd_get((int)a[0]);
  int max = (int)a[2];
  u64 saved;
  if (max <= 0 || max > 0x7fffffff / (int)sizeof(struct epoll_event)) return -EINVAL;
  if (f == NULL) return -EBADF;
  if (f->ops != &epoll_ops) return -EINVAL;
  i64 error = mask_enter(mask, mask_size, &saved);
  if (error != 0) return error;
  file_ref(f);
  i64 n = wait_events(f, a[1], max, deadline);
  file_put(f);
  signal_mask_leave(saved, n);
  return n;
}

/* 0 = only look. */
static u64 deadline_ms(i32 ms) { return ms < 0 ? FOREVER : ms == 0 ? 0 : clock_mono() + (u64)ms * 1000000; }

i64 sys_epoll_wait(const u64 *a) { return wait_fd(a, deadline_ms((i32)a[3]), 0, 0); }
i64 sys_epoll_pwait(const u64 *a) { return wait_fd(a, deadline_ms((i32)a[3]), a[4], a[5]); }

i64 sys_epoll_pwait2(const u64 *a) {
  u64 deadline;
  i64 error = timeout_read(a[3], &deadline);
  return error != 0 ? error : wait_fd(a, deadline, a[4], a[5]);
}
