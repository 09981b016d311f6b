#include "machine.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PML4_GPA 0x1000ul
#define PDPT_GPA 0x2000ul
#define PD_GPA 0x3000ul
#define TSS_GPA 0x5000ul
#define BLOCK (2ul << 20)
#define REGIONS_MAX 256

/* linux/fs.h has these since Linux 6.7; older header packages do not. */
struct scan_region {
  uint64_t start, end, categories;
};
struct scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)

/* mov %al,(%rdi); add $4096,%rdi; dec %ecx; jnz; and the exit that ends an invocation. */
static const uint8_t DIRTY_CODE[] = {0x88, 0x07, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00,
                                     0x00, 0xff, 0xc9, 0x75, 0xf3, 0xe6, 0xe9};
/* out %al,$0xe9; jmp back: one exit for each entry. */
static const uint8_t EXIT_CODE[] = {0xe6, 0xe9, 0xeb, 0xfc};

uint8_t *template_ram;
static int kvm, pagemap, template_fd, run_size;
static struct kvm_cpuid2 *cpuid;

long check(long result, const char *what) {
  if (result >= 0) return result;
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *map(size_t size, int flags, int fd) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  check(at == MAP_FAILED ? -1 : 0, "mmap");
  return at;
}

/* Everything below 64 MiB is mapped 1:1 in 2 MiB blocks for CPL 3, accessed and dirty, so that
 * nothing dirties a table. */
static void build_page_tables(uint8_t *ram) {
  *(uint64_t *)(ram + PML4_GPA) = PDPT_GPA | 0x27;
  *(uint64_t *)(ram + PDPT_GPA) = PD_GPA | 0x27;
  uint64_t *blocks = (uint64_t *)(ram + PD_GPA);
  for (uint64_t i = 0; i < RAM_SIZE / BLOCK; i++) blocks[i] = i * BLOCK | 0xe7;
}

static void build_template(void) {
  template_fd = (int)check(memfd_create("floor", MFD_CLOEXEC), "memfd_create");
  check(ftruncate(template_fd, RAM_SIZE), "ftruncate");
  template_ram = map(RAM_SIZE, MAP_SHARED, template_fd);
  memset(template_ram, 0, RAM_SIZE); /* the page cache has every page, as it has for a real template */
  build_page_tables(template_ram);
  memcpy(template_ram + CODE_GPA, DIRTY_CODE, sizeof DIRTY_CODE);
  memcpy(template_ram + EXIT_GPA, EXIT_CODE, sizeof EXIT_CODE);
}

static void set_sregs(struct kvm_sregs *s) {
  struct kvm_segment code = {
      .limit = ~0u, .selector = 0x33, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
  struct kvm_segment data = {
      .limit = ~0u, .selector = 0x2b, .type = 3, .present = 1, .dpl = 3, .s = 1, .db = 1, .g = 1};
  s->cs = code;
  s->ds = s->es = s->fs = s->gs = s->ss = data;
  s->tr = (struct kvm_segment){.base = TSS_GPA, .limit = 0x67, .selector = 0x40, .type = 11, .present = 1};
  s->cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
  s->cr3 = PML4_GPA;
  s->cr4 = 0x620;  /* OSXMMEXCPT OSFXSR PAE */
  s->efer = 0xd01; /* NXE LMA LME SCE */
}

void map_ram(struct machine *m) { m->ram = map(RAM_SIZE, MAP_PRIVATE | MAP_NORESERVE, template_fd); }

void unmap_ram(struct machine *m) { munmap(m->ram, RAM_SIZE); }

void create(struct machine *m) {
  map_ram(m);
  m->vm = (int)check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE, .userspace_addr = (uint64_t)m->ram};
  check(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
  m->vcpu = (int)check(ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  m->run = map((size_t)run_size, MAP_SHARED, m->vcpu);
  check(ioctl(m->vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
  check(ioctl(m->vcpu, KVM_GET_SREGS, &m->run->s.regs.sregs), "KVM_GET_SREGS");
  set_sregs(&m->run->s.regs.sregs);
}

void destroy(struct machine *m) {
  munmap(m->run, (size_t)run_size);
  close(m->vcpu);
  close(m->vm);
  unmap_ram(m);
}

/* Enters the guest until its OUT; registers come from the synced area of kvm_run. */
void enter(struct machine *m) {
  check(ioctl(m->vcpu, KVM_RUN, 0), "KVM_RUN");
  if (m->run->exit_reason == KVM_EXIT_IO && m->run->io.port == 0xe9) return;
  fprintf(stderr, "floor: unexpected exit %u\n", m->run->exit_reason);
  exit(1);
}

void enter_at(struct machine *m, uint64_t rip, uint64_t pages) {
  m->run->s.regs.regs = (struct kvm_regs){.rip = rip, .rdi = DATA_GPA, .rcx = pages, .rax = 1, .rflags = 0x3002};
  m->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  enter(m);
}

/* Copies the template's bytes over every page that the guest wrote: the anonymous pages of the
 * private mapping. */
void rewind_ram(struct machine *m) {
  struct scan_region regions[REGIONS_MAX];
  uint64_t base = (uint64_t)m->ram;
  struct scan_arg scan = {.size = sizeof scan,
                          .end = base + RAM_SIZE,
                          .vec = (uint64_t)regions,
                          .vec_len = REGIONS_MAX,
                          .category_inverted = SCAN_FILE,
                          .category_mask = SCAN_FILE,
                          .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
                          .return_mask = SCAN_PRESENT};
  for (scan.start = base; scan.start < scan.end; scan.start = scan.walk_end) {
    long count = check(ioctl(pagemap, SCAN_IOCTL, &scan), "PAGEMAP_SCAN");
    for (long i = 0; i < count; i++) {
      uint64_t offset = regions[i].start - base;
      memcpy(m->ram + offset, template_ram + offset, regions[i].end - regions[i].start);
    }
  }
}

void open_memory(void) {
  pagemap = (int)check(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), "/proc/self/pagemap");
  build_template();
}

void open_kvm(void) {
  kvm = (int)check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  run_size = (int)check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
  cpuid = calloc(1, sizeof *cpuid + 256 * sizeof cpuid->entries[0]);
  if (cpuid == NULL) check(-1, "calloc");
  cpuid->nent = 256;
  check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
}
