/** What a program or a guest kernel that ends badly looks like from outside. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { compile, runInGuest } from './guest.js';

t.setTimeout(120_000);

const source = fileURLToPath(new URL('../../../test/machine/crash.c', import.meta.url));
const program = compile(source, 'crash');

for (const [how, signal] of [
  ['null', 11],
  ['wild', 11],
  ['jump', 11],
  ['divide', 8],
  ['illegal', 4],
] as const) {
  t.test(`"${how}" ends with signal ${signal} and tells the registers`, async (t) => {
    const { exitCode, stdout, stderr } = await runInGuest(program, [how]);
    t.equal(exitCode, 128 + signal);
    t.equal(stdout, 'before\n', 'what was printed before is there');
    t.match(stderr, /^crash\[\d+\]: exception \d+/);
    t.match(stderr, /rip [0-9a-f]{16} rsp [0-9a-f]{16}/);
  });
}

for (const [how, exitCode] of [
  ['abort', 134],
  ['kill', 137],
  ['unknown', 5],
] as const) {
  t.test(`"${how}" ends with ${exitCode}`, async (t) => {
    t.equal((await runInGuest(program, [how])).exitCode, exitCode);
  });
}

for (const how of ['spin', 'sleep']) {
  t.test(`"${how}" is stopped by a time-out`, async (t) => {
    t.same(await runInGuest(program, [how], { timeoutMs: 300 }), {
      exitCode: 124,
      stdout: 'before\n',
      stderr: '',
    });
  });
}

t.test('an unknown system call is told once', async (t) => {
  const { stderr } = await runInGuest(program, ['unknown'], { strace: true });
  t.equal(stderr.match(/system call 499 is not there/g)?.length, 1);
  t.match(stderr, /\[\d+\] write\(1, /, 'and the others are listed');
});

t.test('a guest kernel that panics says where', async (t) => {
  await t.rejects(runInGuest(program, ['kernel']), {
    code: 'MAYFLY_GUEST_PANIC',
    message: /exception 6/,
    cause: / at exception_handle\+/,
  });
});

t.test('memory that makes no sense is refused', async (t) => {
  for (const memoryBytes of [0, 1 << 20, -5, Number.NaN, 2 ** 50]) {
    await t.rejects(runInGuest(program, [], { memoryBytes }), { code: 'MAYFLY_BAD_MEMORY_SIZE' });
  }
});

t.test('arguments that do not fit are refused', async (t) => {
  const code = 'MAYFLY_ARGUMENTS_TOO_LARGE';
  await t.rejects(runInGuest(program, ['x'.repeat(2 << 20)]), { code });
});
