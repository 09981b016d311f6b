/* syscall/{poll,epoll,eventfd,timerfd}.c: waiting for files. */
#pragma once
#include "file.h"
#include "sched.h"
#include "types.h"

enum { POLLRDNORM = 0x40, POLLRDBAND = 0x80, POLLWRNORM = 0x100, POLLWRBAND = 0x200 };

/* What is true of the file now, with the synonyms RDNORM and WRNORM. */
u32 file_poll(struct file *f);
/* The queue woken when that may have changed; NULL: never. */
struct wait_queue *file_queue(struct file *f);

/* Reads a relative struct timespec into a deadline; address 0 = FOREVER. */
i64 timeout_read(u64 address, u64 *deadline);

/* The calls with a signal mask: the mask holds from mask_enter to signal_mask_leave. address 0 = leave it alone. */
i64 mask_enter(u64 address, u64 size, u64 *saved);

/* Watchers of an epoll instance, for the loop check of nested ones. */
extern const struct file_ops epoll_ops;
