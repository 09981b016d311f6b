/*
 * One real-time signal serves both slice timers and kicks. Its handler sets immediate_exit of the
 * vCPU that the thread is running, which closes the gap between the last check and KVM_RUN:
 * whichever side of the entry the signal lands on, KVM_RUN returns EINTR. The price is that a late
 * signal may end a run that it was not meant for; the caller sees one EINTR too many and enters
 * again.
 */
#include "timer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* initial-exec: the handler may not call into the dynamic linker to find these. */
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))

HANDLER_LOCAL struct kvm_run *volatile running;
HANDLER_LOCAL struct {
  bool ready;
  int id;
  bool has_timer;
  timer_t timer;
} thread;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_exit_key;
static int signal_number;
static outcome init_outcome;

static void set_immediate_exit(struct kvm_run *run, uint8_t value) {
  __atomic_store_n(&run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

static void on_signal(int number) {
  (void)number;
  struct kvm_run *run = running;
  if (run) set_immediate_exit(run, 1);
}

static void on_thread_exit(void *unused) {
  (void)unused;
  if (thread.has_timer) timer_delete(thread.timer);
  thread.has_timer = false;
}

/* Takes the first real-time signal that nobody else in the process uses. */
static void init_once(void) {
  struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&ours.sa_mask);
  if ((errno = pthread_key_create(&thread_exit_key, on_thread_exit))) {
    init_outcome = failure("pthread_key_create");
    return;
  }
  for (int number = SIGRTMIN + 4; number <= SIGRTMAX; number++) {
    struct sigaction theirs;
    if (sigaction(number, NULL, &theirs) == 0 && theirs.sa_handler == SIG_DFL && sigaction(number, &ours, NULL) == 0) {
      signal_number = number;
      return;
    }
  }
  init_outcome = (outcome){"sigaction", EAGAIN};
}

static outcome prepare_thread(void) {
  if (thread.ready) return success();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal_number);
  if ((errno = pthread_sigmask(SIG_UNBLOCK, &set, NULL))) return failure("pthread_sigmask");
  if ((errno = pthread_setspecific(thread_exit_key, &thread))) return failure("pthread_setspecific");
  thread.id = (int)syscall(SYS_gettid);
  thread.ready = true;
  return success();
}

static outcome prepare_timer(void) {
  if (thread.has_timer) return success();
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal_number};
  event.sigev_notify_thread_id = thread.id;
  if (timer_create(CLOCK_MONOTONIC, &event, &thread.timer) < 0) return failure("timer_create");
  thread.has_timer = true;
  return success();
}

static outcome set_timer(uint64_t ns) {
  struct itimerspec spec = {
      .it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)},
  };
  return timer_settime(thread.timer, 0, &spec, NULL) < 0 ? failure("timer_settime") : success();
}

outcome run_begin(struct vcpu *vcpu) {
  outcome o = prepare_thread();
  if (!failed(o) && vcpu->slice_ns) o = prepare_timer();
  if (failed(o)) return o;
  /*
     * Order matters against kick(), which sets kicked, then immediate_exit, then reads thread:
     * either this load sees kicked, or kick() sees the thread and signals it.
     */
  atomic_store(&vcpu->thread, thread.id);
  set_immediate_exit(vcpu->run, 0);
  running = vcpu->run;
  if (atomic_load(&vcpu->kicked)) set_immediate_exit(vcpu->run, 1);
  return vcpu->slice_ns ? set_timer(vcpu->slice_ns) : o;
}

void run_end(struct vcpu *vcpu) {
  /* A signal that is already queued is delivered before timer_settime returns: none is left for
     * the next run. */
  if (vcpu->slice_ns && thread.has_timer) set_timer(0);
  running = NULL;
  atomic_store(&vcpu->thread, 0);
}

/* Tokens are index + 1 in the low half and the entry's generation in the high half, so that 0 is
 * never a token. */
struct kick_entry {
  struct vcpu *vcpu; /* NULL: free */
  uint32_t generation;
  uint32_t next_free; /* index + 1, 0 ends the list */
};

static pthread_mutex_t kick_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kick_entry *kick_table;
static uint32_t kick_capacity;
static uint32_t kick_free;

static bool grow_table(void) {
  uint32_t capacity = kick_capacity ? kick_capacity * 2 : 64;
  struct kick_entry *table = realloc(kick_table, capacity * sizeof(*table));
  if (!table) return false;
  for (uint32_t i = kick_capacity; i < capacity; i++)
    table[i] = (struct kick_entry){.next_free = i + 1 < capacity ? i + 2 : 0};
  kick_free = kick_capacity + 1;
  kick_table = table;
  kick_capacity = capacity;
  return true;
}

outcome kick_register(struct vcpu *vcpu) {
  pthread_once(&once, init_once);
  if (failed(init_outcome)) return init_outcome;
  outcome o = success();
  pthread_mutex_lock(&kick_lock);
  if (!kick_free && !grow_table()) {
    o = (outcome){"malloc", ENOMEM};
  } else {
    uint32_t index = kick_free - 1;
    struct kick_entry *entry = &kick_table[index];
    kick_free = entry->next_free;
    entry->vcpu = vcpu;
    entry->generation++;
    vcpu->kick_token = (uint64_t)entry->generation << 32 | (index + 1);
  }
  pthread_mutex_unlock(&kick_lock);
  return o;
}

/* The live entry of a token, or NULL. Call with the lock held. */
static struct kick_entry *find_entry(uint64_t token) {
  uint32_t index = (uint32_t)token - 1;
  if (index >= kick_capacity) return NULL;
  struct kick_entry *entry = &kick_table[index];
  return entry->vcpu && entry->generation == token >> 32 ? entry : NULL;
}

void kick_unregister(struct vcpu *vcpu) {
  pthread_mutex_lock(&kick_lock);
  struct kick_entry *entry = find_entry(vcpu->kick_token);
  if (entry && entry->vcpu == vcpu) {
    entry->vcpu = NULL;
    entry->next_free = kick_free;
    kick_free = (uint32_t)vcpu->kick_token;
  }
  pthread_mutex_unlock(&kick_lock);
}

bool kick(uint64_t token) {
  pthread_mutex_lock(&kick_lock);
  struct kick_entry *entry = find_entry(token);
  if (entry) {
    atomic_store(&entry->vcpu->kicked, true);
    set_immediate_exit(entry->vcpu->run, 1);
    int target = atomic_load(&entry->vcpu->thread);
    if (target) syscall(SYS_tgkill, getpid(), target, signal_number);
  }
  pthread_mutex_unlock(&kick_lock);
  return entry != NULL;
}

void kick_consume(struct vcpu *vcpu) { atomic_store(&vcpu->kicked, false); }
