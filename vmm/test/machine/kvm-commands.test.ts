/** Programs as a distribution ships them do in a machine what they do on the host. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compile, guestSources, runHere, runInGuest, sameOutcome } from './guest.js';

const LINES = 'pear 3\napple 12\nfig 7\napple 2\n';

interface Command {
  program: string;
  args: string[];
  input?: string;
}

/** A program's name with its arguments; it reads `input`. */
function command(line: readonly string[], input = LINES): Command {
  const [name = '', ...args] = line;
  const program = ['/usr/bin', '/bin'].map((dir) => join(dir, name)).find(existsSync);
  return { program: program ?? name, args, input };
}

const families: Record<string, Command[]> = {
  'coreutils read': [
    command(['cat', '-n']),
    command(['sort', '-k2', '-n', '-r']),
    command(['uniq', '-c']),
    command(['cut', '-d', ' ', '-f', '2']),
    command(['tr', 'a-z', 'A-Z']),
    command(['tac']),
    command(['od', '-c']),
    command(['wc']),
    command(['head', '-c', '5']),
    command(['tail', '-n', '2']),
    command(['base64']),
    command(['sha256sum'], LINES.repeat(5000)),
    command(['b2sum']),
    command(['split', '-n', 'r/1/2']),
    command(['nl']),
    command(['paste', '-', '-']),
  ],
  'coreutils compute': [
    command(['seq', '1', '3', '20']),
    command(['factor', '1234567890123']),
    command(['expr', '6', '*', '7']),
    command(['numfmt', '--to=iec', '123456789']),
    command(['date', '-u', '-d', '@86400', '+%F %T %A']),
    command(['printf', '%05d|%s|%x\\n', '42', 'x', '255']),
    command(['id']),
    command(['uname', '-s', '-m']),
    command(['tty']),
    command(['printenv', 'HOME']),
    command(['pwd']),
  ],
  'coreutils write': [
    command(['dd', 'bs=4', 'count=3', 'status=none', 'conv=ucase']),
    command(['tee', '/tmp/copy', '/tmp/other']),
    command(['cp', '-a', '/etc/passwd', '/tmp/passwd']),
    command(['mkdir', '-p', '-v', '/tmp/a/b/c']),
    command(['ln', '-s', '-v', 'nowhere', '/tmp/link']),
    command(['truncate', '-s', '1M', '/tmp/sparse']),
    command(['stat', '-c', '%n %F %a', '/dev/null', '/proc', '/tmp']),
    command(['ls', '-d', '/proc/self/fd', '/tmp', '/nowhere']),
    command(['rm', '/tmp/nothing']),
    command(['find', '/proc/self/task', '-maxdepth', '0', '-type', 'd']),
  ],
  'text tools': [
    command(['grep', '-n', 'apple']),
    command(['grep', '-oP', '\\w+(?= \\d)']),
    command(['grep', 'cherry']),
    command(['sed', '-n', 's/apple/orange/p;$=']),
    command(['mawk', '{ n += $2 } END { print n, sin(1) }']),
    command(['diff', '-', '/dev/null']),
    command(['jq', '-c', '.[] | select(.n > 1) | {n}'], '[{"n":1},{"n":2},{"n":3}]'),
    command(['perl', '-ne', '/(\\w+) (\\d+)/ and print "$2 $1\\n"']),
    command([
      'perl',
      '-e',
      'open(F, ">/tmp/p"); print F "x" x 9; close F; print -s "/tmp/p", "\\n"',
    ]),
  ],
  'shells without fork': [
    command(['dash', '-c', 'read a b; echo $((b * 2)) "$a"; cd /proc; pwd; exit 3']),
    command([
      'bash',
      '-c',
      'declare -A m=([a]=1 [b]=2); echo $((m[a] + m[b])); [[ apple =~ ^a(.*)e$ ]] && printf "%q\\n" "a b"',
    ]),
    command([
      'busybox',
      'sh',
      '-c',
      'while read l; do echo "[$l]"; done > /tmp/o; while read l; do echo "$l"; done < /tmp/o',
    ]),
    command(['busybox', 'awk', '{ print NR, $1 }']),
    command(['busybox', 'vi', '--help']),
    command(['busybox', 'sysctl', 'kernel.ostype']),
  ],
  'compression and archives': [
    command(['gzip', '-n', '-9'], LINES.repeat(2000)),
    command(['xz', '-T1', '-c'], LINES.repeat(2000)),
    command(['xz', '-T4', '--block-size=16384', '-c'], LINES.repeat(2000)),
    command(['zstd', '-T2', '-c'], LINES.repeat(2000)),
    command(['tar', '-cf', '-', '--mtime=@0', '-C', '/proc/sys/kernel', 'ostype']),
  ],
  sqlite: [
    command(
      ['sqlite3', ':memory:'],
      'create table t(a, b); insert into t values (1, 2), (3, 4); select sum(a * b) from t;',
    ),
    command(
      ['sqlite3', '/tmp/db'],
      'create table t(a primary key); begin; insert into t values (1), (2); rollback; insert into t values (7); select * from t; pragma integrity_check;',
    ),
    command(
      ['sqlite3', '/tmp/wal'],
      'pragma journal_mode=wal; create table t(a primary key, b); insert into t select value, hex(value) from generate_series(1, 500); select sum(a) from t; pragma wal_checkpoint(truncate); pragma integrity_check;',
    ),
  ],
  python: [
    command([
      'python3',
      '-c',
      'import json, sqlite3, sys; print(json.dumps({"n": sys.stdin.read().split()}), sqlite3.connect(":memory:").execute("select 6 * 7").fetchone())',
    ]),
    command(['python3', '-c', 'import signal, os; os.kill(os.getpid(), signal.SIGINT)']),
  ],
};

for (const [family, commands] of Object.entries(families)) {
  t.test(family, async (t) => {
    for (const { program, args, input } of commands) {
      t.comment(`${program} ${args.join(' ')}`.slice(0, 100));
      const there = await runInGuest(program, args, { input: input ?? '' });
      sameOutcome(t, there, runHere(program, args, input));
    }
  });
}

t.test('a program of musl runs', async (t) => {
  for (const flags of [['-static'], ['-static-pie', '-fPIE'], []]) {
    const program = compile(
      join(guestSources, 'event_poll.c'),
      `musl${flags.length}`,
      flags,
      'musl-gcc',
    );
    sameOutcome(t, await runInGuest(program), runHere(program));
  }
});

t.test('starting another process fails with an error that the program sees', async (t) => {
  const shell = await runInGuest('/bin/dash', ['-c', '/bin/true; echo $?']);
  t.match(shell.stderr, /fork/);
  const spawned = await runInGuest(
    '/usr/bin/node',
    [
      '-e',
      `const { spawnSync, spawn } = require('child_process');
       console.log(spawnSync('/bin/true').error.code);
       try { spawn('/bin/true').on('error', (e) => console.log(e.code)); } catch (e) { console.log(e.code); }`,
    ],
    { memoryBytes: 512 << 20 },
  );
  t.same(spawned, { exitCode: 0, stdout: 'ENOSYS\nENOSYS\n', stderr: '' });
  const program = compile(join(guestSources, 'spawn.c'), 'spawn');
  t.same(await runInGuest(program), {
    exitCode: 0,
    stdout:
      'posix_spawn: Function not implemented\nfork: Function not implemented\nsystem: 32512\npopen: none\n',
    stderr: '',
  });
});
