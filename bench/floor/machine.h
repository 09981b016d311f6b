/* A machine without a monitor: one VM, one vCPU, 64 MiB that are a private mapping of a template.
 */
#pragma once
#include <linux/kvm.h>
#include <stdint.h>

/* Guest-physical layout; guest-virtual addresses are the same. */
#define RAM_SIZE (64ul << 20)
#define PAGE     4096ul
#define CODE_GPA 0x100000ul         /* writes 1 to RCX pages from RDI on, then OUT */
#define EXIT_GPA (CODE_GPA + 0x100) /* OUT, for ever */
#define DATA_GPA 0x1000000ul

struct machine {
    int vm, vcpu;
    struct kvm_run *run;
    uint8_t *ram;
};

extern uint8_t *template_ram;

/* Everything here ends the process with a message on failure. */
long check(long result, const char *what);
void open_memory(void); /* builds the template; wants no KVM */
void open_kvm(void);
void map_ram(struct machine *m); /* without a VM */
void unmap_ram(struct machine *m);
void create(struct machine *m);
void destroy(struct machine *m);
void enter(struct machine *m);
void enter_at(struct machine *m, uint64_t rip, uint64_t pages);
void rewind_ram(struct machine *m);
