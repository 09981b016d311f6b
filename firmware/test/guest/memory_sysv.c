/* System V shared memory within one program. */
#include "call.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>

enum { SIZE = 10000 };

static void told(const char *what, int id) {
  struct shmid_ds s;
  if (shmctl(id, IPC_STAT, &s) < 0) return (void)printf("%s: %s\n", what, strerrorname_np(errno));
  printf("%s: size %zu mode %o attached %lu key %d us %d %d times %d %d\n", what, s.shm_segsz, s.shm_perm.mode, s.shm_nattch,
         s.shm_perm.__key, s.shm_cpid == getpid(), s.shm_lpid == getpid(), s.shm_atime != 0, s.shm_ctime != 0);
}

static const char *outcome(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  int key = 0x4d617966;
  printf("%s\n", outcome(shmget(key, SIZE, 0600)));
  int id = shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0640);
  printf("made %d\n", id >= 0);
  printf("%s\n", outcome(shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0600)));
  printf("the same %d\n", shmget(key, SIZE, IPC_CREAT | 0600) == id);
  printf("smaller %d\n", shmget(key, 0, 0) == id);
  printf("%s\n", outcome(shmget(key, SIZE + 1, 0)));
  printf("%s\n", outcome(shmget(IPC_PRIVATE, 0, 0600)));
  printf("%s\n", outcome(shmget(key + 1, SIZE, IPC_CREAT | SHM_HUGETLB)) == NULL ? "?" : "no huge page, or one");
  told("fresh", id);
  char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
  printf("%d %d zero %d\n", a != (void *)-1, b != (void *)-1 && b != a, a[SIZE - 1] == 0);
  strcpy(a + 5000, "shared");
  printf("%s\n", b + 5000);
  told("twice", id);
  char *hole = mmap(NULL, 16384, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("%s\n", outcome((long)shmat(id, hole, 0)));
  printf("%s\n", outcome((long)shmat(id, hole + 1, 0)));
  printf("%d\n", shmat(id, hole + 1, SHM_RND | SHM_REMAP) == hole);
  printf("%s\n", hole + 5000);
  munmap(hole, 16384);
  told("unmapped", id);
  printf("%s\n", outcome((long)shmat(id, NULL, SHM_REMAP)));
  printf("%s\n", outcome((long)shmat(id + 1000, NULL, 0)));
  printf("%s\n", outcome(shmdt(a + 4096)));
  printf("%s\n", outcome(shmdt(a + 1)));
  printf("%s\n", outcome(shmdt(b)));
  printf("%s\n", outcome(shmdt(b)));
  told("once", id);
  struct shmid_ds s = {0};
  shmctl(id, IPC_STAT, &s);
  s.shm_perm.mode = 0604;
  printf("%s\n", outcome(shmctl(id, IPC_SET, &s)));
  printf("%s\n", outcome(shmctl(id, IPC_RMID, NULL)));
  told("removed", id);
  printf("%s\n", outcome(shmget(key, SIZE, 0)));
  printf("still there: %s\n", a + 5000);
  shmdt(a);
  told("gone", id);
  printf("%s\n", outcome(shmctl(id, IPC_RMID, NULL)));
  id = shmget(IPC_PRIVATE, 1, 0600);
  a = shmat(id, NULL, 0);
  a[4095] = 1;
  shmctl(id, IPC_RMID, NULL);
  munmap(a, 4096);
  told("by munmap", id);
  SHOW(shmctl, id, 99, 0);
  SHOW(shmat, -1, 0, 0);
  return 0;
}
