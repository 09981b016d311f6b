/* fs/proc_text.c: the texts under /proc/PID. */
#include "arch.h"
#include "exec.h"
#include "identity.h"
#include "inode.h"
#include "mm.h"
#include "signal.h"
#include "thread.h"

static u64 start_time; /* CLOCK_MONOTONIC */

void proc_start(void) { start_time = clock_mono(); }

/* `count` of the strings that the program started with, after the first `skip`. */
static void start_strings(struct text *out, u64 skip, u64 count) {
  const char *s = started.strings;
  u64 size = started.size, start = 0, at = 0;
  for (; skip > 0 && start < size; skip--) start += strnlen(s + start, size - start) + 1;
  for (at = start; count > 0 && at < size; count--) at += strnlen(s + at, size - at) + 1;
  if (start < size) text_add(out, s + start, MIN(at, size) - start);
}

static void generate_cmdline(struct inode *inode, struct text *out) { start_strings(out, 0, started.argc); }

static void generate_environ(struct inode *inode, struct text *out) { start_strings(out, started.argc, started.envc); }

static u8 auxv[512];
static size_t auxv_size;

void proc_set_auxv(const void *bytes, size_t n) {
  ASSERT(n <= sizeof auxv);
  memcpy(auxv, bytes, n);
  auxv_size = n;
}

static void generate_auxv(struct inode *inode, struct text *out) { text_add(out, auxv, auxv_size); }

static void print_mapping(struct text *out, const struct vma *v) {
  const struct inode *inode = v->file == NULL ? NULL : v->file->inode;
  text_print(out, "%lx-%lx %c%c%c%c %08lx 00:%02x %lu ", v->start, v->end, v->prot & PROT_READ ? 'r' : '-',
             v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-', v->flags & MAP_SHARED ? 's' : 'p',
             v->offset, inode == NULL ? 0 : inode->dev, inode == NULL ? 0ul : inode->ino);
  if (v->file != NULL) {
    text_print(out, "                          ");
    file_name(v->file, out);
  } else if (v->start < brk_end && v->end > brk_start) {
    text_print(out, "                          [heap]");
  } else if (v->start < stack_top && v->end >= stack_top) {
    text_print(out, "                          [stack]");
  }
  text_print(out, "\n");
}

static void print_vdso(struct text *out) {
  u64 start = (u64)vdso_start, end = ALIGN_UP((u64)vdso_end, (u64)PAGE);
  text_print(out, "%lx-%lx r-xp 00000000 00:00 0                           [vdso]\n", start, end);
}

static void generate_maps(struct inode *inode, struct text *out) {
  size_t count, i = 0;
  const struct vma *list = space_list(&count);
  for (; i < count && list[i].start < (u64)vdso_start; i++) print_mapping(out, &list[i]);
  print_vdso(out);
  for (; i < count; i++) print_mapping(out, &list[i]);
}

/* The size of what is mapped is known, not which of its pages were touched: all of it counts as resident. */
struct usage {
  u64 size, resident, clean, anonymous;
};

static struct usage usage_of(const struct vma *v) {
  u64 size = (v->end - v->start) / KiB, resident = v->prot == PROT_NONE ? 0 : size;
  bool clean = v->file != NULL && !(v->prot & PROT_WRITE);
  return (struct usage){size, resident, clean ? resident : 0, v->file == NULL ? resident : 0};
}

static void print_usage(struct text *out, const struct usage *u) {
  text_print(out, "Rss:            %8lu kB\nPss:            %8lu kB\nPss_Dirty:      %8lu kB\n", u->resident, u->resident,
             u->resident - u->clean);
  text_print(out, "Shared_Clean:          0 kB\nShared_Dirty:          0 kB\n");
  text_print(out, "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n", u->clean, u->resident - u->clean);
  text_print(out, "Referenced:     %8lu kB\nAnonymous:      %8lu kB\n", u->resident, u->anonymous);
  text_print(out, "LazyFree:              0 kB\nAnonHugePages:         0 kB\nSwap:                  0 kB\n");
  text_print(out, "SwapPss:               0 kB\nLocked:                0 kB\n");
}

static void generate_smaps(struct inode *inode, struct text *out) {
  size_t count;
  const struct vma *list = space_list(&count);
  for (size_t i = 0; i < count; i++) {
    struct usage u = usage_of(&list[i]);
    print_mapping(out, &list[i]);
    text_print(out, "Size:           %8lu kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n", u.size);
    print_usage(out, &u);
  }
}

static void generate_smaps_rollup(struct inode *inode, struct text *out) {
  size_t count;
  struct usage all = {0};
  const struct vma *list = space_list(&count);
  for (size_t i = 0; i < count; i++) {
    struct usage u = usage_of(&list[i]);
    all = (struct usage){all.size + u.size, all.resident + u.resident, all.clean + u.clean, all.anonymous + u.anonymous};
  }
  if (count == 0) return;
  text_print(out, "%lx-%lx ---p 00000000 00:00 0                          [rollup]\n", list[0].start, list[count - 1].end);
  print_usage(out, &all);
}

const char *proc_maps(size_t *size) {
  static struct text text;
  text.size = 0;
  text.failed = false;
  generate_maps(NULL, &text);
  *size = text.failed ? 0 : text.size;
  return text.data;
}

static u64 mapped_bytes(void) {
  size_t count;
  u64 bytes = 0;
  const struct vma *list = space_list(&count);
  for (size_t i = 0; i < count; i++) bytes += list[i].end - list[i].start;
  return bytes;
}

static u64 resident_bytes(void) { return frames_total() - frames_free(); }

static u64 pages(u64 bytes) { return bytes / PAGE; }

static u64 kib(u64 bytes) { return bytes / KiB; }

/* USER_HZ ticks. */
static u64 ticks(u64 ns) { return ns / (NS_PER_SEC / 100); }

static void print_stat(struct text *out, const struct thread *t) {
  text_print(out, "%d (%s) R 0 %d %d 0 -1 4194560 0 0 0 0 ", t->tid, t->name, process_id(), process_id());
  text_print(out, "%lu 0 0 0 20 0 %d 0 %lu ", ticks(t == leader() ? process_cpu_time() : thread_cpu_time(t)),
             thread_count(), ticks(start_time));
  text_print(out, "%lu %lu 18446744073709551615 ", mapped_bytes(), pages(resident_bytes()));
  text_print(out, "0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

static void print_ids(struct text *out, const char *name, const struct ids *ids) {
  text_print(out, "%s:\t%u\t%u\t%u\t%u\n", name, ids->real, ids->effective, ids->saved, ids->files);
}

/* Those that are ignored on purpose, or have a handler. */
static u64 signals_with(bool ignored) {
  u64 bits = 0;
  for (int i = 1; i <= SIGNALS; i++) {
    u64 handler = signal_actions[i].handler;
    if (ignored ? handler == SIG_IGN : handler != SIG_IGN && handler != SIG_DFL) bits |= SIGNAL_BIT(i);
  }
  return bits;
}

static void print_status(struct text *out, const struct thread *t) {
  text_print(out, "Name:\t%s\nUmask:\t%04o\nState:\tR (running)\nTgid:\t%d\nNgid:\t0\n", t->name, fs_umask,
             process_id());
  text_print(out, "Pid:\t%d\nPPid:\t0\nTracerPid:\t0\n", t->tid);
  print_ids(out, "Uid", &user_ids);
  print_ids(out, "Gid", &group_ids);
  text_print(out, "FDSize:\t%d\nGroups:\t", FD_MAX);
  for (u32 i = 0; i < group_count; i++) text_print(out, "%s%u", i == 0 ? "" : " ", groups[i]);
  text_print(out, " \n");
  u64 size = kib(mapped_bytes()), resident = kib(resident_bytes()), stack = limits[RLIMIT_STACK].soft / KiB;
  text_print(out, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\n", size, size);
  text_print(out, "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\n", resident, resident, resident);
  text_print(out, "RssFile:\t       0 kB\nRssShmem:\t       0 kB\nVmData:\t%8lu kB\nVmStk:\t%8lu kB\n", size, MIN(stack, 8192));
  text_print(out, "VmExe:\t       0 kB\nVmLib:\t       0 kB\nVmPTE:\t       0 kB\nVmSwap:\t       0 kB\n");
  text_print(out, "Threads:\t%d\nSigQ:\t0/%lu\nSigPnd:\t%016lx\nShdPnd:\t%016lx\n", thread_count(),
             limits[RLIMIT_SIGPENDING].soft, t->pending.bits, signals_pending(t) & ~t->pending.bits);
  text_print(out, "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n", t->signal_mask, signals_with(true), signals_with(false));
  text_print(out, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\n", capabilities.inheritable,
             capabilities.permitted, capabilities.effective);
  text_print(out, "CapBnd:\t%016lx\nCapAmb:\t%016lx\nNoNewPrivs:\t%d\nSeccomp:\t0\n", capabilities.bounding,
             capabilities.ambient, no_new_privileges);
  text_print(out, "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
  text_print(out, "voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t0\n", SHARED->stat_switches);
}

static void generate_statm(struct inode *inode, struct text *out) {
  text_print(out, "%lu %lu 0 0 0 %lu 0\n", pages(mapped_bytes()), pages(resident_bytes()), pages(mapped_bytes()));
}

static void generate_mounts(struct inode *inode, struct text *out) {
  text_print(out, "mayfly / tmpfs rw 0 0\nproc /proc proc rw 0 0\ndev /dev tmpfs rw 0 0\n");
  text_print(out, "sysfs /sys sysfs ro 0 0\nshm /dev/shm tmpfs rw 0 0\n");
}

static void generate_mountinfo(struct inode *inode, struct text *out) {
  text_print(out, "1 0 0:%u / / rw - tmpfs mayfly rw\n2 1 0:%u / /proc rw - proc proc rw\n", DEV_ROOT, DEV_PROC);
  text_print(out, "3 1 0:%u / /dev rw - tmpfs dev rw\n4 1 0:%u / /sys ro - sysfs sysfs ro\n", DEV_DEV, DEV_SYS);
  text_print(out, "5 3 0:%u / /dev/shm rw - tmpfs shm rw\n", DEV_SHM);
}

static void generate_cgroup(struct inode *inode, struct text *out) { text_print(out, "0::/\n"); }

static void print_limit(struct text *out, u64 value) {
  if (value == ~0ull) text_print(out, "%-20s ", "unlimited");
  else text_print(out, "%-20lu ", value);
}

static void generate_limits(struct inode *inode, struct text *out) {
  static const struct {
    const char *name, *unit;
  } rows[LIMITS] = {{"Max cpu time", "seconds"},    {"Max file size", "bytes"},      {"Max data size", "bytes"},
                    {"Max stack size", "bytes"},    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
                    {"Max processes", "processes"}, {"Max open files", "files"},     {"Max locked memory", "bytes"},
                    {"Max address space", "bytes"}, {"Max file locks", "locks"},     {"Max pending signals", "signals"},
                    {"Max msgqueue size", "bytes"}, {"Max nice priority", ""},       {"Max realtime priority", ""},
                    {"Max realtime timeout", "us"}};
  text_print(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (u32 i = 0; i < LIMITS; i++) {
    text_print(out, "%-25s ", rows[i].name);
    print_limit(out, limits[i].soft);
    print_limit(out, limits[i].hard);
    text_print(out, "%-10s\n", rows[i].unit);
  }
}

static void generate_fdinfo(struct inode *inode, struct text *out) {
  int fd = (int)inode->special.number;
  const struct file *f = fd_get(fd);
  enum { ROOT_MOUNT = 1 };
  if (f == NULL) return;
  u64 ino = f->inode == NULL ? file_number(f) : f->inode->ino;
  text_print(out, "pos:\t%ld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%lu\n", (i64)f->pos,
             f->flags | (fd_cloexec(fd) ? O_CLOEXEC : 0), ROOT_MOUNT, ino);
}

static void generate_io(struct inode *inode, struct text *out) {
  text_print(out, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n");
  text_print(out, "cancelled_write_bytes: 0\n");
}

static void generate_loginuid(struct inode *inode, struct text *out) { text_print(out, "4294967295"); }

static void generate_id_map(struct inode *inode, struct text *out) {
  text_print(out, "         0          0 4294967295\n");
}

static void generate_wchan(struct inode *inode, struct text *out) { text_print(out, "0"); }

static void generate_children(struct inode *inode, struct text *out) {}

static void generate_personality(struct inode *inode, struct text *out) { text_print(out, "00000000\n"); }

static void generate_timerslack(struct inode *inode, struct text *out) { text_print(out, "50000\n"); }

static void generate_coredump(struct inode *inode, struct text *out) { text_print(out, "00000033\n"); }

static void generate_setgroups(struct inode *inode, struct text *out) { text_print(out, "allow\n"); }

static void generate_cpuset(struct inode *inode, struct text *out) { text_print(out, "/\n"); }

static void generate_mountstats(struct inode *inode, struct text *out) {
  text_print(out, "device mayfly mounted on / with fstype tmpfs\ndevice proc mounted on /proc with fstype proc\n");
  text_print(out, "device dev mounted on /dev with fstype tmpfs\ndevice sysfs mounted on /sys with fstype sysfs\n");
  text_print(out, "device shm mounted on /dev/shm with fstype tmpfs\n");
}

static void generate_oom(struct inode *inode, struct text *out) { text_print(out, "0\n"); }

/* A thread's files carry its number; 0 is the first thread. */
static const struct thread *thread_of(const struct inode *inode) {
  const struct thread *t = inode->special.number == 0 ? NULL : thread_find((int)inode->special.number);
  return t == NULL ? leader() : t;
}

static void generate_stat(struct inode *inode, struct text *out) { print_stat(out, thread_of(inode)); }

static void generate_status(struct inode *inode, struct text *out) { print_status(out, thread_of(inode)); }

/* Time on the processor and waiting for it, in ns, and turns. */
static void generate_schedstat(struct inode *inode, struct text *out) {
  text_print(out, "%lu 0 %lu\n", thread_cpu_time(thread_of(inode)), SHARED->stat_switches);
}

static void generate_comm(struct inode *inode, struct text *out) { text_print(out, "%s\n", thread_of(inode)->name); }

#define GENERATED(name) const struct inode_ops proc_##name##_ops = {.file = &text_file_ops, .generate = generate_##name}
GENERATED(auxv);
GENERATED(cmdline);
GENERATED(smaps);
GENERATED(smaps_rollup);
GENERATED(wchan);
GENERATED(schedstat);
GENERATED(children);
GENERATED(personality);
GENERATED(timerslack);
GENERATED(coredump);
GENERATED(setgroups);
GENERATED(cpuset);
GENERATED(mountstats);
GENERATED(fdinfo);
GENERATED(io);
GENERATED(loginuid);
GENERATED(id_map);
GENERATED(environ);
GENERATED(maps);
GENERATED(statm);
GENERATED(mounts);
GENERATED(mountinfo);
GENERATED(cgroup);
GENERATED(limits);
GENERATED(oom);
GENERATED(stat);
GENERATED(status);

/* pthread_setname_np writes the names of other threads here. */
static ssize_t comm_write(struct file *f, const void *buf, size_t n, off_t *pos) {
  struct thread *t = (struct thread *)(uintptr_t)thread_of(f->inode);
  size_t size = MIN(n, sizeof(t->name) - 1);
  if (size > 0 && ((const char *)buf)[size - 1] == '\n') size--;
  memset(t->name, 0, sizeof(t->name));
  memcpy(t->name, buf, size);
  return (ssize_t)n;
}

static ssize_t comm_read(struct file *f, void *buf, size_t n, off_t *pos) { return text_file_ops.read(f, buf, n, pos); }

static const struct file_ops comm_file_ops = {.read = comm_read, .write = comm_write};
const struct inode_ops proc_comm_ops = {.file = &comm_file_ops, .generate = generate_comm};
