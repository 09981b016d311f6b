/* The hosted guest kernel, for tests that include the host's headers. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void kernel_start(void *const *images, const uint64_t *sizes, uint64_t count, const char *cwd);
long kernel_call(long number, const uint64_t *arguments);
void map_at(uint64_t address, uint64_t size);       /* zeroed memory at a fixed address */
void *read_whole(const char *path, uint64_t *size); /* from malloc */
extern uint64_t pages_left, pages_used;
extern int signals_sent;
extern uint32_t fail_one_in; /* allocations; 0 = none */
