/** What the network and guests can do wrong: each gets a clear answer, and other functions notice nothing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import { startServer } from '../src/index.js';
import { type Behave, echo, MemoryPool, noLayers, response } from './memory-pool.js';

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-bad-'));
const pool = new MemoryPool();
const server = await startServer({ port: 0, dataDir, pool, layers: noLayers, logLevel: 'silent' });
const { url } = server;
const port = Number(new URL(url).port);
t.teardown(async () => {
  await server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

/** By the path that a request asks for: how `bad` behaves. */
const bad = new Map<string, Behave>();
pool.behave = (head, body, options, spec) => {
  const path = head.type === 'request' ? new URL(head.url).pathname.slice(1) : '';
  return (bad.get(path) ?? echo)(head, body, options, spec);
};

const put = (name: string, body = 'x') =>
  fetch(`${url}/v1/functions/${name}`, { method: 'PUT', body });
await put('good');
await put('bad');

const json = async (path: string, init?: RequestInit) => {
  const answer = await fetch(url + path, init);
  return { status: answer.status, body: (await answer.json()) as { code: string } };
};

async function othersNoticeNothing(t: {
  equal(a: unknown, b: unknown): void;
  match(a: unknown, b: RegExp): void;
}): Promise<void> {
  const answer = await fetch(`${url}/fn/good/x`);
  t.equal(answer.status, 200);
  t.match(await answer.text(), /GET .*\/x/);
}

/** Everything that comes back for these bytes, until the server ends the connection or `ms` have passed. */
function raw(bytes: string | Buffer, ms = 2000): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const done = () => {
      socket.destroy();
      resolve(text);
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', done).on('close', done);
    socket.write(bytes);
    setTimeout(done, ms).unref();
  });
}

t.test('a worker that died is told with when to come back', async (t) => {
  bad.set('dies', async () => {
    throw new MayflyError('MAYFLY_WORKER_GONE', 'the worker thread of the invocation died');
  });
  const answer = await fetch(`${url}/fn/bad/dies`);
  t.equal(answer.status, 503);
  t.equal(answer.headers.get('retry-after'), '1');
  t.match(await answer.json(), { code: 'MAYFLY_WORKER_GONE' });
  await othersNoticeNothing(t);
});

t.test('what is no HTTP is answered and cut', async (t) => {
  const cases: [what: string, bytes: string, status: number][] = [
    ['noise', '\0\u0001\u0002 hello\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['a method that is none', 'FETCH / HTTP/1.1\r\nhost: h\r\n\r\n', 400],
    ['a header without a name', 'GET / HTTP/1.1\r\nhost: h\r\n: x\r\n\r\n', 400],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nhost: h\r\na: \0\r\n\r\n', 400],
    ['no host', 'GET /fn/good HTTP/1.1\r\n\r\n', 400],
    [
      'two lengths',
      'POST /fn/good HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
      400,
    ],
    [
      'a length that is none',
      'POST /fn/good HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n',
      400,
    ],
    [
      'length and chunks',
      'POST /fn/good HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['headers without end', `GET / HTTP/1.1\r\nhost: h\r\n${'a: b\r\n'.repeat(20_000)}`, 431],
    ['a long URL', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: h\r\n\r\n`, 431],
  ];
  for (const [what, bytes, status] of cases) {
    const answer = await raw(bytes);
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what);
    if (what !== 'no host') t.match(answer, /"code":"MAYFLY_REQUEST_INVALID"/, what);
  }
  const broken = await raw(
    'POST /fn/good HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
  );
  t.notMatch(broken, /^HTTP\/1\.1 200/, 'a chunk without a length');
  await othersNoticeNothing(t);
});

t.test('a client that writes to the end before it reads gets the refusal', async (t) => {
  const body = Buffer.alloc(20 * 1024 * 1024, ' ');
  for (const more of ['', 'connection: close\r\n']) {
    const socket = connect(port, '127.0.0.1').pause();
    const head = `POST /v1/functions/good/invocations HTTP/1.1\r\nhost: h\r\n${more}content-length: ${body.length}\r\n\r\n`;
    const written = await new Promise((resolve) => {
      socket.on('error', resolve);
      socket.write(Buffer.concat([Buffer.from(head), body]), () => resolve('all'));
    });
    t.equal(written, 'all');
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text)).resume();
    });
    t.match(answer, /^HTTP\/1\.1 413 .*"code":"MAYFLY_BODY_TOO_LARGE"/s);
  }
  await othersNoticeNothing(t);
});

t.test('any bytes at all leave the server well', async (t) => {
  const start = fc.constantFrom(
    '',
    'GET ',
    'POST /fn/good HTTP/1.1\r\n',
    'PUT /v1/functions/good HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n',
  );
  await fc.assert(
    fc.asyncProperty(start, fc.uint8Array({ minLength: 1, maxLength: 200 }), async (head, tail) => {
      const answer = await raw(Buffer.concat([Buffer.from(head), tail]), 30);
      return answer === '' || answer.startsWith('HTTP/1.1 ');
    }),
    { numRuns: 60, interruptAfterTimeLimit: 10_000 },
  );
  await othersNoticeNothing(t);
});

t.test('names', async (t) => {
  for (const name of [
    'A',
    '-a',
    'a_b',
    'a.b',
    'a'.repeat(64),
    '%00',

    'a%20b',
    'ä',
    'a'.repeat(200),
  ]) {
    const { status, body } = await json(`/v1/functions/${name}`, { method: 'PUT', body: 'x' });
    t.equal(`${status} ${body.code}`, '400 MAYFLY_FUNCTION_NAME', name);
  }
  t.match(await json('/v1/functions/%zz', { method: 'PUT' }), { status: 400 });
  t.match(await json('/fn/..%2f..%2fetc'), { status: 404 });
});

t.test('guests that misbehave', async (t) => {
  const fails = (code: string) => async () => {
    throw new MayflyError(code, 'of a test');
  };
  const says = (head: object) => async () => ({ head, body: new Uint8Array(0) });
  const cases: [path: string, behave: Behave, answer: string][] = [
    ['oom', fails('MAYFLY_GUEST_OOM'), '502 MAYFLY_GUEST_OOM'],
    ['spin', fails('MAYFLY_GUEST_TIMEOUT'), '504 MAYFLY_GUEST_TIMEOUT'],
    ['exit', fails('MAYFLY_GUEST_EXITED'), '502 MAYFLY_GUEST_EXITED'],
    ['panic', fails('MAYFLY_GUEST_PANIC'), '502 MAYFLY_GUEST_PANIC'],
    ['frame', fails('MAYFLY_FRAME_DAMAGED'), '502 MAYFLY_FRAME_DAMAGED'],
    ['ring', fails('MAYFLY_VIRTIO_BAD_CHAIN'), '502 MAYFLY_VIRTIO_BAD_CHAIN'],
    ['nothing', says({}), '502 MAYFLY_GUEST_ANSWER'],
    ['result', says({ type: 'result', logs: [] }), '502 MAYFLY_GUEST_ANSWER'],
    [
      'status',
      says({ type: 'response', status: 99, headers: [], logs: [] }),
      '502 MAYFLY_GUEST_ANSWER',
    ],
    [
      'header',
      says({ type: 'response', status: 200, headers: [['a', 'b\r\nc']], logs: [] }),
      '502 MAYFLY_GUEST_ANSWER',
    ],
    ['defect', () => Promise.reject(new TypeError('of Mayfly')), '500 MAYFLY_INTERNAL'],
  ];
  await Promise.all(
    cases.map(async ([path, behave, expected]) => {
      bad.set(path, behave);
      const { status, body } = await json(`/fn/bad/${path}`);
      t.equal(`${status} ${body.code}`, expected, path);
    }),
  );
  await othersNoticeNothing(t);
  t.match((await json('/healthz')).body, { inFlight: 0 });
});

t.test(
  'a version that never gets ready leaves the one before it serving, others too',
  async (t) => {
    pool.boot = async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      throw new MayflyError('MAYFLY_BOOT_TIMEOUT', 'not ready within 1 s');
    };
    const deploying = json('/v1/functions/bad', { method: 'PUT', body: 'y' });
    await othersNoticeNothing(t);
    t.match(await deploying, { status: 504, body: { code: 'MAYFLY_BOOT_TIMEOUT' } });
    pool.boot = async () => {};
    t.match((await json('/v1/functions/bad')).body, { version: 1, state: 'ready' });
    t.equal((await fetch(`${url}/fn/bad`)).status, 200);
  },
);

t.test('a reader that is slow holds up nobody but its own guest', async (t) => {
  const piece = Buffer.alloc(64 * 1024);
  let made = 0;
  let stopped = false;
  async function* endless() {
    try {
      for (;;) {
        made++;
        yield piece;
      }
    } finally {
      stopped = true;
    }
  }
  bad.set('endless', async () => ({
    ...response(200, endless()),
    end: new Promise<void>(() => {}),
  }));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write('GET /fn/bad/endless HTTP/1.1\r\nhost: h\r\n\r\n');
  await until(() => made > 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const held = made;
  await othersNoticeNothing(t);
  t.ok(held < 1000, `${held} pieces are made ahead`);
  socket.destroy();
  await until(() => stopped);
  t.ok(stopped, 'the guest is told when the reader goes');
  await until(
    async () => ((await json('/healthz')).body as unknown as { inFlight: number }).inFlight === 0,
  );
});

t.test('writers that stop in the middle leave nothing behind', async (t) => {
  const halves = [
    'PUT /v1/functions/bad HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-tar\r\ncontent-length: 9000\r\n\r\nhalf',
    'POST /v1/functions/bad/invocations HTTP/1.1\r\nhost: h\r\ncontent-length: 20\r\n\r\n{"half":',
    'POST /fn/bad HTTP/1.1\r\nhost: h\r\ncontent-length: 20\r\n\r\nhalf',
  ];
  for (const half of halves) await raw(half, 50);
  await until(
    async () => ((await json('/healthz')).body as unknown as { inFlight: number }).inFlight === 0,
  );
  t.match((await json('/v1/functions/bad')).body, { version: 1 });
  await othersNoticeNothing(t);
});

async function until(test: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await test()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('it does not happen');
}
