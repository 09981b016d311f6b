/* fs/regular.c: the bytes of regular files. Written pages lie over the image's bytes, those over
 * zeroes; a file that was never written is read with one memcpy. */
#include "inode.h"
#include "mm.h"

static void *page_get(const struct content *c, u64 index) {
  u64 chunk = index / CHUNK_PAGES;
  if (chunk >= c->chunk_count || c->chunks[chunk] == NULL) return NULL;
  return c->chunks[chunk]->pages[index % CHUNK_PAGES];
}

/* Reads what lies under the pages: the image, then zeroes. */
static void base_read(const struct content *c, u8 *to, u64 n, u64 pos) {
  u64 plain_end = MIN(c->plain_size, c->base_size);
  if (pos < plain_end) {
    u64 part = MIN(n, plain_end - pos);
    memcpy(to, c->plain + pos, part);
    to += part, pos += part, n -= part;
  }
  if (n > 0 && pos < c->base_size) {
    u64 part = MIN(n, c->base_size - pos);
    memcpy(to, c->tail + (pos - c->plain_size), part);
    to += part, n -= part;
  }
  if (n > 0) memset(to, 0, n);
}

static bool reserve_chunks(struct content *c, u64 count) {
  if (count <= c->chunk_count) return true;
  u64 grown = MAX(count, 2 * c->chunk_count);
  if (grown > FILE_SIZE_MAX / PAGE / CHUNK_PAGES) grown = count;
  struct chunk **chunks = krealloc(c->chunks, grown * sizeof(*chunks));
  if (chunks == NULL) return false;
  memset(chunks + c->chunk_count, 0, (grown - c->chunk_count) * sizeof(*chunks));
  c->chunks = chunks;
  c->chunk_count = grown;
  return true;
}

/* Files leave this much memory to the kernel and the program: a full disk must not stop the
 * machine. */
static u64 reserve(void) { return MIN(frames_total() / 16, 16 * MiB); }

/* The page in memory, made from what lies under it unless it is about to be overwritten. */
static void *page_make(struct content *c, u64 index, bool fill) {
  void *page = page_get(c, index);
  if (page != NULL) return page;
  u64 chunk = index / CHUNK_PAGES;
  if (!reserve_chunks(c, chunk + 1)) return NULL;
  if (c->chunks[chunk] == NULL) c->chunks[chunk] = kzalloc(sizeof(struct chunk));
  if (c->chunks[chunk] == NULL || frames_free() <= reserve() || (page = page_alloc(0)) == NULL) return NULL;
  if (fill) base_read(c, page, PAGE, index * PAGE);
  c->chunks[chunk]->pages[index % CHUNK_PAGES] = page;
  c->page_count++;
  return page;
}

ssize_t content_read(const struct inode *inode, void *buf, size_t n, u64 pos) {
  const struct content *c = &inode->content;
  if (pos >= inode->size) return 0;
  n = MIN(n, inode->size - pos);
  if (c->chunk_count == 0) {
    base_read(c, buf, n, pos);
    return (ssize_t)n;
  }
  for (u64 done = 0; done < n;) {
    u64 at = (pos + done) % PAGE, part = MIN(n - done, PAGE - at);
    const u8 *page = page_get(c, (pos + done) / PAGE);
    if (page != NULL) memcpy((u8 *)buf + done, page + at, part);
    else base_read(c, (u8 *)buf + done, part, pos + done);
    done += part;
  }
  return (ssize_t)n;
}

ssize_t content_write(struct inode *inode, const void *buf, size_t n, u64 pos) {
  if (n == 0) return 0;
  if (pos >= FILE_SIZE_MAX) return -EFBIG;
  n = MIN(n, FILE_SIZE_MAX - pos);
  u64 done = 0;
  while (done < n) {
    u64 at = (pos + done) % PAGE, part = MIN(n - done, PAGE - at);
    u8 *page = page_make(&inode->content, (pos + done) / PAGE, part < PAGE);
    if (page == NULL) break;
    memcpy(page + at, (const u8 *)buf + done, part);
    done += part;
  }
  if (done == 0) return -ENOSPC;
  inode->size = MAX(inode->size, pos + done);
  inode_modified(inode);
  return (ssize_t)done;
}

static void drop_page(struct content *c, u64 index) {
  void *page = page_get(c, index);
  if (page == NULL) return;
  page_free(page, 0);
  c->chunks[index / CHUNK_PAGES]->pages[index % CHUNK_PAGES] = NULL;
  c->page_count--;
}

/* Frees the pages [first, end), and the chunks that this empties. */
static void drop_pages(struct content *c, u64 first, u64 end) {
  end = MIN(end, c->chunk_count * CHUNK_PAGES);
  for (u64 i = first; i < end; i++) {
    struct chunk *chunk = c->chunks[i / CHUNK_PAGES];
    bool whole = i % CHUNK_PAGES == 0 && end - i >= CHUNK_PAGES;
    if (chunk == NULL) { /* nothing up to the next chunk */
      i |= CHUNK_PAGES - 1;
      continue;
    }
    if (!whole) {
      drop_page(c, i);
      continue;
    }
    for (u64 j = 0; j < CHUNK_PAGES; j++) drop_page(c, i + j);
    kfree(chunk);
    c->chunks[i / CHUNK_PAGES] = NULL;
    i |= CHUNK_PAGES - 1;
  }
}

i64 content_truncate(struct inode *inode, u64 size) {
  struct content *c = &inode->content;
  if (size > FILE_SIZE_MAX) return -EFBIG;
  if (size < inode->size) {
    drop_pages(c, ALIGN_UP(size, PAGE) / PAGE, c->chunk_count * CHUNK_PAGES);
    u8 *last = size % PAGE == 0 ? NULL : page_get(c, size / PAGE);
    if (last != NULL) /* a later extension must show zeroes */
      memset(last + size % PAGE, 0, PAGE - size % PAGE);
    c->base_size = MIN(c->base_size, size);
  }
  inode->size = size;
  if (inode->mappings > 0) space_file_shrunk(inode);
  inode_modified(inode);
  return 0;
}

/* A page in memory or in the image is data, all else a hole; the end of the file counts as one. */
static bool is_data(const struct content *c, u64 page) {
  return page * PAGE < c->base_size || page_get(c, page) != NULL;
}

i64 content_seek(const struct inode *inode, u64 pos, bool data) {
  const struct content *c = &inode->content;
  u64 known = MAX(ALIGN_UP(c->base_size, PAGE) / PAGE, c->chunk_count * CHUNK_PAGES); /* beyond it all is a hole */
  if (pos >= inode->size) return -ENXIO;
  u64 page = pos / PAGE;
  while (page < known && page * PAGE < inode->size && is_data(c, page) != data) page++;
  if (page >= known && data) return -ENXIO;
  u64 found = MAX(pos, page * PAGE);
  if (found < inode->size) return (i64)found;
  return data ? -ENXIO : (i64)inode->size;
}

i64 content_clear(struct inode *inode, u64 start, u64 end) {
  struct content *c = &inode->content;
  end = MIN(end, inode->size);
  while (start < end) {
    u64 index = start / PAGE, at = start % PAGE, part = MIN(end - start, PAGE - at);
    if (part == PAGE && index * PAGE >= c->base_size) {
      drop_pages(c, index, end / PAGE);
      start = ALIGN_DOWN(end, PAGE);
      continue;
    }
    if (page_get(c, index) != NULL || index * PAGE < c->base_size) {
      u8 *page = page_make(c, index, part < PAGE);
      if (page == NULL) return -ENOSPC;
      memset(page + at, 0, part);
    }
    start += part;
  }
  if (inode->mappings > 0) space_file_shrunk(inode);
  inode_modified(inode);
  return 0;
}

void *file_page(struct file *f, u64 index, bool make) {
  struct content *c = &f->inode->content;
  return make ? page_make(c, index, true) : page_get(c, index);
}

void file_count_mapping(struct file *f, int change) { f->inode->mappings += (u32)change; }

void content_free(struct inode *inode) {
  struct content *c = &inode->content;
  drop_pages(c, 0, c->chunk_count * CHUNK_PAGES);
  kfree(c->chunks);
}
