/* virtio-console with several ports (section 5.3): port 0 is the program's standard input and output, port 1 its
 * standard error and the kernel's messages. The output side is set up by the first byte written, the input side by
 * the first look at standard input: a program that does neither pays for neither. */
#include "errno.h"
#include "file.h"
#include "lib.h"
#include "mm.h"
#include "virtio.h"

#define VIRTIO_CONSOLE_F_MULTIPORT (1ull << 1)

/* Queue numbers, section 5.3.2. */
enum { RECEIVE_0, TRANSMIT_0, CONTROL_RECEIVE, CONTROL_TRANSMIT, RECEIVE_1, TRANSMIT_1 };

/* Control messages, section 5.3.6.2. */
struct control {
  u32 port;
  u16 event, value;
};
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6 };
#define CONTROL_SIZE 64 /* room for a PORT_NAME */
#define CONTROL_BUFFERS 8
#define INPUT_PAGES 4
#define OUTPUT_SIZE (64 * KiB)

/* The output side is static: the kernel's first messages come before there is an allocator. */
static u8 transmit_rings[2][PAGE] __attribute__((aligned(4096)));
static u8 transmit_bytes[2][OUTPUT_SIZE] __attribute__((aligned(4096)));

static struct console {
  struct virtio_device device;
  enum { CONSOLE_UNTRIED, CONSOLE_OUTPUT, CONSOLE_BOTH, CONSOLE_ABSENT } stage;
  struct outbox output[2];
  struct virtqueue input;
  struct virtqueue control_input;
  struct outbox control_output;
  u16 announced; /* the used index that readers have been woken for */
  u8 *page;      /* the input being read */
  u32 page_at, page_end;
  bool ended; /* the host closed standard input */
  struct wait_queue readers;
} console;

static bool start_output(void) {
  static const u16 queues[2] = {TRANSMIT_0, TRANSMIT_1};
  if (!virtio_open(&console.device, VIRTIO_CONSOLE, VIRTIO_CONSOLE_F_MULTIPORT)) return false;
  if (!(console.device.features & VIRTIO_CONSOLE_F_MULTIPORT)) return false;
  for (int i = 0; i < 2; i++) {
    memset(transmit_rings[i], 0, PAGE);
    if (!outbox_start(&console.output[i], &console.device, queues[i], VIRTQUEUE_MAX, transmit_rings[i],
                      transmit_bytes[i], OUTPUT_SIZE))
      return false;
  }
  return true;
}

static bool output_ready(void) {
  if (console.stage == CONSOLE_UNTRIED) {
    console.stage = start_output() ? CONSOLE_OUTPUT : CONSOLE_ABSENT;
    if (console.stage == CONSOLE_OUTPUT) virtio_ready(&console.device);
  }
  return console.stage != CONSOLE_ABSENT;
}

/* Queues what fits now; returns how many bytes that was. */
static size_t transmit(struct outbox *o, const u8 *bytes, size_t n) {
  size_t sent = 0;
  while (sent < n) {
    u32 size;
    u8 *room = outbox_room(o, 1, &size);
    if (room == NULL) break;
    size = (u32)MIN((size_t)size, n - sent);
    memcpy(room, bytes + sent, size);
    outbox_send(o, size);
    sent += size;
  }
  return sent;
}

/* Queues what fits, and after the host has looked at the ring once, the rest as far as it fits. */
static size_t transmit_polling(int port, const u8 *bytes, size_t n) {
  struct outbox *o = &console.output[port];
  size_t sent = transmit(o, bytes, n);
  while (sent < n) {
    virtio_host_poll();
    size_t more = transmit(o, bytes + sent, n - sent);
    if (more == 0) break;
    sent += more;
  }
  return sent;
}

void console_write_early(const char *text, size_t n) {
  if (output_ready()) transmit_polling(1, (const u8 *)text, n);
}

/* A host that takes no output for now is asked again every millisecond. */
static ssize_t write_port(struct file *f, int port, const void *bytes, size_t n) {
  if (!output_ready()) return (ssize_t)n; /* no console: like /dev/null */
  size_t sent = 0;
  for (;;) {
    sent += transmit_polling(port, (const u8 *)bytes + sent, n - sent);
    if (sent == n) return (ssize_t)n;
    if (f->flags & O_NONBLOCK) return sent > 0 ? (ssize_t)sent : -EAGAIN;
    int slept = sleep_until(clock_mono() + 1000000);
    int error = slept == -EINTR ? -ERESTARTSYS : still_there(current->held) ? 0 : -EFAULT;
    if (error != 0) return sent > 0 ? (ssize_t)sent : error;
  }
}

static ssize_t stdout_write(struct file *f, const void *bytes, size_t n, off_t *pos) {
  return write_port(f, 0, bytes, n);
}
static ssize_t stderr_write(struct file *f, const void *bytes, size_t n, off_t *pos) {
  return write_port(f, 1, bytes, n);
}

static void send_control(u32 port, u16 event, u16 value) {
  u32 size;
  struct control message = {port, event, value};
  u8 *room = outbox_room(&console.control_output, sizeof message, &size);
  if (room == NULL) return; /* more than 32 unseen: the host is not listening */
  memcpy(room, &message, sizeof message);
  outbox_send(&console.control_output, sizeof message);
}

static void *ring_page(void) {
  void *page = page_alloc(0);
  if (page != NULL) memset(page, 0, PAGE);
  return page;
}

static bool start_input(void) {
  void *pages[INPUT_PAGES + 4];
  for (size_t i = 0; i < COUNT(pages); i++)
    if ((pages[i] = ring_page()) == NULL) return false;
  u8 *control = pages[3];
  if (!virtqueue_start(&console.input, &console.device, RECEIVE_0, INPUT_PAGES, pages[0]) ||
      !virtqueue_start(&console.control_input, &console.device, CONTROL_RECEIVE, CONTROL_BUFFERS, pages[1]) ||
      !outbox_start(&console.control_output, &console.device, CONTROL_TRANSMIT, 32, pages[2],
                    control + CONTROL_BUFFERS * CONTROL_SIZE, 512))
    return false;
  virtio_ready(&console.device);
  for (size_t i = 4; i < COUNT(pages); i++)
    virtqueue_add(&console.input, &(struct virtio_buffer){pages[i], PAGE}, 0, 1, pages[i]);
  for (u32 i = 0; i < CONTROL_BUFFERS; i++) {
    u8 *buffer = control + i * CONTROL_SIZE;
    virtqueue_add(&console.control_input, &(struct virtio_buffer){buffer, CONTROL_SIZE}, 0, 1, buffer);
  }
  send_control(~0u, DEVICE_READY, 1);
  return true;
}

/* Queues cannot be added to a running device: let it finish its output, reset it, and start it with all of them. */
static void input_ready(void) {
  if (!output_ready() || console.stage == CONSOLE_BOTH) return;
  wait_queue_init(&console.readers);
  for (int i = 0; i < 2; i++)
    while (!outbox_empty(&console.output[i])) virtio_host_poll();
  console.stage = start_output() && start_input() ? CONSOLE_BOTH : CONSOLE_ABSENT;
  if (console.stage == CONSOLE_BOTH) virtio_host_poll(); /* what is there already is there at once */
  console_poll();
}

static void handle_control(const struct control *message) {
  if (message->event == PORT_ADD) {
    send_control(message->port, PORT_READY, 1);
    if (message->port == 0) send_control(0, PORT_OPEN, 1);
  }
  if (message->event == PORT_OPEN && message->port == 0) console.ended = message->value == 0;
}

static void next_page(void) {
  u32 length;
  console.page = virtqueue_take(&console.input, &length);
  console.page_at = 0;
  console.page_end = MIN(length, (u32)PAGE);
}

static void return_page(void) {
  virtqueue_add(&console.input, &(struct virtio_buffer){console.page, PAGE}, 0, 1, console.page);
  console.page = NULL;
}

static bool input_waiting(void) {
  while (console.page == NULL && virtqueue_has_used(&console.input)) {
    next_page();
    if (console.page_end == 0) return_page();
  }
  return console.page != NULL;
}

void console_poll(void) {
  if (console.stage != CONSOLE_BOTH) return;
  struct control *message;
  u32 length;
  bool changed = console.input.used[1] != console.announced;
  console.announced = console.input.used[1];
  while ((message = virtqueue_take(&console.control_input, &length)) != NULL) {
    if (length >= sizeof *message) handle_control(message);
    virtqueue_add(&console.control_input, &(struct virtio_buffer){message, CONTROL_SIZE}, 0, 1, message);
    changed = true;
  }
  if (changed) wake(&console.readers, POLLIN);
}

static ssize_t stdin_read(struct file *f, void *buf, size_t n, off_t *pos) {
  input_ready();
  if (n == 0) return 0;
  while (!input_waiting()) {
    if (console.ended || console.stage == CONSOLE_ABSENT) return 0;
    if (f->flags & O_NONBLOCK) return -EAGAIN;
    int slept = sleep_on(&console.readers, FOREVER);
    if (slept < 0) return slept;
  }
  u32 size = (u32)MIN((size_t)(console.page_end - console.page_at), n);
  memcpy(buf, console.page + console.page_at, size);
  console.page_at += size;
  if (console.page_at == console.page_end) return_page();
  return (ssize_t)size;
}

static u32 stdin_poll(struct file *f) {
  input_ready();
  u32 ready = input_waiting() ? POLLIN : 0;
  if (console.ended || console.stage == CONSOLE_ABSENT) ready |= POLLIN | POLLHUP;
  return ready;
}

static struct wait_queue *stdin_queue(struct file *f) {
  input_ready();
  return console.stage == CONSOLE_BOTH ? &console.readers : NULL;
}

static u32 output_poll(struct file *f) { return POLLOUT; }
static struct wait_queue *output_queue(struct file *f) { return NULL; }

static i64 console_ioctl(struct file *f, u32 request, u64 arg) { return -ENOTTY; }

const struct file_ops console_stdin_ops = {
    .read = stdin_read, .poll = stdin_poll, .queue = stdin_queue, .ioctl = console_ioctl};
const struct file_ops console_stdout_ops = {
    .write = stdout_write, .poll = output_poll, .queue = output_queue, .ioctl = console_ioctl};
const struct file_ops console_stderr_ops = {
    .write = stderr_write, .poll = output_poll, .queue = output_queue, .ioctl = console_ioctl};

/* Nothing to do before the first byte; named so that the boot sequence reads whole. */
void console_init(void) {}
