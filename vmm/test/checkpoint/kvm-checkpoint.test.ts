/** Real programs: stored, loaded in another process or the same, cloned. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import type * as Tap from 'tap';
import t from 'tap';
import {
  CheckpointStore,
  type CloneOptions,
  cloneMachine,
  type Loaded,
  type Moment,
  runToMoment,
} from '../../src/checkpoint/index.js';
import { bootMachine } from '../../src/machine/factory.js';
import { runToEnd } from '../../src/machine/run-to-end.js';
import { compile, imageDir } from '../machine/guest.js';
import { scratchDir } from './scratch.js';

async function compileText(
  dir: string,
  name: string,
  text: string,
  flags?: string[],
): Promise<string> {
  const source = join(dir, `${name}.c`);
  await writeFile(source, text);
  return compile(source, name, flags);
}

/** Boots a program, stores it at the moment, and lets the original run to its end. */
async function checkpoint(
  store: CheckpointStore,
  name: string,
  program: string,
  args: string[],
  moment: Moment,
) {
  const images = await ImageStore.open(imageDir);
  const image = await images.build(await treeFromPrograms([{ path: program }]));
  let output = '';
  const keep = (chunk: Uint8Array) => {
    output += Buffer.from(chunk).toString('latin1');
  };
  const argv = [program, ...args];
  const machine = bootMachine({
    program,
    argv,
    env: {},
    cwd: '/',
    images: [image.path],
    memoryBytes: 128 << 20,
    console: { stdout: keep, stderr: keep },
  });
  machine.devices.console.endInput();
  const state = await runToMoment(machine, moment, { timeoutMs: 20_000 });
  await store.create(
    { name },
    { memory: machine.memory, state, images: [image.path], command: argv },
  );
  const { exitCode } = await runToEnd(machine, { timeoutMs: 20_000 });
  machine.close();
  return { exitCode, output };
}

async function runClone(
  loaded: Loaded,
  options?: CloneOptions,
): Promise<{ exitCode: number; output: string }> {
  let output = '';
  const keep = (chunk: Uint8Array) => {
    output += Buffer.from(chunk).toString('latin1');
  };
  const machine = cloneMachine(loaded, { stdout: keep, stderr: keep }, options);
  try {
    return { ...(await runToEnd(machine, { timeoutMs: 20_000 })), output };
  } finally {
    machine.close();
  }
}

async function setUp(test: Tap.Test) {
  const dir = scratchDir();
  test.teardown(() => dir.remove());
  return { dir: dir.path, store: await CheckpointStore.open(join(dir.path, 'store')) };
}

const ASKS = `
#include <fcntl.h>
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
  char side[16] = {0};
  char *heap = malloc(8 << 20);
  memset(heap, 'x', 8 << 20);
  pid_t before = getpid();
  double sum = 0.5;
  printf("before\\n");
  fflush(stdout);
  int fd = open("/dev/checkpoint", O_RDONLY);
  ssize_t n = read(fd, side, sizeof side);
  printf("%s%zd %zd\\n", side, n, read(fd, side, sizeof side));
  printf("%c%c %.1f pid %s\\n", heap[0], heap[(8 << 20) - 1], sum + 0.25, getpid() == before ? "same" : "other");
  return side[0] == 'c' ? 7 : 3;
}
`;

t.test('a program asks for its checkpoint; original and clones go on', async (t) => {
  const { dir, store } = await setUp(t);
  const program = await compileText(dir, 'asks', ASKS);
  const original = await checkpoint(store, 'asks', program, [], 'asked');
  t.same(original, { exitCode: 3, output: 'before\noriginal\n9 0\nxx 0.8 pid same\n' });
  const loaded = await store.load('asks');
  t.teardown(() => loaded.close());
  for (let i = 0; i < 3; i++) {
    t.same(await runClone(loaded), { exitCode: 7, output: 'clone\n6 0\nxx 0.8 pid other\n' });
  }
  t.same(loaded.manifest.command, [program]);
  const clone = cloneMachine(loaded, { stdout() {}, stderr() {} });
  await store.remove('asks');
  t.equal(
    (await runToEnd(clone, { timeoutMs: 20_000 })).exitCode,
    7,
    'a clone goes on when its checkpoint is removed',
  );
  clone.close();
});

const SPINS = `
#include <immintrin.h>
#include <stdio.h>
#include <time.h>
/* Keeps a known pattern in vector registers while it spins: whatever moment is taken, it must survive. */
__attribute__((target("avx2"))) int main(void) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  __m256i a = _mm256_set1_epi32(0x12345678), b = _mm256_set1_epi64x(0x0fedcba987654321);
  unsigned long rounds = 0;
  do {
    for (int i = 0; i < 100000; i++) {
      __asm__ volatile("" : "+x"(a), "+x"(b));
      a = _mm256_xor_si256(a, b);
      b = _mm256_xor_si256(b, a);
      a = _mm256_xor_si256(a, b);
      __asm__ volatile("" : "+x"(a), "+x"(b));
      b = _mm256_xor_si256(b, a); /* three rounds of this are the identity up to order */
      a = _mm256_xor_si256(a, b);
      b = _mm256_xor_si256(b, a);
      rounds++;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 400);
  unsigned words[8], more[8];
  _mm256_storeu_si256((__m256i *)words, a);
  _mm256_storeu_si256((__m256i *)more, b);
  for (int i = 0; i < 8; i++) printf("%08x %08x ", words[i], more[i]);
  printf("%s\\n", rounds > 0 ? "done" : "?");
  return 0;
}
`;

t.test('a checkpoint in the middle of a computation keeps vector registers', async (t) => {
  const { dir, store } = await setUp(t);
  const program = await compileText(dir, 'spins', SPINS, ['-static', '-O2']);
  const original = await checkpoint(store, 'spins', program, [], { afterMs: 100 });
  t.match(original.output, /done/);
  const loaded = await store.load('spins');
  t.teardown(() => loaded.close());
  t.not(loaded.state.vcpu.xsave, undefined);
  for (let i = 0; i < 3; i++) t.same(await runClone(loaded), original);
});

t.test('an idle program is stored; its timers go on in the clone', async (t) => {
  const { dir, store } = await setUp(t);
  const text = `
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  usleep(300000);
  clock_gettime(CLOCK_MONOTONIC, &b);
  double ms = (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6;
  printf("%s\\n", ms >= 300 && ms < 3000 ? "slept" : "bad");
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  printf("%ld\\n", wall.tv_sec);
  return 0;
}`;
  const program = await compileText(dir, 'idle', text);
  const original = await checkpoint(store, 'idle', program, [], 'idle');
  t.match(original.output, /^slept\n/);
  const loaded = await store.load('idle');
  t.teardown(() => loaded.close());
  await new Promise((resolve) => setTimeout(resolve, 1200));
  const clone = await runClone(loaded);
  t.match(clone.output, /^slept\n/);
  t.ok(
    Math.abs(Number(clone.output.split('\n')[1]) - Date.now() / 1000) < 3,
    'the wall clock is the host’s',
  );
});

t.test('a program that ends or never asks', async (t) => {
  const { store } = await setUp(t);
  await t.rejects(checkpoint(store, 'x', '/bin/busybox', ['false'], 'asked'), {
    code: 'MAYFLY_CHECKPOINT_ENDED',
    message: /exit code 1/,
  });
  t.same(await store.list(), []);
});

t.test('a clone is called by names of its own', async (t) => {
  const { dir, store } = await setUp(t);
  const program = await compileText(
    dir,
    'names',
    `
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void show(const char *path) {
  char text[64] = {0};
  int fd = open(path, O_RDONLY);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) perror(path);
  close(fd);
  printf("%s", text);
}
static void names(void) {
  char host[64];
  gethostname(host, sizeof host);
  printf("%d\\n%s\\n", getpid(), host);
  show("/etc/machine-id");
  show("/proc/sys/kernel/random/boot_id");
  show("/etc/machine-id");
  show("/proc/sys/kernel/random/boot_id");
  show("/proc/sys/kernel/random/uuid");
  fflush(stdout);
}
int main(void) {
  char side[16];
  names();
  read(open("/dev/checkpoint", O_RDONLY), side, sizeof side);
  names();
  return 0;
}`,
  );
  const original = await checkpoint(store, 'names', program, [], 'asked');
  const lines = original.output.trim().split('\n');
  t.match(lines[2], /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/, 'machine-id');
  t.match(lines[3], /^[0-9a-f-]{36}$/, 'boot_id');
  t.same(lines.slice(0, 6), lines.slice(7, 13), 'the original keeps its names');
  const loaded = await store.load('names');
  t.teardown(() => loaded.close());
  const clones = [await runClone(loaded), await runClone(loaded, { hostname: 'clone-2' })].map(
    ({ output }) => output.trim().split('\n'),
  );
  for (const names of clones) t.same(names.slice(2, 4), names.slice(4, 6), 'stable in a life');
  const all = [lines, ...clones];
  for (const i of [0, 2, 3, 6]) t.equal(new Set(all.map((names) => names[i])).size, 3, `line ${i}`);
  t.same(
    all.map((names) => names[1]),
    ['mayfly', 'mayfly', 'clone-2'],
  );
  t.throws(() => cloneMachine(loaded, { stdout() {}, stderr() {} }, { hostname: 'a b' }), {
    code: 'MAYFLY_BAD_HOSTNAME',
  });
});
