/* System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2). A segment is a file without a name that is mapped; all of its
 * attachments are in the one program. */
#include "mm.h"
#include "path.h"
#include "syscall.h"
#include "thread.h"

enum { IPC_CREAT = 01000, IPC_EXCL = 02000, SHM_HUGETLB = 04000, SHM_DEST = 01000 };
enum { SHM_RDONLY = 010000, SHM_RND = 020000, SHM_REMAP = 040000, SHM_EXEC = 0100000 };
enum { IPC_RMID, IPC_SET, IPC_STAT, SHM_LOCK = 11, SHM_UNLOCK };

struct shmid_ds { /* the kernel's shmid64_ds */
  i32 key;
  u32 uid, gid, creator_uid, creator_gid, mode;
  u16 sequence, pad;
  u64 unused[2];
  u64 size;
  i64 attach_time, detach_time, change_time;
  i32 creator, last;
  u64 attachments, more[2];
};
_Static_assert(sizeof(struct shmid_ds) == 112, "shmid64_ds");

struct segment {
  struct list link;
  struct file *file;
  i32 id;
  struct shmid_ds told; /* but for `attachments`, which are counted when asked for */
};

static struct list segments = LIST_INIT(segments);

static i64 now(void) { return (i64)(clock_wall() / NS_PER_SEC); }

static bool removed(const struct segment *s) { return s->told.mode & SHM_DEST; }

/* Mappings of its start: what is mapped may also have been unmapped by munmap. */
static u64 attachments(const struct segment *s) {
  size_t count;
  u64 found = 0;
  const struct vma *list = space_list(&count);
  for (size_t i = 0; i < count; i++) found += list[i].file == s->file && list[i].offset == 0;
  return found;
}

/* Segments that were removed go with their last attachment. */
static void sweep(void) {
  LIST_EACH(&segments, item) {
    struct segment *s = CONTAINER(item, struct segment, link);
    if (!removed(s) || attachments(s) > 0) continue;
    list_remove(&s->link);
    file_put(s->file);
    kfree(s);
  }
}

static struct segment *find(i32 id) {
  sweep();
  LIST_EACH(&segments, item) {
    struct segment *s = CONTAINER(item, struct segment, link);
    if (s->id == id) return s;
  }
  return NULL;
}

static struct segment *find_key(i32 key) {
  sweep();
  LIST_EACH(&segments, item) {
    struct segment *s = CONTAINER(item, struct segment, link);
    if (key != 0 && s->told.key == key) return s;
  }
  return NULL;
}

static i64 make(i32 key, u64 size, u32 mode) {
  static i32 next_id;
  char name[32];
  i64 error;
  if (size == 0 || size > FILE_SIZE_MAX) return -EINVAL;
  if (size > frames_total()) return -ENOMEM;
  struct segment *s = kzalloc(sizeof *s);
  if (s == NULL) return -ENOMEM;
  snprint(name, sizeof name, "/SYSV%08x", (u32)key);
  s->file = open_anonymous(DEV_ANONYMOUS, name, O_RDWR, mode & 0777, &error);
  if (s->file == NULL) {
    kfree(s);
    return error;
  }
  content_truncate(s->file->inode, ALIGN_UP(size, PAGE));
  s->id = next_id++;
  s->told = (struct shmid_ds){.key = key,
                              .uid = user_ids.effective,
                              .gid = group_ids.effective,
                              .creator_uid = user_ids.effective,
                              .creator_gid = group_ids.effective,
                              .mode = mode & 0777,
                              .size = size,
                              .change_time = now(),
                              .creator = process_id()};
  list_push(&segments, &s->link);
  return s->id;
}

i64 sys_shmget(const u64 *a) {
  i32 key = (i32)a[0];
  u32 flags = (u32)a[2];
  struct segment *s = find_key(key);
  if (flags & SHM_HUGETLB) return -ENOMEM; /* no page is reserved for that */
  if (s == NULL) return key == 0 || (flags & IPC_CREAT) ? make(key, a[1], flags) : -ENOENT;
  if ((flags & IPC_CREAT) && (flags & IPC_EXCL)) return -EEXIST;
  return a[1] > s->told.size ? -EINVAL : s->id;
}

i64 sys_shmat(const u64 *a) {
  struct segment *s = find((i32)a[0]);
  u64 at = a[1], flags = a[2];
  if (s == NULL || (at == 0 && (flags & SHM_REMAP))) return -EINVAL;
  if (flags & SHM_RND) at = ALIGN_DOWN(at, PAGE);
  if (at % PAGE != 0) return -EINVAL;
  u32 prot = PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
  u32 fixed = at == 0 ? 0 : flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  i64 result = space_map(at, s->told.size, prot, MAP_SHARED | fixed, s->file, 0);
  if (result < 0) return result == -EEXIST ? -EINVAL : result;
  s->told.attach_time = now();
  s->told.last = process_id();
  return result;
}

i64 sys_shmdt(const u64 *a) {
  const struct vma *v = a[0] % PAGE == 0 ? space_find(a[0]) : NULL;
  LIST_EACH(&segments, item) {
    struct segment *s = CONTAINER(item, struct segment, link);
    if (v == NULL || v->file != s->file || v->start != a[0] || v->offset != 0) continue;
    s->told.detach_time = now();
    s->told.last = process_id();
    i64 error = space_unmap(a[0], ALIGN_UP(s->told.size, PAGE));
    sweep();
    return error;
  }
  return -EINVAL;
}

static i64 change(struct segment *s, u64 address) {
  if (!user_readable(address, sizeof(struct shmid_ds))) return -EFAULT;
  const struct shmid_ds *wanted = (const struct shmid_ds *)address;
  s->told.uid = wanted->uid;
  s->told.gid = wanted->gid;
  s->told.mode = (s->told.mode & ~0777u) | (wanted->mode & 0777);
  s->told.change_time = now();
  return 0;
}

i64 sys_shmctl(const u64 *a) {
  struct segment *s = find((i32)a[0]);
  u32 command = (u32)a[1];
  if (s == NULL) return -EINVAL;
  switch (command) {
    case IPC_STAT:
      if (!user_writable(a[2], sizeof(struct shmid_ds))) return -EFAULT;
      *(struct shmid_ds *)a[2] = s->told;
      ((struct shmid_ds *)a[2])->attachments = attachments(s);
      return 0;
    case IPC_SET: return change(s, a[2]);
    case IPC_RMID:
      s->told.key = 0; /* its name is free again */
      s->told.mode |= SHM_DEST;
      sweep();
      return 0;
    case SHM_LOCK:
    case SHM_UNLOCK: return 0;
    default: return -EINVAL;
  }
}
