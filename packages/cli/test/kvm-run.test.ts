/** `mayfly run` as a shell starts it, with machines. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { bin, dir, env, file, mayfly, run, skip } from './support/command.js';

t.test('python with its library, as a program and as a script', { skip }, (t) => {
  const code =
    'import json, asyncio, sqlite3, ssl, pwd, zoneinfo, os; ' +
    'db = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0]; ' +
    'zone = zoneinfo.ZoneInfo("Europe/Berlin").key; ' +
    'print(json.dumps([db, asyncio.run(asyncio.sleep(0, "slept")), zone, pwd.getpwuid(0).pw_name]))';
  const outcome = run('--', '/usr/bin/python3', '-c', code);
  t.match(outcome, { status: 0, stderr: '' });
  t.same(JSON.parse(outcome.stdout), [42, 'slept', 'Europe/Berlin', 'root']);
  const script = file('s.py', '#!/usr/bin/env python3\nimport sys\nprint(sys.argv)\n', 0o755);
  t.match(run('--', './s.py', 'a b'), { status: 0, stdout: `['${script}', 'a b']\n` });
  t.match(run('--', 'python3', 's.py'), { status: 2, stderr: /No such file/ });
  mkdirSync(join(dir, 'work'));
  file('work/w.py', 'import part; print(part.VALUE)');
  file('work/part.py', 'VALUE = "of a module beside it"');
  const args = ['run', '--dir', '.:/work', '--cwd', '/work', '--', 'python3', 'w.py'];
  t.match(mayfly(args, '', join(dir, 'work')), { status: 0, stdout: 'of a module beside it\n' });
  t.end();
});

t.test("perl with its modules, and a virtual environment's python", { skip }, (t) => {
  const perl = run('--', 'perl', '-MPOSIX', '-MList::Util=sum', '-e', 'print floor(sum(1, 2.5))');
  t.match(perl, { status: 0, stdout: '3', stderr: '' });
  const venv = join(dir, 'venv');
  mkdirSync(join(venv, 'bin'), { recursive: true });
  mkdirSync(join(venv, 'lib/python3.11/site-packages'), { recursive: true });
  symlinkSync('/usr/bin/python3', join(venv, 'bin/python'));
  writeFileSync(join(venv, 'pyvenv.cfg'), 'home = /usr/bin\n');
  const python = run('--', 'venv/bin/python', '-c', 'import sys, json; print(sys.prefix)');
  t.match(python, { status: 0, stdout: `${venv}\n` });
  t.end();
});

t.test('--dir: a copy, so that what the guest writes stays there', { skip }, (t) => {
  const data = join(dir, 'data');
  mkdirSync(data);
  writeFileSync(join(data, 'f'), 'old');
  const command = 'echo new > /in/f; echo more > /in/g; read a < /in/f; read b < /in/g; echo $a $b';
  t.match(run('--dir', `${data}:/in`, '--', 'sh', '-c', command), {
    status: 0,
    stdout: 'new more\n',
  });
  t.equal(readFileSync(join(data, 'f'), 'utf8'), 'old');
  t.notOk(existsSync(join(data, 'g')));
  t.end();
});

t.test('bytes pass unchanged, and exit codes are those of a shell', { skip }, (t) => {
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7) & 0xff));
  const { stdout } = spawnSync(process.execPath, [bin, 'run', '--', 'cat'], { input: bytes, env });
  t.ok(stdout.equals(bytes));
  t.match(run('--', 'sh', '-c', 'echo out; echo err >&2; exit 7'), {
    status: 7,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  t.equal(run('--', 'sh', '-c', 'kill -9 $$').status, 137);
  t.equal(run('--timeout', '200ms', '--', 'sleep', '60').status, 124);
  t.match(run('--env', 'A=b c', '--cwd', '/tmp', '--', 'sh', '-c', 'echo $A; pwd'), {
    stdout: 'b c\n/tmp\n',
  });
  t.end();
});

t.test('--json is one document', { skip }, (t) => {
  const document = (...args: string[]) => {
    const { status, stdout, stderr } = mayfly(['run', '--json', ...args]);
    t.equal(stderr, '');
    const json = JSON.parse(stdout);
    t.equal(json.exitCode, status);
    return json;
  };
  t.match(document('--', 'sh', '-c', 'echo é; echo e >&2; exit 3'), {
    exitCode: 3,
    stdout: 'é\n',
    stdoutEncoding: 'utf8',
    stderr: 'e\n',
    stats: { syscalls: Number },
  });
  t.match(document('--', 'printf', '\\377'), { stdout: '/w==', stdoutEncoding: 'base64' });
  t.match(document('--', 'sh', '-c', 'kill -15 $$'), { exitCode: 143, signal: 15 });
  t.match(document('--', 'no-such-program'), {
    exitCode: 127,
    error: { code: 'MAYFLY_PROGRAM_UNKNOWN' },
  });
  t.end();
});

t.test('a reader that goes away ends the run as SIGPIPE would', { skip }, async (t) => {
  const child = spawn(process.execPath, [bin, 'run', '--', 'yes'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.once('data', () => child.stdout.destroy());
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  t.equal(status, 141);
  t.equal(said, '');
});

t.test('a reader that is slow holds the guest up, not the memory', { skip }, async (t) => {
  const child = spawn(process.execPath, [bin, 'run', '--timeout', '2s', '--', 'yes'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const peak = () =>
    Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
  await new Promise((resolve) => child.stdout.once('readable', resolve)); // and read no more
  const before = peak();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const kilobytes = peak() - before;
  t.ok(kilobytes < 64 * 1024, `${kilobytes} kilobytes more: \`yes\` writes that many in a moment`);
  child.stdout.resume();
  const status = await new Promise((resolve) => child.on('exit', resolve));
  t.equal(status, 124, 'the time-out holds while the guest is held up');
});

t.test('Ctrl-C ends it', { skip }, async (t) => {
  const child = spawn(process.execPath, [bin, 'run', '--', 'yes'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.once('data', () => child.kill('SIGINT'));
  child.stdout.resume();
  const signal = await new Promise((resolve) => child.on('exit', (_code, name) => resolve(name)));
  t.equal(signal, 'SIGINT', 'of which a shell says 130');
});

t.test('kill -9 leaves nothing behind', { skip }, async (t) => {
  const own = join(dir, 'killed');
  const variables = { ...env, XDG_CACHE_HOME: join(own, 'cache'), TMPDIR: join(own, 'tmp') };
  mkdirSync(variables.TMPDIR, { recursive: true });
  const files = () => readdirSync(own, { recursive: true }).map(String).sort();
  const processes = () =>
    readdirSync('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(variables.TMPDIR);
      } catch {
        return false; // not a process, or it has just ended
      }
    });
  const args = (code: string) => [bin, 'run', '--', '/bin/busybox', 'sh', '-c', code];
  const first = spawnSync(process.execPath, args('echo up'), { env: variables });
  t.equal(String(first.stdout), 'up\n', 'the image is there');
  const before = files();
  const child = spawn(process.execPath, args('echo up; read x'), {
    env: variables,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  t.not(processes().length, 0, 'it runs');
  child.kill('SIGKILL');
  await new Promise((resolve) => child.on('close', resolve));
  t.same(files(), before);
  t.same(processes(), []);
});
