/* The time comes from the vDSO, and is the kernel's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long long SECOND = 1000000000;

static long long ns(struct timespec t) { return t.tv_sec * SECOND + t.tv_nsec; }

/* Kernel, vDSO, kernel: in this order by the clock, too. Coarse clocks are behind. */
static void compare(const char *name, clockid_t clock, int coarse) {
  struct timespec before, between, after;
  int bad = 0;
  for (int i = 0; i < 1000; i++) {
    syscall(SYS_clock_gettime, clock, &before);
    clock_gettime(clock, &between);
    syscall(SYS_clock_gettime, clock, &after);
    bad += !coarse && ns(between) < ns(before);
    bad += ns(after) - ns(before) > SECOND || ns(after) < ns(between);
  }
  printf("%s: %d bad\n", name, bad);
}

int main(void) {
  const unsigned char *image = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
  printf("an ELF image: %d\n", image != NULL && memcmp(image, "\177ELF\2\1", 6) == 0);
  compare("realtime", CLOCK_REALTIME, 0);
  compare("monotonic", CLOCK_MONOTONIC, 0);
  compare("raw", CLOCK_MONOTONIC_RAW, 0);
  compare("boottime", CLOCK_BOOTTIME, 0);
  compare("coarse", CLOCK_MONOTONIC_COARSE, 1);
  compare("process", CLOCK_PROCESS_CPUTIME_ID, 0);
  compare("thread", CLOCK_THREAD_CPUTIME_ID, 0);
  struct timespec t;
  printf("unknown clock: %d\n", clock_gettime(77, &t));
  printf("resolution: %d, of nothing: %d\n", clock_getres(CLOCK_MONOTONIC, &t), clock_getres(CLOCK_REALTIME, NULL));
  struct timeval us;
  gettimeofday(&us, NULL);
  time_t now = time(NULL);
  printf("time agrees: %d\n", now >= us.tv_sec && now - us.tv_sec <= 1);
  return 0;
}
