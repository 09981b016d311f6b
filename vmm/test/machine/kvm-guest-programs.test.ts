/** Ordinary Linux programs: what they do here is what they do in a machine. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runProgram } from '../../src/machine/run-program.js';
import {
  comparablePrograms,
  compile,
  FUZZ_RUNS,
  fuzzEndedWell,
  guestSources,
  imageDir,
  runHere,
  runInGuest,
  sameOutcome,
} from './guest.js';

for (const { file, args } of comparablePrograms()) {
  t.test(`${file} prints in the guest what it prints on the host`, async (t) => {
    const program = compile(join(guestSources, file), file.slice(0, -2));
    sameOutcome(t, await runInGuest(program, args), runHere(program, args));
  });
}

t.test('what may not be touched ends the program in the guest as on the host', async (t) => {
  const program = compile(join(guestSources, 'memory_faults.c'), 'memory_faults');
  for (const name of runHere(program).stdout.trim().split('\n')) {
    const guest = await runInGuest(program, [name]);
    const host = runHere(program, [name]);
    t.ok(host.exitCode > 128, `${name} is deadly`);
    t.same([guest.exitCode, guest.stdout], [host.exitCode, host.stdout], name);
  }
});

t.test('calls that the table refuses fail with its error', async (t) => {
  const program = compile(join(guestSources, 'refused.c'), 'refused');
  t.same(await runInGuest(program), { exitCode: 0, stdout: '', stderr: '' });
});

t.test('no call with whatever arguments stops the guest kernel', async (t) => {
  const program = compile(join(guestSources, 'fuzz_calls.c'), 'fuzz_calls');
  const codes: number[] = [];
  for (const args of FUZZ_RUNS) codes.push((await runInGuest(program, args)).exitCode);
  t.ok(codes.every(fuzzEndedWell), `exit codes ${codes}`);
  t.ok(codes.includes(0), 'some made all of their calls');
});

t.test('sites of system calls are rewritten where that is safe', async (t) => {
  const program = compile(join(guestSources, 'call_shapes.c'), 'call_shapes');
  const { stats } = await runProgram({
    program,
    args: [],
    env: {},
    memoryBytes: 64 << 20,
    imageDir,
    stdout: () => undefined,
    stderr: () => undefined,
  });
  // Four of its shapes must stay as they are: they trap 600 times; the others once each, like those of the C library, and
  // where the number stands before, each time that the call begins again.
  t.ok(
    stats.traps >= 600 && stats.traps < 700,
    `${stats.traps} of ${stats.syscalls} calls trapped`,
  );
});

for (const [kind, flags] of [
  ['static-PIE', ['-static-pie', '-fPIE']],
  ['dynamic PIE', ['-fPIE', '-pie']],
  ['dynamic at a fixed address', ['-fno-pie', '-no-pie']],
] as const) {
  t.test(`a ${kind} program runs`, async (t) => {
    const program = compile(join(guestSources, 'threads.c'), `threads-${kind}`, flags);
    sameOutcome(t, await runInGuest(program), runHere(program));
  });
}

const commands: [program: string, args: string[], input?: string][] = [
  ['/bin/busybox', ['sh', '-c', 'echo $((6*7)); cd /etc; pwd; read x; echo got $x'], 'line\n'],
  ['/bin/busybox', ['sort', '-r'], 'a\nc\nb\n'],
  ['/bin/busybox', ['sha256sum'], 'mayfly'.repeat(10_000)],
  ['/bin/ls', ['/proc/self/cmdline']],
  ['/bin/cat', [], 'through\n'],
  [
    '/usr/bin/node',
    ['-e', 'console.log([1, 2].map((x) => x * 2), require("path").join("a", "b"))'],
  ],
  ['/usr/bin/node', ['-p', 'crypto.createHash("sha256").update("x").digest("hex")']],
  ['/usr/bin/node', ['-e', 'setTimeout(() => process.exit(7), 5)']],
];

for (const [program, args, input] of commands) {
  t.test(`${program} ${args.join(' ').slice(0, 40)} behaves as on the host`, async (t) => {
    if (!existsSync(program)) return t.fail(`${program} is not installed`);
    const there = await runInGuest(program, args, {
      ...(input ? { input } : undefined),
      memoryBytes: 512 << 20,
    });
    sameOutcome(t, there, runHere(program, args, input));
  });
}
