/** A server in a machine and the same one on this host give their clients the same. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { WayIn } from '../../src/network/index.js';
import { compile, runInGuest } from '../machine/guest.js';

const source = fileURLToPath(new URL('../../../test/network/server.c', import.meta.url));
const program = compile(source, 'server');
const GUEST_PORT = 8000;

interface Seen {
  text: string;
  bytes: number;
  /** 'end' or an error's code. */
  end: string;
}

/** Sends all of `text`, and waits for the end; `half`: its own end comes first. */
function ask(port: number, text: string, half = true): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: Seen = { text: '', bytes: 0, end: '' };
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('data', (chunk) => {
      seen.bytes += chunk.length;
      seen.text = (seen.text + chunk.toString()).slice(-100);
    });
    socket.on('end', () => {
      seen.end ||= 'end';
      socket.end();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      seen.end = error.code ?? '?';
    });
    socket.on('close', () => resolve(seen));
    if (half) socket.end(text);
    else socket.write(text);
  });
}

/** What clients see of a server on this port: the last one ends the program with 7. */
async function talk(port: number): Promise<Seen[]> {
  const seen = [
    await ask(port, 'one\ntwo\n'),
    await ask(port, ''),
    await ask(port, 'send 3000000\n'),
    await ask(port, 'send 1000\nclose\n', false),
    await ask(port, 'reset\n', false),
    await ask(port, 'hello\nhalf\n'),
    await ask(port, 'peer\n'),
    ...(await Promise.all(
      Array.from({ length: 60 }, (_, i) => ask(port, `number ${i}\nsend 20000\n`)),
    )),
  ];
  const slow = connect(port, '127.0.0.1');
  slow.pause();
  slow.write('send 5000000\nclose\n');
  await sleep(300);
  slow.resume();
  let bytes = 0;
  slow.on('data', (chunk) => {
    bytes += chunk.length;
  });
  await once(slow, 'end');
  return [...seen, { text: '', bytes, end: 'slow' }, await ask(port, 'send 100\nexit 7\n', false)];
}

async function freePort(): Promise<number> {
  const wayIn = await WayIn.listen([{ address: '127.0.0.1', port: 0, guestPort: 1 }]);
  wayIn.close();
  return wayIn.ports[0]!.port;
}

async function talkHere(): Promise<{ seen: Seen[]; code: unknown }> {
  const port = await freePort();
  const server: ChildProcess = spawn(program, [`${port}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout!, 'data');
  const exit = once(server, 'exit');
  const seen = await talk(port);
  return { seen, code: (await exit)[0] };
}

t.test('clients of a published port see what those of a server here see', async (t) => {
  const { seen: expected, code } = await talkHere();
  t.equal(code, 7);
  const wayIn = await WayIn.listen([{ address: '127.0.0.1', port: 0, guestPort: GUEST_PORT }]);
  const [published] = wayIn.ports;
  // The first client comes before the machine does, and the machine before its server.
  const talked = talk(published!.port);
  const run = runInGuest(program, [`${GUEST_PORT}`, '200'], { wayIn, timeoutMs: 120_000 });
  const seen = await talked;
  t.match(await run, { exitCode: 7, stdout: 'ready\n' });
  for (const [i, one] of expected.entries()) t.same(seen[i], one, `client ${i}`);
  const [stats] = wayIn.stats;
  t.match(stats, { connections: expected.length, failed: 0 });
});

t.test(
  'a server that stops listening refuses, and a program that ends lets its clients go',
  async (t) => {
    const wayIn = await WayIn.listen([{ address: '127.0.0.1', port: 0, guestPort: GUEST_PORT }]);
    const { port } = wayIn.ports[0]!;
    const run = runInGuest(program, [`${GUEST_PORT}`], { wayIn, timeoutMs: 120_000 });
    const kept = ask(port, 'kept\n', false);
    const stopping = connect(port, '127.0.0.1');
    stopping.write('stop\n');
    t.equal(String((await once(stopping, 'data'))[0]), 'stopped\n');
    t.match(await ask(port, 'late\n'), { end: 'ECONNRESET', bytes: 0 });
    stopping.end('exit 3\n');
    t.equal((await run).exitCode, 3);
    t.match(await kept, { text: 'kept\n', end: 'end' });
    t.match(await ask(port, ''), { end: 'ECONNREFUSED' });
  },
);
