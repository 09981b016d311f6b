/* Every call of syscall/refused.def fails with the error that the table tells. In the guest only: Linux lets root do
 * some of these. */
#include "call.h"
#include <errno.h>

int main(void) {
  int wrong = 0, count = 0;
#define REFUSED(number, name, format, error, why)                                                                      \
  count++;                                                                                                             \
  if (kernel_call(number, FIRST6(0, 0, 0, 0, 0, 0, 0)) != -error) {                                                    \
    printf("%s is not refused with %s\n", #name, #error);                                                              \
    wrong = 1;                                                                                                         \
  }
#include "../../syscall/refused.def"
  return wrong || count < 50;
}
