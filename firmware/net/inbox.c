/* Bytes on their way to a socket: a list of segments. Streams fill the last one up, datagrams have one each, and the
 * receive buffers of the vsock device are segments already: their bytes are copied once, into the reader's memory. */
#include "lib.h"
#include "socket.h"

#define STREAM_LIMIT (208 * KiB) /* what Linux calls the default send buffer */

/* A socket in flight may hold others in flight, and so on: what their end frees waits here until the first is done, or a
 * long chain of them would eat the kernel stack. */
void rights_free(struct rights *r) {
  static struct rights *waiting;
  static bool freeing;
  if (r == NULL) return;
  r->next = waiting;
  waiting = r;
  if (freeing) return;
  freeing = true;
  while ((r = waiting) != NULL) {
    waiting = r->next;
    for (u32 i = 0; i < r->count; i++) file_put(r->files[i]);
    kfree(r);
  }
  freeing = false;
}

void inbox_init(struct inbox *in) {
  list_init(&in->segments);
  in->size = 0;
  in->limit = STREAM_LIMIT;
}

static struct segment *segment_of(struct list *link) { return CONTAINER(link, struct segment, link); }

/* Room for n bytes or more; small ones from the heap, others in whole pages. */
static struct segment *segment_new(size_t n) {
  size_t size = sizeof(struct segment) + n;
  u8 order = 0;
  while (size > PAGE << order) order++;
  bool small = size <= PAGE / 2;
  struct segment *s = small ? kmalloc(size) : page_alloc(order);
  if (s == NULL) return NULL;
  size_t total = small ? size : PAGE << order;
  *s = (struct segment){
      .capacity = (u32)(total - sizeof *s), .memory = small ? SEGMENT_HEAP : SEGMENT_PAGES, .order = order};
  list_init(&s->link);
  return s;
}

static void segment_free(struct segment *s) {
  rights_free(s->rights);
  s->rights = NULL;
  if (s->memory == SEGMENT_HEAP) kfree(s);
  else if (s->memory == SEGMENT_PAGES) page_free(s, s->order);
  else vsock_recycle(s);
}

/* Calls for each contiguous piece of m's bytes [offset, offset + n). */
static void copy_spans(const struct message *m, size_t offset, u8 *bytes, size_t n, bool out) {
  for (u32 i = 0; i < m->span_count && n > 0; i++) {
    const struct span *span = &m->spans[i];
    if (offset >= span->size) {
      offset -= span->size;
      continue;
    }
    size_t piece = MIN(span->size - offset, n);
    if (out) memcpy(span->data + offset, bytes, piece);
    else memcpy(bytes, span->data + offset, piece);
    bytes += piece;
    n -= piece;
    offset = 0;
  }
}

void message_gather(const struct message *m, size_t offset, u8 *to, size_t n) { copy_spans(m, offset, to, n, false); }

void inbox_push(struct inbox *in, struct segment *s) {
  list_push(&in->segments, &s->link);
  in->size += s->end - s->start;
}

/* The last segment, if a stream may still be appended to it. */
static struct segment *tail_with_room(struct inbox *in) {
  if (list_empty(&in->segments)) return NULL;
  struct segment *tail = segment_of(in->segments.prev);
  return tail->rights == NULL && tail->end < tail->capacity ? tail : NULL;
}

#define STREAM_CHUNK (32 * KiB - sizeof(struct segment))
#define PAGE_CHUNK (PAGE - sizeof(struct segment))

size_t inbox_append(struct inbox *in, struct message *m, size_t offset, size_t n) {
  size_t done = 0;
  while (done < n) {
    struct segment *s = m->rights != NULL ? NULL : tail_with_room(in);
    if (s == NULL) {
      s = segment_new(n - done > PAGE_CHUNK ? STREAM_CHUNK : PAGE_CHUNK);
      if (s == NULL) break;
      s->rights = m->rights;
      m->rights = NULL;
      list_push(&in->segments, &s->link);
    }
    size_t piece = MIN(n - done, (size_t)(s->capacity - s->end));
    message_gather(m, offset + done, s->data + s->end, piece);
    s->end += (u32)piece;
    in->size += piece;
    done += piece;
  }
  return done;
}

bool inbox_append_datagram(struct inbox *in, struct message *m, const struct address *from) {
  u32 from_size = from == NULL ? 0 : from->size;
  struct segment *s = segment_new(from_size + m->size);
  if (s == NULL) return false;
  if (from_size > 0) memcpy(s->data, from->bytes, from_size);
  s->from_size = (u16)from_size;
  s->start = from_size;
  s->end = from_size + (u32)m->size;
  s->rights = m->rights;
  m->rights = NULL;
  message_gather(m, 0, s->data + s->start, m->size);
  inbox_push(in, s);
  return true;
}

static void remove_first(struct inbox *in) {
  struct segment *s = segment_of(in->segments.next);
  list_remove(&s->link);
  in->size -= s->end - s->start;
  segment_free(s);
}

/* Peeked rights are delivered too: Linux gives a copy, and so do we. */
static struct rights *rights_copy(const struct rights *r) {
  size_t size = sizeof *r + r->count * sizeof r->files[0];
  struct rights *copy = kmalloc(size);
  if (copy == NULL) return NULL;
  memcpy(copy, r, size);
  for (u32 i = 0; i < copy->count; i++) file_ref(copy->files[i]);
  return copy;
}

static void deliver_rights(struct segment *s, struct message *m) {
  if (s->rights == NULL) return;
  bool peek = m->flags & MSG_PEEK;
  m->rights = peek ? rights_copy(s->rights) : s->rights;
  if (!peek) s->rights = NULL;
}

size_t inbox_take(struct inbox *in, struct message *m, size_t offset) {
  size_t done = 0;
  bool peek = m->flags & MSG_PEEK;
  LIST_EACH(&in->segments, link) {
    struct segment *s = segment_of(link);
    if (offset + done == m->size || m->rights != NULL) break;
    size_t piece = MIN((size_t)(s->end - s->start), m->size - offset - done);
    deliver_rights(s, m);
    copy_spans(m, offset + done, s->data + s->start, piece, true);
    done += piece;
    if (peek) continue;
    s->start += (u32)piece;
    in->size -= piece;
    if (s->start == s->end) remove_first(in);
  }
  return done;
}

size_t inbox_take_datagram(struct inbox *in, struct message *m) {
  struct segment *s = segment_of(in->segments.next);
  size_t size = s->end - s->start, piece = MIN(size, m->size);
  bool whole_length = m->flags & MSG_TRUNC, peek = m->flags & MSG_PEEK;
  copy_spans(m, 0, s->data + s->start, piece, true);
  if (m->address != NULL) {
    m->address->size = s->from_size;
    memcpy(m->address->bytes, s->data, s->from_size);
  }
  deliver_rights(s, m);
  m->flags = piece < size ? MSG_TRUNC : 0;
  if (!peek) remove_first(in);
  return whole_length ? size : piece;
}

void inbox_clear(struct inbox *in) {
  while (!list_empty(&in->segments)) remove_first(in);
}
