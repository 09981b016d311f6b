/** `mayfly checkpoint create` and `mayfly clone` as a shell starts them, with machines. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { bin, dir, env, file, mayfly, skip } from './support/command.js';

const STORE = ['--store', join(dir, 'store')];
const checkpoint = (name: string, args: string[], input = '') =>
  mayfly(['checkpoint', name, ...STORE, ...args], input);
const clone = (args: string[], input = '') => mayfly(['clone', ...STORE, ...args], input);
const create = (name: string, options: string[], program: string[] = []) =>
  checkpoint('create', [name, '--memory', '64M', ...options, '--', ...program]);

t.test('a shell that waits is stored; clones have an input of their own', { skip }, async (t) => {
  t.match(create('sh', ['--when-idle'], ['busybox', 'sh']), {
    status: 0,
    stdout: '',
    stderr: /^mayfly: created sh: .* of 64M stored\n$/,
  });
  t.match(clone(['sh'], 'echo "hello $((6 * 7))"; exit 3\n'), { status: 3, stdout: 'hello 42\n' });
  const { status, stdout } = clone(['sh', '--count', '2', '--json'], 'echo $$\n');
  t.equal(status, 0);
  const { clones } = JSON.parse(stdout);
  t.match(clones, [
    { exitCode: 0, stats: { writtenPages: Number, createMicros: Number, runMicros: Number } },
    { exitCode: 0 },
  ]);
  t.match(clone(['sh', '--count', '2'], 'echo a\necho b >&2\n'), {
    stdout: /^([12]): a\n(?!\1)[12]: a\n$/,
    stderr: /^[12]: b\n[12]: b\n$/,
  });
});

t.test('a difference goes on from another checkpoint, and without it', { skip }, async (t) => {
  const from = ['child', '--from', 'sh', '--when-idle', '--input', '-', '--json'];
  const { status, stdout } = checkpoint('create', from, 'x=kept; echo ready\n');
  t.equal(status, 0);
  const child = JSON.parse(stdout);
  t.match(child, { name: 'child', parent: /^\w{16}$/, output: { stdout: 'ready\n' } });
  t.ok(child.memory.pages < 200, `${child.memory.pages} pages differ`);
  const difference = JSON.parse(checkpoint('diff', ['--json', 'sh', 'child']).stdout);
  t.equal(difference.pages, child.memory.pages);
  t.match(clone(['child'], 'echo $x\n'), { status: 0, stdout: 'kept\n' });
  t.match(checkpoint('rm', ['sh']), { status: 0, stdout: 'removed sh\n' });
  t.match(clone(['child'], 'echo $x\n'), { status: 0, stdout: 'kept\n' });
});

t.test('a program asks, and goes on; or ends, or waits for ever', { skip }, async (t) => {
  const script = 'read side < /dev/checkpoint; echo $side';
  t.match(create('asks', ['--leave-running'], ['busybox', 'sh', '-c', script]), {
    status: 0,
    stdout: 'original\n',
    stderr: /^mayfly: created asks: /,
  });
  t.match(clone(['asks']), { status: 0, stdout: 'clone\n' });
  t.match(create('x', [], ['busybox', 'false']), {
    status: 1,
    stderr: /MAYFLY_CHECKPOINT_ENDED: .*exit code 1.*\n {2}--after takes one/,
  });
  t.match(create('x', [], ['busybox', 'cat']), {
    status: 1,
    stderr: /MAYFLY_CHECKPOINT_NEVER: .*\n {2}--when-idle/,
  });
});

const SERVER = `require('node:net').createServer((s) => s.end('hello'))
  .listen(0, '127.0.0.1', function () { console.log(this.address().port); })`;

const ASKS_AROUND = `
import socket, sys
def ask():
    with socket.create_connection(("host.mayfly", int(sys.argv[1]))) as s:
        return s.recv(9).decode()
print(ask(), flush=True)
side = open("/dev/checkpoint").read().strip()
try:
    print(side, ask())
except OSError as error:
    print(side, type(error).__name__)
`;

t.test('a network before the checkpoint, and in clones the same or less', { skip }, async (t) => {
  const server = spawn(process.execPath, ['-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => server.kill());
  const port = String(await once(server.stdout, 'data')).trim();
  const rule = `host.mayfly:${port}`;
  t.match(create('net', ['--allow-net', rule], ['python3', '-c', ASKS_AROUND, port]), {
    status: 0,
    stdout: 'hello\n',
  });
  t.match(JSON.parse(checkpoint('inspect', ['--json', 'net']).stdout), { network: [rule] });
  t.match(clone(['net']), { status: 0, stdout: 'clone hello\n' });
  t.match(clone(['net', '--allow-net', rule]), { status: 0, stdout: 'clone hello\n' });
  t.match(clone(['net', '--no-allow-net']), { status: 0, stdout: /^clone [A-Za-z]+rror\n$/ });
  t.match(clone(['net', '--allow-net', 'host.mayfly:1']), {
    status: 125,
    stderr: /MAYFLY_NETWORK_WIDER/,
  });
});

/** Answers each byte with how many there have been. */
const COUNTS = `
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
  struct pollfd fds[64] = {{.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN}};
  int count = 1, lines = 0;
  if (bind(fds[0].fd, (struct sockaddr *)&any, sizeof any) || listen(fds[0].fd, 8)) return 1;
  while (poll(fds, count, -1) > 0) {
    if (fds[0].revents && count < 64)
      fds[count++] = (struct pollfd){.fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN};
    for (int i = 1; i < count; i++) {
      char text[16];
      if (!fds[i].revents) continue;
      if (read(fds[i].fd, text, 1) == 1) {
        write(fds[i].fd, text, sprintf(text, "%d", ++lines));
      } else {
        close(fds[i].fd);
        fds[i--] = fds[--count];
      }
    }
  }
}
`;

function countsProgram(): string {
  const program = join(dir, 'counts');
  execFileSync('cc', ['-O1', '-o', program, file('counts.c', COUNTS)]);
  return program;
}

/** A command that publishes a port of the guest. */
async function publishing(...args: string[]) {
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let stderr = '';
  const port = await new Promise<number>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
      const port = /127\.0\.0\.1:(\d+) is port 80 of the guest/.exec(stderr)?.[1];
      if (port !== undefined) resolve(Number(port));
    });
    void ended.then(() => reject(new Error(stderr)));
  });
  return { child, port, ended, stderr: () => stderr };
}

function client(port: number) {
  const socket = connect(port, '127.0.0.1').on('error', () => {}); // who asks is told
  const ask = async () => {
    socket.write('x');
    return Number(await once(socket, 'data'));
  };
  return { socket, ask };
}

/** A client that the guest has answered. They wait for it to listen, but not for more than a minute. */
async function firstClient(port: number) {
  for (let i = 0; i < 10; i++) {
    const { socket, ask } = client(port);
    if ((await ask().catch(() => 0)) === 1) return { socket, ask };
  }
  throw new Error('nobody listens');
}

async function askOnce(port: number): Promise<number> {
  const { socket, ask } = client(port);
  const answer = await ask();
  socket.end();
  return answer;
}

const publish = ['--publish', '0:80'];
const counts = (name: string, ...options: string[]) =>
  publishing(
    ...['checkpoint', 'create', ...STORE, name, '--memory', '64M', ...publish, ...options],
    ...['--', countsProgram()],
  );

t.test('a server is filled by clients, and stored when they have gone', { skip }, async (t) => {
  const { port, ended, stderr } = await counts('filled', '--when-idle');
  const { socket } = await firstClient(port);
  t.equal(await askOnce(port), 2);
  socket.end();
  t.same(await ended, [0, null], stderr());
  t.match(stderr(), /taken a second after the last client has left; .*\nmayfly: created filled/s);
  const { child, port: other } = await publishing('clone', ...STORE, 'filled', ...publish);
  t.equal(await askOnce(other), 3);
  child.kill();
});

t.test('a checkpoint at a signal: its clients stay with the original', { skip }, async (t) => {
  const { child, port, ended, stderr } = await counts('asked', '--leave-running');
  const { socket, ask } = await firstClient(port);
  child.kill('SIGUSR1');
  while (!stderr().includes('created asked')) await once(child.stderr, 'data');
  t.equal(await ask(), 2, 'the client is still there');
  t.equal(await askOnce(port), 3);
  const clone = await publishing('clone', ...STORE, 'asked', ...publish);
  t.equal(await askOnce(clone.port), 2);
  clone.child.kill();
  socket.destroy();
  child.kill();
  t.same(await ended, [null, 'SIGTERM']);
});
