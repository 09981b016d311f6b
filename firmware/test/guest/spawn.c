/* There is one process: everything that would make another fails, and says so. In the guest only. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
  char *args[] = {"true", NULL};
  pid_t pid;
  printf("posix_spawn: %s\n", strerror(posix_spawn(&pid, "/bin/true", NULL, NULL, args, NULL)));
  if (fork() >= 0) return 1;
  printf("fork: %s\n", strerror(errno));
  printf("system: %d\n", system("true"));
  printf("popen: %s\n", popen("true", "r") == NULL ? "none" : "some");
  return 0;
}
