/* Functions in C or C++ that speak frames themselves: they see the whole request, choose status and headers, and may stream
 * their answer. Nothing to link; include it in one file. packages/protocol/src/messages.ts has the fields of all heads.
 *
 *   int main(void) {
 *     load_what_takes_long();
 *     if (mayfly_ready() != 0) return 1;
 *     struct mayfly_request request; // each clone begins here, with one request
 *     while (mayfly_next(&request) == 1)
 *       mayfly_answer(200, "{\"content-type\":\"text/plain\"}", request.body, request.body_size);
 *   }
 *
 * Functions return 0 or a count, and -errno when they fail. */
#ifndef MAYFLY_H
#define MAYFLY_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* By this Mayfly knows which programs speak frames. */
__attribute__((used)) static const char mayfly_mark[] = "mayfly: speaks frames";

struct mayfly_request {
  const char *head; /* JSON, NUL-terminated; until the next call of mayfly_next() */
  size_t head_size;
  const unsigned char *body;
  size_t body_size;
  int more; /* the body goes on: mayfly_more() */
};

struct mayfly_stream {
  int fd;
  unsigned char *bytes; /* of the last frame that was read: prefix, head, NUL, body */
};

static struct mayfly_stream mayfly_stream = {-1, NULL};

static inline int mayfly_write_all(const void *bytes, size_t size) {
  const char *at = (const char *)bytes;
  while (size > 0) {
    ssize_t n = write(mayfly_stream.fd, at, size);
    if (n < 0) return -errno;
    at += n;
    size -= (size_t)n;
  }
  return 0;
}

/* 1, 0 at the end of the stream, or -errno. */
static inline int mayfly_read_all(void *bytes, size_t size) {
  char *at = (char *)bytes;
  while (size > 0) {
    ssize_t n = read(mayfly_stream.fd, at, size);
    if (n <= 0) return n == 0 ? 0 : -errno;
    at += n;
    size -= (size_t)n;
  }
  return 1;
}

/* One frame: a head of JSON and a body. */
static inline int mayfly_send(const char *head, const void *body, size_t size) {
  size_t head_size = strlen(head);
  uint32_t prefix[2] = {(uint32_t)(4 + head_size + size), (uint32_t)head_size};
  unsigned char *frame = (unsigned char *)malloc(sizeof prefix + head_size + size);
  if (frame == NULL) return -ENOMEM;
  memcpy(frame, prefix, sizeof prefix);
  memcpy(frame + sizeof prefix, head, head_size);
  if (size > 0) memcpy(frame + sizeof prefix + head_size, body, size);
  int result = mayfly_write_all(frame, sizeof prefix + head_size + size);
  free(frame);
  return result;
}

/* Tells the host that the program waits for its request: the next mayfly_next() is where clones begin. The variable
 * MAYFLY_AGENT_STREAM names another stream than the host's: a path, or fd:N. */
static inline int mayfly_ready(void) {
  const char *place = getenv("MAYFLY_AGENT_STREAM");
  if (place == NULL) place = "/dev/vsock/2/1024";
  int inherited = strncmp(place, "fd:", 3) == 0;
  mayfly_stream.fd = inherited ? atoi(place + 3) : open(place, O_RDWR | O_CLOEXEC);
  if (mayfly_stream.fd < 0) return -errno;
  return mayfly_send("{\"type\":\"ready\",\"exports\":\"frames\",\"version\":\"1\",\"pid\":1,\"logs\":[]}", NULL, 0);
}

/* Waits for the next request, or for the next piece of a body: 1, 0 when the host is done, or -errno. */
static inline int mayfly_next(struct mayfly_request *request) {
  uint32_t prefix[2];
  int got = mayfly_read_all(prefix, sizeof prefix);
  if (got != 1) return got;
  size_t head_size = prefix[1], body_size = prefix[0] - 4 - head_size;
  free(mayfly_stream.bytes);
  mayfly_stream.bytes = (unsigned char *)malloc(head_size + 1 + body_size);
  if (mayfly_stream.bytes == NULL) return -ENOMEM;
  char *head = (char *)mayfly_stream.bytes;
  got = mayfly_read_all(head, head_size);
  if (got == 1) got = mayfly_read_all(head + head_size + 1, body_size);
  if (got != 1) return got;
  head[head_size] = '\0';
  request->head = head;
  request->head_size = head_size;
  request->body = mayfly_stream.bytes + head_size + 1;
  request->body_size = body_size;
  int is_chunk = strstr(head, "\"type\":\"chunk\"") != NULL;
  request->more = is_chunk ? strstr(head, "\"end\":true") == NULL : strstr(head, "\"more\":true") != NULL;
  return 1;
}

/* The next piece of a body that has more: request->body is the piece. As mayfly_next(). */
static inline int mayfly_more(struct mayfly_request *request) { return mayfly_next(request); }

/* Copies a text of the head ("method", "url", "id", "type") without its escapes, which those fields do not have. Its length, or
 * -ENOENT; what does not fit is cut off. */
static inline int mayfly_field(const struct mayfly_request *request, const char *name, char *text, size_t size) {
  char wanted[64];
  snprintf(wanted, sizeof wanted, "\"%s\":\"", name);
  const char *at = strstr(request->head, wanted);
  if (at == NULL || size == 0) return -ENOENT;
  at += strlen(wanted);
  size_t length = 0;
  for (; *at != '"' && *at != '\0' && length + 1 < size; at++) text[length++] = *at;
  text[length] = '\0';
  return (int)length;
}

/* The headers, an object of JSON whose values are texts, as the pairs of a head; "{}" or NULL for none. */
static inline int mayfly_pairs(const char *headers, char *pairs, size_t size) {
  size_t length = 0;
  int in_text = 0, escaped = 0, name = 1;
  if (headers == NULL) headers = "{}";
  for (; *headers != '\0'; headers++) {
    char c = *headers, out[4] = {c, '\0'};
    if (in_text) {
      if (!escaped && c == '"') in_text = 0;
      escaped = !escaped && c == '\\';
      if (!in_text && !name) memcpy(out, "\"]", 3);
    } else if (c == '"') {
      in_text = 1;
      if (name) memcpy(out, "[\"", 3);
    } else if (c == ':') {
      name = 0;
      out[0] = ',';
    } else if (c == ',') {
      name = 1;
    } else {
      continue; /* braces and blanks */
    }
    size_t n = strlen(out);
    if (length + n + 1 > size) return -ENOSPC;
    memcpy(pairs + length, out, n);
    length += n;
  }
  pairs[length] = '\0';
  return 0;
}

static inline int mayfly_begin_or_answer(int status, const char *headers, const char *more, const void *body, size_t size) {
  char pairs[8192], head[sizeof pairs + 128];
  int result = mayfly_pairs(headers, pairs, sizeof pairs);
  if (result != 0) return result;
  snprintf(head, sizeof head, "{\"type\":\"response\",\"status\":%d,\"headers\":[%s],\"logs\":[]%s}", status, pairs, more);
  return mayfly_send(head, body, size);
}

/* A whole answer. `headers`: an object of JSON whose values are texts, at most 8 KiB. */
static inline int mayfly_answer(int status, const char *headers, const void *body, size_t size) {
  return mayfly_begin_or_answer(status, headers, "", body, size);
}

/* An answer whose body comes in pieces: begin, any number of chunks, end. */
static inline int mayfly_begin(int status, const char *headers) {
  return mayfly_begin_or_answer(status, headers, ",\"more\":true", NULL, 0);
}
static inline int mayfly_chunk(const void *body, size_t size) { return mayfly_send("{\"type\":\"chunk\"}", body, size); }
static inline int mayfly_end(void) { return mayfly_send("{\"type\":\"chunk\",\"end\":true}", NULL, 0); }

static inline void mayfly_escape(const char *text, char *to, size_t size) {
  size_t length = 0;
  for (; *text != '\0' && length + 7 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c < 0x20 || c == '"' || c == '\\') length += (size_t)sprintf(to + length, "\\u%04x", c);
    else to[length++] = *text;
  }
  to[length] = '\0';
}

/* A line of the function's log. `level`: debug, info, warn or error. */
static inline int mayfly_log(const char *level, const char *text) {
  char escaped[4096], head[sizeof escaped + 128];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  mayfly_escape(text, escaped, sizeof escaped);
  snprintf(head, sizeof head, "{\"type\":\"log\",\"logs\":[{\"level\":\"%s\",\"time\":%lld,\"text\":\"%s\"}]}", level,
           (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, escaped);
  return mayfly_send(head, NULL, 0);
}

/* Instead of an answer: the function failed. */
static inline int mayfly_fail(const char *message) {
  char escaped[4096], head[sizeof escaped + 128];
  mayfly_escape(message, escaped, sizeof escaped);
  snprintf(head, sizeof head,
           "{\"type\":\"error\",\"code\":\"FUNCTION_FAILED\",\"message\":\"%s\",\"stack\":\"\",\"logs\":[]}", escaped);
  return mayfly_send(head, NULL, 0);
}

#ifdef __cplusplus
}
#endif
#endif
