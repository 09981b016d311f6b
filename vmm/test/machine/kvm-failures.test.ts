/** What a program or a guest kernel that ends badly looks like from outside. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { KernelImage } from '../../src/machine/kernel-image.js';
import { compile, runInGuest } from './guest.js';

/** Of the instruction that follows the call of kernel_main. */
const UD2_BEHIND_ENTRY = 0xc;

const source = fileURLToPath(new URL('../../../test/machine/crash.c', import.meta.url));
const program = compile(source, 'crash');

for (const [how, signal, headline] of [
  ['null', 11, /^crash\S*\[\d+\] died of SIGSEGV: write to 0x8, which is not mapped\n/],
  ['wild', 11, /died of SIGSEGV: write to 0x555555555000, which is not mapped\n/],
  ['jump', 11, /died of SIGSEGV: jump to 0x123456789, which is not mapped\n/],
  ['constant', 11, /died of SIGSEGV: write to 0x[0-9a-f]+, which is not allowed \(mapped r--\)\n/],
  ['data', 11, /died of SIGSEGV: jump to 0x[0-9a-f]+, which is not allowed \(mapped rw-\)\n/],
  [
    'beyond',
    7,
    /died of SIGBUS: write to 0x[0-9a-f]+, which lies beyond the end of \/tmp\/short\n/,
  ],
  ['buffer', 11, /died of SIGSEGV: write to 0x[0-9a-f]+, which is not mapped\n/],
  ['masked', 11, /died of SIGSEGV: write to 0x8, which is not mapped\n/],
  ['divide', 8, /died of SIGFPE\n/],
  ['illegal', 4, /died of SIGILL\n/],
  ['abort', 6, /died of SIGABRT\n/],
] as const) {
  for (const [kind, flags] of [
    ['static', ['-static']],
    ['dynamic', ['-fPIE', '-pie']],
  ] as const) {
    t.test(`"${how}" in a ${kind} program is reported`, async (t) => {
      let report = '';
      const onCrash = (text: string) => (report += text);
      const crash = kind === 'static' ? program : compile(source, `crash-${kind}`, flags);
      const { exitCode, stdout, stderr } = await runInGuest(crash, [how], { onCrash });
      t.equal(exitCode, 128 + signal);
      t.equal(stdout, 'before\n', 'what was printed before is there');
      t.equal(stderr, '');
      t.match(report, headline);
      t.match(report, /\n {2}rip {4}[0-9a-f]{16} {2}rflags [0-9a-f]{16}/);
      t.match(report, /\n {2}at 0x[0-9a-f]+ main\+0x[0-9a-f]+ \(\S+\/crash/);
      t.match(report, / _start\+0x/, 'up to the first function');
      t.notMatch(report, /perhaps/, 'no frame is a guess');
    });
  }
}

for (const [how, exitCode] of [
  ['kill', 137],
  ['unknown', 5],
] as const) {
  t.test(`"${how}" ends with ${exitCode}`, async (t) => {
    t.equal((await runInGuest(program, [how])).exitCode, exitCode);
  });
}

for (const how of ['spin', 'sleep']) {
  t.test(`"${how}" is stopped by a time-out`, async (t) => {
    t.same(await runInGuest(program, [how], { timeoutMs: 1000 }), {
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
  const address = (KernelImage.default().entry + UD2_BEHIND_ENTRY).toString(16);
  await t.rejects(runInGuest(program, ['kernel', address]), {
    code: 'MAYFLY_GUEST_PANIC',
    message: /exception 6/,
    cause: new RegExp(
      `rip {4}0*${address}.*\\n {2}at \\w+\\+0xc \\(guest kernel\\)(.*\\n)* {2}at 0x[0-9a-f]+ main\\+`,
      's',
    ),
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
