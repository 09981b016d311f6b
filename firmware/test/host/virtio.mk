# Tests of rings and inboxes on the host: make -f virtio.mk
FIRMWARE := ../..
B := $(FIRMWARE)/build/test
FLAGS := -std=c17 -g -O1 -Wall -Wextra -Werror -Wno-unused-parameter -ffreestanding -fno-strict-aliasing \
  -fsanitize=address,undefined -fno-sanitize-recover=undefined -I$(FIRMWARE)/include -I$(FIRMWARE)/build

.PHONY: check-virtio
check-virtio: $(B)/virtio_queue
	@ASAN_OPTIONS=detect_leaks=0 $<

$(B)/virtio_queue: virtio_queue.c $(wildcard $(FIRMWARE)/drivers/*.c $(FIRMWARE)/net/inbox.c $(FIRMWARE)/include/*.h)
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -o $@ $<
