/** Programs in a machine that go out: to servers of this host's loopback interface, by rule. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { Denial } from '../../src/network/index.js';
import type { NameResolver } from '../../src/network/resolver.js';
import { compile, guestSources, type Outcome, runInGuest, sameOutcome } from '../machine/guest.js';

const HOST = '169.254.77.1';

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

function echo(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      if (chunk.toString() === 'reset') socket.resetAndDestroy();
      else if (!socket.write(chunk)) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    });
    socket.on('end', () => socket.end('bye'));
  });
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Here, while this process goes on to serve. */
function runServed(program: string, args: string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error === null) resolve({ exitCode: 0, stdout, stderr });
      else reject(error);
    });
  });
}

/** Names of the tests' own. */
const resolver: NameResolver = {
  resolve: async (name, type) => {
    if (name !== 'www.test') return 'missing';
    return type === 'A' ? [{ type, ttl: 60, data: HOST }] : [];
  },
};

t.test('a program connects as it would on the host', async (t) => {
  const program = compile(join(guestSources, 'net_outside.c'), 'net_outside');
  const port = await listen(echo());
  const closed = await closedPort();
  const guest = await runInGuest(program, [HOST, `${port}`, `${closed}`], {
    network: { allow: [`host.mayfly:${port},${closed}`] },
    timeoutMs: 120_000,
  });
  // In a process of its own: the server is in this one, which runHere() blocks.
  const here = await runServed(program, ['127.0.0.1', `${port}`, `${closed}`]);
  sameOutcome(t, guest, here);
});

t.test('what no rule allows is refused, in the guest and in words', async (t) => {
  const program = compile(join(guestSources, 'net_refused.c'), 'net_refused');
  const port = await listen(echo());
  const denied: Denial[] = [];
  const { stdout } = await runInGuest(
    program,
    [
      ...['www.test', HOST, `${port}`],
      ...['host.mayfly', HOST, '1'],
      ...['gone.test', '10.1.2.3', '80'],
      ...['evil.example', '127.0.0.1', '80'],
    ],
    {
      network: {
        allow: ['*.test', `host.mayfly:${port}`],
        resolver,
        denied: (denial) => denied.push(denial),
      },
    },
  );
  t.same(stdout.trim().split('\n'), [
    'www.test: ',
    `  ${HOST}`,
    `tcp ${HOST}:${port}: 0`,
    'host.mayfly: ',
    `  ${HOST}`,
    `tcp ${HOST}:1: Permission denied`,
    'gone.test: Name or service not known',
    'tcp 10.1.2.3:80: Permission denied',
    'evil.example: Name or service not known',
    'tcp 127.0.0.1:80: Connection refused',
    'udp connect: 0',
    'from 169.254.77.2',
    'udp send: Permission denied',
  ]);
  t.same(
    denied.map(({ rule }) => rule),
    ['host.mayfly:1', '10.1.2.3:80', 'evil.example'],
  );
});

const clients: [program: string, args: (url: string) => string[]][] = [
  ['/bin/busybox', (url) => ['wget', '-q', '-O', '-', url]],
  [
    '/usr/bin/node',
    (url) => [
      '-e',
      `fetch('${url}', { method: 'POST', body: 'x'.repeat(100000) }).then((r) => r.text()).then(console.log)`,
    ],
  ],
  [
    '/usr/bin/python3',
    (url) => ['-c', `import urllib.request as u; print(u.urlopen('${url}').read().decode())`],
  ],
];

for (const [program, args] of clients) {
  t.test(`${program} fetches by name`, async (t) => {
    if (!existsSync(program)) return t.fail(`${program} is not installed`);
    const server = createHttpServer((request, response) => {
      let bytes = 0;
      request.on('data', (chunk) => {
        bytes += chunk.length;
      });
      request.on('end', () => response.end(`${request.headers.host} ${bytes}`));
    });
    const port = await listen(server);
    const { stdout, stderr } = await runInGuest(program, args(`http://www.test:${port}/`), {
      memoryBytes: 512 << 20,
      timeoutMs: 120_000,
      network: { allow: ['www.test', `host.mayfly:${port}`], resolver },
    });
    t.equal(stderr, '');
    t.match(stdout.trim(), new RegExp(`^www\\.test:${port} [0-9]+$`));
  });
}
