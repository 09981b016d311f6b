/** Programs that a signal ends: the exit code is a shell's, in a machine as on the host. */
import { join } from 'node:path';
import t from 'tap';
import { compile, guestSources, runHere, runInGuest } from './guest.js';

const endings = [
  'kill',
  'term',
  'profile',
  'abort',
  'pipe',
  'fault',
  'divide',
  'undefined',
  'breakpoint',
  'blocked-fault',
  'ignored-fault',
  'reset-fault',
  'overflow',
  'no-restorer',
  'sigreturn',
  'unmasked',
  'alarm',
  'spinning-alarm',
  'thread',
  'exit',
  'leader-exits',
];
const program = compile(join(guestSources, 'signal_fatal.c'), 'signal_fatal');

for (const ending of endings) {
  t.test(`${ending} ends a program in the guest as on the host`, async (t) => {
    const here = runHere(program, [ending]);
    const there = await runInGuest(program, [ending]);
    t.not(here.exitCode, 0, 'the host ended it');
    t.same([there.exitCode, there.stdout], [here.exitCode, here.stdout]);
  });
}

const script = (body: string) => ['-e', `${body}; setTimeout(() => process.exit(9), 5000)`];

const scripts: [name: string, body: string][] = [
  [
    'a signal handler',
    `process.on('SIGUSR1', (name, number) => { console.log(name, number); process.exit(4) });
     process.kill(process.pid, 'SIGUSR1')`,
  ],
  [
    'several signals, and one that is removed again',
    `let seen = []; const once = () => seen.push('once');
     process.once('SIGHUP', once); process.on('SIGUSR2', () => seen.push('usr2'));
     process.on('SIGTERM', () => { console.log(seen.join()); process.exit(0) });
     process.kill(process.pid, 'SIGHUP');
     setTimeout(() => process.kill(process.pid, 'SIGUSR2'), 20);
     setTimeout(() => process.kill(process.pid, 'SIGTERM'), 40)`,
  ],
  ['a signal without a handler', `process.kill(process.pid, 'SIGTERM')`],
  [
    'memory out of bounds in WebAssembly',
    `const code = Buffer.from('0061736d0100000001060160017f017f03020100050301000107080104706565' +
       '6b00000a0901070020002802000b', 'hex');
     const { peek } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
     for (const at of [0, 65532, 0x7fffffff, -1, 0])
       try { console.log(at, peek(at)) } catch (e) { console.log(at, e.name, e.message) }
     process.exit(0)`,
  ],
];

for (const [name, body] of scripts) {
  t.test(`node: ${name}`, async (t) => {
    const here = runHere('/usr/bin/node', script(body));
    const there = await runInGuest('/usr/bin/node', script(body), { memoryBytes: 512 << 20 });
    t.same([there.exitCode, there.stdout], [here.exitCode, here.stdout]);
  });
}
