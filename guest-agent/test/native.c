/* A function that speaks frames with mayfly.h. */
#include "../include/mayfly.h"

static int total; /* counts calls: a clone sees 1 */

int main(void) {
  struct mayfly_request request;
  char url[256], type[16];

  if (mayfly_ready() != 0) return 1;
  while (mayfly_next(&request) == 1) {
    total++;
    mayfly_field(&request, "type", type, sizeof type);
    if (mayfly_field(&request, "url", url, sizeof url) < 0) strcpy(url, type);
    mayfly_log("info", "got \"it\"\n");
    if (strstr(url, "/fail") != NULL) {
      mayfly_fail("no \\ good");
    } else if (strstr(url, "/stream") != NULL) {
      mayfly_begin(200, NULL);
      for (;;) {
        mayfly_chunk(request.body, request.body_size);
        if (!request.more || mayfly_more(&request) != 1) break;
      }
      mayfly_end();
    } else {
      char answer[512];
      int length = snprintf(answer, sizeof answer, "%d %s %zu", total, url, request.body_size);
      mayfly_answer(201, "{ \"x-a\": \"b, \\\"c\\\": d\", \"set-cookie\": \"e\" }", answer, (size_t)length);
    }
  }
  return 0;
}
