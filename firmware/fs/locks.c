/* fs/locks.c: locks on files (fcntl(2), flock(2)). A range is held by the process, whose locks do not hinder each other, or by an open
 * file (F_OFD_*); all of a file by an open file (flock). The two kinds know nothing of each other. */
#include "inode.h"

struct held {
  struct list link;
  const struct file *owner; /* NULL: the process */
  bool whole;               /* flock's */
  i32 type;
  i64 start, end;
};

struct locks {
  struct list held;
  struct wait_queue waiters; /* woken when something is given back */
};

static struct locks *locks_of(struct inode *inode) {
  struct locks *l = inode->locks;
  if (l != NULL) return l;
  l = kzalloc(sizeof *l);
  if (l == NULL) return NULL;
  list_init(&l->held);
  wait_queue_init(&l->waiters);
  inode->locks = l;
  return l;
}

void locks_free(struct inode *inode) {
  if (inode->locks == NULL) return;
  LIST_EACH(&inode->locks->held, item) kfree(CONTAINER(item, struct held, link));
  kfree(inode->locks);
}

static struct held *conflict(const struct locks *l, const struct lock *wanted) {
  LIST_EACH(&l->held, item) {
    struct held *h = CONTAINER(item, struct held, link);
    bool apart = h->whole != wanted->whole || h->owner == wanted->owner || h->end < wanted->start || h->start > wanted->end;
    if (!apart && (h->type == F_WRLCK || wanted->type == F_WRLCK)) return h;
  }
  return NULL;
}

bool lock_find(const struct file *f, struct lock *wanted) {
  const struct held *h = f->inode == NULL || f->inode->locks == NULL ? NULL : conflict(f->inode->locks, wanted);
  if (h != NULL) *wanted = (struct lock){h->owner, h->whole, h->type, h->start, h->end};
  return h != NULL;
}

static void drop(struct held *h) {
  list_remove(&h->link);
  kfree(h);
}

static struct held *hold(struct locks *l, const struct lock *lock, struct held *spare) {
  struct list link = spare->link;
  *spare = (struct held){link, lock->owner, lock->whole, lock->type, lock->start, lock->end};
  list_push(&l->held, &spare->link);
  return spare;
}

/* What the owner has in the range becomes what it wants there; neighbours of the same type become one. `spare` is for both
 * ends of a lock that is cut in two, and for the new one; NULL where memory was short. */
static i64 replace(struct locks *l, struct lock wanted, struct held *spare[2]) {
  const i64 before = wanted.start == 0 ? 0 : wanted.start - 1, behind = wanted.end == FILE_SIZE_MAX ? FILE_SIZE_MAX : wanted.end + 1;
  const i64 start = wanted.start, end = wanted.end;
  LIST_EACH(&l->held, item) {
    struct held *h = CONTAINER(item, struct held, link);
    if (h->whole != wanted.whole || h->owner != wanted.owner) continue;
    if (h->type == wanted.type && h->end >= before && h->start <= behind) {
      wanted.start = MIN(wanted.start, h->start);
      wanted.end = MAX(wanted.end, h->end);
      drop(h);
    } else if (h->end < start || h->start > end) {
      continue;
    } else if (h->start < start && h->end > end) {
      if (spare[1] == NULL) return -ENOLCK;
      hold(l, &(struct lock){h->owner, h->whole, h->type, end + 1, h->end}, spare[1]);
      spare[1] = NULL;
      h->end = start - 1;
    } else if (h->start < start) {
      h->end = start - 1;
    } else if (h->end > end) {
      h->start = end + 1;
    } else {
      drop(h);
    }
  }
  if (wanted.type == F_UNLCK) return 0;
  hold(l, &wanted, spare[0]);
  spare[0] = NULL;
  return 0;
}

static i64 set(struct locks *l, const struct lock *wanted) {
  struct held *spare[2] = {kzalloc(sizeof(struct held)), kzalloc(sizeof(struct held))};
  bool unlocks = wanted->type == F_UNLCK;
  i64 error = (spare[0] == NULL || spare[1] == NULL) && !unlocks ? -ENOLCK : replace(l, *wanted, spare);
  kfree(spare[0]);
  kfree(spare[1]);
  wake(&l->waiters, 0);
  return error;
}

i64 lock_set(struct file *f, const struct lock *wanted, bool wait) {
  if (f->inode == NULL) return 0; /* a pipe, a socket: nobody else can have it open */
  struct locks *l = locks_of(f->inode);
  i64 error = l == NULL ? -ENOLCK : 0;
  /* Changing flock's type gives the lock back first, as flock(2) says. */
  if (error == 0 && wanted->whole && wanted->type != F_UNLCK) {
    struct lock same = *wanted;
    LIST_EACH(&l->held, item) {
      const struct held *h = CONTAINER(item, struct held, link);
      if (h->whole && h->owner == wanted->owner && h->type == wanted->type) return 0;
    }
    same.type = F_UNLCK;
    error = set(l, &same);
  }
  file_ref(f); /* it may be closed meanwhile */
  while (error == 0 && wanted->type != F_UNLCK && conflict(l, wanted) != NULL)
    error = wait ? sleep_on(&l->waiters, FOREVER) : -EAGAIN;
  if (error == 0) error = set(l, wanted);
  file_put(f);
  return error;
}

void locks_print(const struct inode *inode, int *number, struct text *out) {
  if (inode->locks == NULL) return;
  LIST_EACH(&inode->locks->held, item) {
    const struct held *h = CONTAINER(item, struct held, link);
    const char *kind = h->whole ? "FLOCK " : h->owner == NULL ? "POSIX " : "OFDLCK";
    int pid = h->whole || h->owner == NULL ? process_id() : -1;
    text_print(out, "%d: %s ADVISORY  %s %d 00:%02x:%lu %lu ", ++*number, kind, h->type == F_WRLCK ? "WRITE" : "READ ", pid, inode->dev,
               inode->ino, (u64)h->start);
    if (h->end == FILE_SIZE_MAX) text_print(out, "EOF\n");
    else text_print(out, "%lu\n", (u64)h->end);
  }
}

static void give_back(struct inode *inode, const struct file *owner) {
  bool any = false;
  LIST_EACH(&inode->locks->held, item) {
    struct held *h = CONTAINER(item, struct held, link);
    if (h->owner != owner) continue;
    drop(h);
    any = true;
  }
  if (any) wake(&inode->locks->waiters, 0);
}

void locks_process_closed(struct inode *inode) {
  if (inode != NULL && inode->locks != NULL) give_back(inode, NULL);
}

void locks_file_closed(const struct file *f) {
  if (f->inode != NULL && f->inode->locks != NULL) give_back(f->inode, f);
}
