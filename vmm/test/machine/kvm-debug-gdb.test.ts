/** The real gdb, attached to guests. */
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import t from 'tap';
import { debugged, gdb, INTERRUPT, lineOf } from './debugged.js';
import { compile, imageDir, type Outcome, runInGuest } from './guest.js';

const fixed = debugged('debugged-fixed', ['-static']);
const dynamic = debugged('debugged-dynamic', ['-fPIE', '-pie']);
const KERNEL = fileURLToPath(new URL('../../../../firmware/build/kernel.elf', import.meta.url));

interface Session extends Outcome {
  gdb: string;
}

/** Runs a program with gdb attached, which obeys the commands. */
async function session(
  program: string,
  args: readonly string[],
  commands: readonly string[],
  images?: readonly string[],
): Promise<Session> {
  let gdbOutput: Promise<string> | undefined;
  const onDebugger = (port: number) => {
    gdbOutput = gdb(program, [`target remote :${port}`, ...commands]);
  };
  const outcome = await runInGuest(program, args, {
    ...(images && { images }),
    ...{ gdbPort: 0, onDebugger, timeoutMs: 60_000 },
  });
  return { ...outcome, gdb: (await gdbOutput) ?? '' };
}

const ENDS = '[Inferior 1 (Remote target) exited with code 06]';

for (const [kind, program] of [
  ['static', fixed],
  ['dynamic', dynamic],
] as const) {
  t.test(`breakpoint, backtrace, variables and threads of a ${kind} program`, async (t) => {
    const { gdb, stdout, exitCode } = await session(
      program,
      [],
      [
        ...['break leaf', 'continue', 'bt', 'print *p', 'print ratio', 'x/s text', 'x/2dw p'],
        ...['info threads', 'thread apply all bt', 'set var counter = 100', 'delete', 'continue'],
      ],
    );
    t.match(gdb, new RegExp(`Breakpoint 1, leaf .*debugged\\.c:${lineOf('leaf')}`));
    t.match(gdb, /#0 +leaf.*\n#1 .* nested.*depth=3.*\n#2 (.*\n)+#5 .* main \(argc=1/);
    t.match(gdb, '= {x = 1, y = 40}');
    t.match(gdb, '= 0.25');
    t.match(gdb, /<text>:\t"mayfly"/);
    t.match(gdb, /0x[0-9a-f]+:\t1\t40\n/);
    t.match(gdb, /\* 1 +Thread \d+ \(debugged-\w+\) +leaf/);
    t.match(gdb, /2 +Thread \d+ \(first\)/);
    t.match(gdb, /3 +Thread \d+ \(second\)/);
    t.equal(gdb.match(/ waiter \(name=/g)?.length, 2);
    t.match(gdb, ENDS);
    t.equal(stdout, '6 101 0.25 mayfly\n', 'what gdb wrote is what the program saw');
    t.equal(exitCode, 6);
  });
}

t.test('lines and instructions are stepped, over system calls too', async (t) => {
  const nexts = Array.from({ length: 8 }, () => 'next');
  const steps = ['break getpid', 'call (int)getpid()', 'stepi', 'stepi', 'stepi', 'print $pc'];
  const { gdb, stdout } = await session(
    fixed,
    [],
    ['break main', 'continue', ...nexts, ...steps, 'delete', 'finish', 'continue'],
  );
  t.match(gdb, /\d+\t {2}int sum = nested\(&p, 0\);\n/, 'past threads, barriers and a sleep');
  t.match(gdb, 'Breakpoint 2, ');
  const [, at, behind] =
    /\n(0x[0-9a-f]+) in getpid \(\)\n(0x[0-9a-f]+) in getpid \(\)\n/.exec(gdb) ?? [];
  t.equal(Number(behind) - Number(at), 2, 'a step over `syscall` ends right behind it');
  t.equal(stdout, '6 1 0.25 mayfly\n');
});

t.test('shared libraries are found, and stopped in', async (t) => {
  const { gdb, exitCode } = await session(
    dynamic,
    [],
    ['break main', 'continue', 'info sharedlibrary', 'break usleep', 'continue', 'bt', 'kill'],
  );
  t.match(gdb, /Yes .*libc\.so\.6\n/);
  t.match(gdb, /Breakpoint 2, .*usleep/);
  t.match(gdb, /#1 .* main \(/);
  t.equal(exitCode, 137, 'kill ends it');
});

const successor = fileURLToPath(new URL('../../../test/machine/successor.c', import.meta.url));

t.test('a program that takes the place of another is shown with its own symbols', async (t) => {
  for (const flags of [['-static'], ['-fPIE', '-pie']]) {
    const after = compile(successor, `successor${flags.length}`, ['-g', '-O0', ...flags]);
    const store = await ImageStore.open(imageDir);
    const image = await store.build(await treeFromPrograms([{ path: fixed }, { path: after }]));
    const { gdb, stdout, exitCode } = await session(
      fixed,
      ['exec', after],
      [
        ...['set sysroot /', 'catch exec', 'break main', 'continue', 'continue'],
        ...['info auxv', 'break inherited', 'continue', 'continue', 'bt', 'print what'],
        ...['delete', 'continue'],
      ],
      [image.path],
    );
    t.match(gdb, `is executing new program: ${after}`);
    t.match(gdb, `Catchpoint 1 (exec'd ${after})`);
    t.match(gdb, new RegExp(`AT_EXECFN .*"${after}"`), 'the auxiliary vector is read anew');
    t.match(gdb, /Breakpoint 2, main .*successor\.c/, 'breakpoints are set again');
    t.match(gdb, /#0 +inherited .*successor\.c:\d+\n#1 .* main /);
    t.match(gdb, '= 43');
    t.equal(stdout, 'successor\n');
    t.equal(exitCode, 3);
  }
});

t.test('registers are read and changed', async (t) => {
  const { gdb, stdout } = await session(
    fixed,
    [],
    [
      ...[
        'break leaf',
        'continue',
        'set var $ymm3.v4_int64[3] = 77',
        'set var $xmm2.v4_int32[1] = 5',
      ],
      ...['stepi', 'print $ymm3.v4_int64', 'print $xmm2.v4_int32', 'print $fs_base == $rsp'],
      ...['info registers mxcsr', 'up', 'return 41', 'continue'],
    ],
  );
  t.match(gdb, '= {0, 0, 0, 77}');
  t.match(gdb, /= \{-?\d+, 5, /);
  t.match(gdb, /mxcsr +0x1f80/);
  t.match(gdb, '[Inferior 1 (Remote target) exited with code ', 'it goes on');
  t.match(stdout, /^\d+ \d+ 0.25 mayfly\n$/);
});

for (const how of ['hang', 'sleep']) {
  t.test(`Ctrl-C stops a program in its ${how}, and detach lets it go on`, async (t) => {
    const commands = [`echo ${INTERRUPT}\\n`, 'continue', 'bt', 'set var hanging = 0', 'detach'];
    const told = await session(fixed, [how], commands);
    t.equal(told.exitCode, 6, 'it went on to its end');
    t.match(told.gdb, 'received signal SIGINT');
    t.match(told.gdb, /#\d+ .* main \(argc=2/);
    t.match(told.gdb, 'detached');
  });
}

t.test('a fatal signal stops the program before it dies', async (t) => {
  const { gdb, exitCode } = await session(fixed, ['crash'], ['continue', 'bt', 'continue']);
  t.match(gdb, 'received signal SIGSEGV');
  t.match(gdb, new RegExp(`main .*debugged\\.c:${lineOf('crash')}`));
  t.match(gdb, 'Program terminated with signal SIGSEGV');
  t.equal(exitCode, 139);
  const aborted = await session(fixed, ['abort'], ['continue', 'bt', 'continue']);
  t.match(aborted.gdb, /received signal SIGABRT(.*\n)+#\d .* main \(/);
  t.equal(aborted.exitCode, 134);
});

t.test('a signal with a handler stops, and the debugger says what becomes of it', async (t) => {
  const { gdb, stdout, exitCode } = await session(
    fixed,
    ['signals'],
    [...['continue', 'signal SIGUSR1', 'signal 0', 'signal SIGUSR1', 'signal SIGTRAP']],
  );
  t.equal(gdb.match(/received signal SIGUSR1/g)?.length, 2);
  t.equal(gdb.match(/received signal SIGUSR2/g)?.length, 1);
  t.equal(gdb.match(/received signal SIGTRAP/g)?.length, 1);
  t.match(
    stdout,
    /^handled 25, constant\n/,
    'SIGUSR1 twice and SIGTRAP: one taken away, one exchanged',
  );
  t.equal(exitCode, 6);
});

t.test('what the program cannot write is written', async (t) => {
  const write = 'set {char}constant = 67';
  const commands = ['handle SIGUSR1 SIGUSR2 nostop pass', 'break signals', 'continue', write];
  const { gdb, stdout } = await session(
    fixed,
    ['signals'],
    [...commands, 'x/s constant', 'continue', 'signal SIGTRAP'],
  );
  t.match(gdb, '"Constant"');
  t.match(stdout, /^handled 37, Constant\n/);
  t.match(
    (await runInGuest(fixed, ['signals'])).stdout,
    /^handled 37, constant\n/,
    'in that run only',
  );
});

t.test('frames of the guest kernel are readable with its symbols', async (t) => {
  const { gdb } = await session(
    fixed,
    [],
    [`add-symbol-file ${KERNEL}`, 'info line process_killed', 'print xsave_size > 500', 'kill'],
  );
  t.match(gdb, /Line \d+ of "arch\/debug\.c"/);
  t.match(gdb, '= 1\n');
});

t.test(
  'a connection that speaks nonsense harms nobody, and its end lets the program go on',
  async (t) => {
    const nonsense = ['$', '#', '$g#zz', '$m0,ffffffff#9e', '\u0003', `$${'x'.repeat(70_000)}#00`];
    const commands = [
      'g',
      'm',
      'mffffffffffffffff,8',
      'M0,1:00',
      'X0,1:',
      'p99999',
      'P0=',
      'Z0',
      'Z0,0,1',
    ];
    const more = [
      'vCont;q',
      'vCont;s:7fffffff',
      'Hgzz',
      'T0',
      'qXfer:auxv:read::0',
      'G00',
      'z0,zz,1',
      '}',
      'qSupported',
    ];
    const sum = (s: string) =>
      ([...s].reduce((n, c) => n + c.charCodeAt(0), 0) & 0xff).toString(16).padStart(2, '0');
    const replies: string[] = [];
    const onDebugger = (port: number) => {
      const socket = connect(port, '127.0.0.1');
      let asked = false;
      socket.on('data', (chunk) => {
        replies.push(chunk.toString('latin1'));
        const all = replies.join('');
        if (!asked && /\$(T05|E01)/.test(all)) {
          asked = true; // packets are dropped before: the program runs
          for (const data of [...commands, ...more]) socket.write(`$${data}#${sum(data)}`);
        }
        if (all.includes('PacketSize')) socket.end();
      });
      for (const text of nonsense) socket.write(text, 'latin1');
    };
    const { exitCode, stdout } = await runInGuest(fixed, [], { gdbPort: 0, onDebugger });
    t.equal(exitCode, 6);
    t.equal(stdout, '6 1 0.25 mayfly\n');
    t.match(replies.join(''), '$E01#', 'mistakes are answered');
  },
);

t.test('a port that is taken is an error', async (t) => {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await t.rejects(runInGuest(fixed, [], { gdbPort: port }), { code: 'MAYFLY_LISTEN' });
  server.close();
});
