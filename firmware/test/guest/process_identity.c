/* Ids, capabilities, limits, prctl: what a program that starts as root may ask and give up. */
#include "call.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#ifndef PR_GET_TIMERSLACK
#define PR_GET_TIMERSLACK 30
#endif
#define BAD ((void *)8)

static void show_ids(void) {
  unsigned r = 9, e = 9, s = 9;
  SHOW(getresuid, &r, &e, &s);
  printf("uid %u %u %u\n", r, e, s);
  SHOW(getresgid, &r, &e, &s);
  printf("gid %u %u %u\n", r, e, s);
  printf("%ld %ld %ld %ld\n", CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid));
}

static void show_status(const char *prefix) {
  char line[256];
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, prefix, strlen(prefix)) == 0) fputs(line, stdout);
  fclose(f);
}

static void capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  SHOW(capget, &header, data);
  printf("may change users: %d, set is symmetric: %d\n", data[0].effective >> CAP_SETUID & 1,
         data[0].effective == data[0].permitted);
  SHOW(capset, &header, data);
  struct __user_cap_data_struct more[2] = {{data[0].permitted, 0, 0}, {0, 0, 0}};
  SHOW(capset, &header, more);
  header.version = 1;
  SHOW(capget, &header, NULL);
  SHOW(capget, &header, data);
  printf("%x\n", header.version);
  SHOW(capset, &header, data);
  header.version = _LINUX_CAPABILITY_VERSION_3;
  header.pid = 99999999;
  SHOW(capget, &header, data);
  header.pid = 0;
  SHOW(capget, &header, BAD);
  SHOW(capget, BAD, data);
}

static void groups(void) {
  unsigned list[4] = {4, 20, 27, 1000};
  SHOW(setgroups, 4, list);
  memset(list, 0, sizeof list);
  SHOW(getgroups, 0, NULL);
  SHOW(getgroups, 3, list);
  SHOW(getgroups, -1, list);
  SHOW(getgroups, 4, list);
  printf("%u %u %u %u\n", list[0], list[1], list[2], list[3]);
  SHOW(setgroups, 70000, list);
  SHOW(setgroups, 1, BAD);
  SHOW(getgroups, 4, BAD);
}

static void ids(void) {
  SHOW(setgid, -1);
  SHOW(setresgid, 50, 51, 52);
  SHOW(setregid, 60, -1);
  show_ids();
  SHOW(setfsgid, 70);
  SHOW(setfsgid, -1);
  SHOW(setreuid, 1000, 0);
  show_ids();
  long fd = CALL(open, "/tmp/owned", O_CREAT | O_RDWR, 0600);
  SHOW(setfsuid, 1001);
  long other = CALL(open, "/tmp/other", O_CREAT | O_RDWR, 0600);
  struct stat s;
  SHOW(fstat, fd, &s);
  printf("%u %u\n", s.st_uid, s.st_gid);
  SHOW(fstat, other, &s);
  printf("%u %u\n", s.st_uid, s.st_gid);
  SHOW(setresuid, 1000, 2000, 0);
  show_ids();
  SHOW(setuid, 0);
  show_ids();
  SHOW(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
  SHOW(prctl, PR_GET_KEEPCAPS, 0, 0, 0, 0);
  SHOW(prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0);
  SHOW(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
  SHOW(setresuid, 33, 33, 33);
  show_ids();
  show_status("Uid");
  show_status("Gid");
  show_status("CapEff");
  show_status("CapPrm");
  SHOW(setuid, 0);
  SHOW(setuid, 33);
  SHOW(setreuid, 0, -1);
  SHOW(setresuid, -1, 0, -1);
  SHOW(setresuid, -1, 33, -1);
  SHOW(setfsuid, 0);
  SHOW(setfsuid, -1);
  SHOW(setgroups, 0, NULL);
  SHOW(getresuid, BAD, BAD, BAD);
}

static void settings(void) {
  int value = 77;
  char name[16] = "";
  SHOW(prctl, PR_SET_NAME, "a name that is too long", 0, 0, 0);
  SHOW(prctl, PR_GET_NAME, name, 0, 0, 0);
  printf("%s\n", name);
  SHOW(prctl, PR_SET_NAME, BAD, 0, 0, 0);
  SHOW(prctl, PR_GET_NAME, BAD, 0, 0, 0);
  SHOW(prctl, PR_SET_PDEATHSIG, 15, 0, 0, 0);
  SHOW(prctl, PR_GET_PDEATHSIG, &value, 0, 0, 0);
  printf("%d\n", value);
  SHOW(prctl, PR_SET_PDEATHSIG, 65, 0, 0, 0);
  SHOW(prctl, PR_GET_PDEATHSIG, BAD, 0, 0, 0);
  SHOW(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
  SHOW(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  SHOW(prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
  SHOW(prctl, PR_SET_DUMPABLE, 7, 0, 0, 0);
  SHOW(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  SHOW(prctl, PR_GET_TIMING, 0, 0, 0, 0);
  SHOW(prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
  SHOW(prctl, PR_SET_TIMERSLACK, 1234, 0, 0, 0);
  SHOW(prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
  SHOW(prctl, PR_CAPBSET_READ, CAP_SETUID, 0, 0, 0);
  SHOW(prctl, PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0);
  SHOW(prctl, PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0);
  SHOW(prctl, PR_CAPBSET_READ, 1000, 0, 0, 0);
  SHOW(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  SHOW(prctl, PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
  printf("%d\n", value);
  SHOW(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  SHOW(prctl, PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0);
  SHOW(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  SHOW(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  show_status("NoNewPrivs");
  SHOW(prctl, PR_GET_SECCOMP, 0, 0, 0, 0);
  SHOW(prctl, 12345, 0, 0, 0, 0);
  SHOW(personality, -1);
  SHOW(personality, 0x40000);
  SHOW(personality, -1);
  SHOW(personality, 0);
  SHOW(arch_prctl, 0x1003, BAD);
  SHOW(arch_prctl, 0x1002, 1ull << 63);
  SHOW(arch_prctl, 4242, 0);
}

static void limits(void) {
  struct rlimit limit = {20, 4000}, old = {0, 0};
  SHOW(prlimit64, 0, RLIMIT_NOFILE, &limit, NULL);
  SHOW(prlimit64, 0, RLIMIT_NOFILE, NULL, &old);
  printf("%lu %lu\n", old.rlim_cur, old.rlim_max);
  SHOW(dup2, 0, 19);
  SHOW(dup2, 0, 20);
  SHOW(fcntl, 0, F_DUPFD, 20);
  int count = 0;
  long last = 0;
  while ((last = CALL(dup, 0)) >= 0) count++;
  show("dup until", last);
  printf("%d\n", count > 0 && count < 20);
  SHOW(close, 19);
  SHOW(dup, 0);
  SHOW(close_range, 3, -1, 0);
  limit.rlim_cur = 5000;
  SHOW(setrlimit, RLIMIT_NOFILE, &limit);
  SHOW(setrlimit, 16, &limit);
  SHOW(setrlimit, RLIMIT_CORE, BAD);
  SHOW(getrlimit, RLIMIT_CORE, BAD);
  SHOW(getrlimit, 99, &limit);
  SHOW(prlimit64, 99999999, RLIMIT_CORE, NULL, &old);
  limit = (struct rlimit){1 << 20, 1 << 21};
  SHOW(setrlimit, RLIMIT_FSIZE, &limit);
  SHOW(prlimit64, 0, RLIMIT_FSIZE, &limit, &limit);
  printf("%lu %lu\n", limit.rlim_cur, limit.rlim_max);
  FILE *f = fopen("/proc/self/limits", "r");
  char line[256];
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, "Max open", 8) == 0 || strncmp(line, "Max file s", 10) == 0 || strncmp(line, "Lim", 3) == 0)
      fputs(line, stdout);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  settings();
  capabilities();
  groups();
  limits();
  ids();
  return 0;
}
