import { connect } from 'node:net';
import { MayflyError } from '@mayfly/protocol';
import t from 'tap';
import { goodServer } from './good-server.js';
import { type Behave, echo, MemoryPool, response } from './memory-pool.js';
import { raw } from './raw-http.js';

const pool = new MemoryPool();
/** By the path that a request asks for: how `bad` behaves. */
const bad = new Map<string, Behave>();
pool.behave = (head, body, options, spec) => {
  const path = head.type === 'request' ? new URL(head.url).pathname.slice(1) : '';
  return (bad.get(path) ?? echo)(head, body, options, spec);
};

const { url, port, put, json, othersNoticeNothing } = await goodServer(pool);
await put('bad');

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
  for (const half of halves) await raw(port, half, 50);
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
