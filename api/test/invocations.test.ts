/** Records of invocations, and those that run later. */
import { fileURLToPath } from 'node:url';
import { MayflyError } from '@mayfly/protocol';
import t from 'tap';
import { Database } from '../src/store/database.js';
import { InvocationStore, type Trace } from '../src/store/invocations.js';
import { type ChildServer, startChild } from './child-server.js';
import { echo, MemoryPool, response, result } from './memory-pool.js';
import { folder, type Tap, testServer } from './test-server.js';

const SERVER = fileURLToPath(new URL('invocations-server.js', import.meta.url));

async function start(t: Tap, pool = new MemoryPool(), limits = {}) {
  const server = await testServer(t, { pool, limits });
  await deploy(server.url);
  return { ...server, pool };
}

const deploy = async (url: string) => {
  const answer = await fetch(`${url}/v1/functions/f`, { method: 'PUT', body: 'x' });
  if (!answer.ok) throw new Error(await answer.text());
};

const jsonOf = (url: string) => async (path: string, init?: RequestInit) => {
  const answer = await fetch(url + path, init);
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into whatever comes back
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as any };
};

const event = (body: unknown) => ({ method: 'POST', body: JSON.stringify(body) });
const INVOKE = '/v1/functions/f/invocations';

async function ended(url: string, id: string): Promise<{ status: string }> {
  for (let tries = 0; tries < 1200; tries++) {
    const { body } = await jsonOf(url)(`/v1/invocations/${id}`);
    if (body.endedAt) return body;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${id} does not end`);
}

t.test('requests and events leave records', async (t) => {
  const { url, json, pool } = await start(t);
  const called = await fetch(`${url}/fn/f/a?b=c`);
  const id = called.headers.get('mayfly-invocation') as string;
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  await called.text();
  const { body: record } = await json(`/v1/invocations/${id}`);
  t.match(record, {
    id,
    function: 'f',
    version: 1,
    status: 'succeeded',
    trigger: 'request',
    request: { method: 'GET', path: '/a?b=c' },
    timing: { queueMs: 0.01, guestMs: 0.02 },
    cold: false,
    rewoundPages: 7,
    faults: 5,
    logs: [],
  });
  const invoked = await json(INVOKE, event({ n: 1 }));
  t.match(invoked.body, { status: 'succeeded', trigger: 'event', result: { n: 1 } });
  t.same((await json(`/v1/invocations/${invoked.body.id}`)).body, invoked.body);
  pool.behave = async () => {
    throw new MayflyError('MAYFLY_GUEST_PANIC', 'panic: of a test');
  };
  const failed = await json(INVOKE, event(1));
  t.match(failed, {
    status: 502,
    body: { code: 'MAYFLY_GUEST_PANIC', invocation: /^[0-9a-f-]+$/ },
  });
  const failure = (await json(`/v1/invocations/${failed.body.invocation}`)).body;
  t.match(failure, { status: 'failed', error: { code: 'MAYFLY_GUEST_PANIC' } });
  const stranger = await json('/fn/f');
  t.notOk(stranger.body.invocation);
  t.match(stranger.headers.get('mayfly-invocation'), /^[0-9a-f-]+$/);
  const { invocations } = (await json(INVOKE)).body;
  t.same(
    invocations.map(({ status }: { status: string }) => status),
    ['failed', 'failed', 'succeeded', 'succeeded'],
  );
  t.notOk(invocations.some((one: object) => 'logs' in one || 'result' in one));
  t.equal((await json(`${INVOKE}?limit=1`)).body.invocations.length, 1);
  t.match(await json('/v1/invocations/none'), {
    status: 404,
    body: { code: 'MAYFLY_INVOCATION_UNKNOWN' },
  });
  t.match(await json(`${INVOKE}?async=maybe`, event(1)), { status: 400 });
});

t.test('a record is there while the invocation is under way', async (t) => {
  const { json, pool, url } = await start(t);
  let finish = () => {};
  const behind = new Promise<void>((resolve) => {
    finish = resolve;
  });
  pool.behave = async () => ({ ...response(200, Buffer.from('x')), end: behind });
  const called = await fetch(`${url}/fn/f`);
  const id = called.headers.get('mayfly-invocation') as string;
  t.match((await json(`/v1/invocations/${id}`)).body, { status: 'running' });
  finish();
  t.match(await ended(url, id), { status: 'succeeded' });
});

t.test('long results are in the answer, and not in the record', async (t) => {
  const { json, pool } = await start(t);
  const long = 'x'.repeat(300 * 1024);
  const { body } = await json(INVOKE, event(long));
  t.equal(body.result, long);
  const { body: record } = await json(`/v1/invocations/${body.id}`);
  t.notOk('result' in record);
  pool.behave = async () => response(200, Buffer.from(long));
  const answered = await json(INVOKE, event(1));
  t.equal(answered.body.response.body, long);
  const kept = (await json(`/v1/invocations/${answered.body.id}`)).body;
  t.same(kept.response, { status: 200, headers: [] });
});

t.test('later: 202 at once, the record tells the rest', async (t) => {
  const { url, json, pool } = await start(t);
  const accepted = await json(`${INVOKE}?async=true`, event({ n: 2 }));
  t.equal(accepted.status, 202);
  const { id } = accepted.body;
  t.equal(accepted.headers.get('location'), `/v1/invocations/${id}`);
  t.match(await ended(url, id), { status: 'succeeded', result: { n: 2 }, version: 1 });
  pool.behave = async () => {
    throw new MayflyError('MAYFLY_GUEST_TIMEOUT', 'too slow');
  };
  const failing = (await json(`${INVOKE}?async=true`, event(1))).body.id;
  t.match(await ended(url, failing), { status: 'failed', error: { code: 'MAYFLY_GUEST_TIMEOUT' } });
  const unknown = await json('/v1/functions/none/invocations?async=true', event(1));
  t.match(unknown, { status: 404, body: { code: 'MAYFLY_FUNCTION_UNKNOWN' } });
});

t.test('later: what finds no room waits, what finds no function fails', async (t) => {
  const { url, json, pool } = await start(t, new MemoryPool(), { inFlightMax: 2 });
  let running = 0;
  let most = 0;
  pool.behave = async (head, body, options, spec) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 30));
    running--;
    return echo(head, body, options, spec);
  };
  const accepted = await Promise.all(
    Array.from({ length: 8 }, (_, n) => json(`${INVOKE}?async=true`, event(n))),
  );
  const ids = accepted.map(({ body }) => body.id);
  const records = await Promise.all(ids.map((id) => ended(url, id)));
  t.same(
    records.map(({ status }) => status),
    ids.map(() => 'succeeded'),
  );
  t.equal(most, 2);
  pool.behave = () => new Promise((resolve) => setTimeout(() => resolve(result(0)), 100));
  const more = await Promise.all([1, 2, 3].map((n) => json(`${INVOKE}?async=true`, event(n))));
  await fetch(`${url}/v1/functions/f`, { method: 'DELETE' });
  await deploy(url); // another function with the same name
  t.match(await ended(url, more[2]?.body.id), {
    status: 'failed',
    error: { code: 'MAYFLY_FUNCTION_UNKNOWN' },
  });
});

t.test('later: what waits is bounded in bytes, after the next start too', async (t) => {
  const dataDir = folder(t);
  let finish = () => {};
  const life = async () => {
    const wait = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const pool = new MemoryPool(async (...asked) => {
      await wait;
      return echo(...asked);
    });
    return testServer(t, { dataDir, pool, limits: { laterBytesMax: 100 }, drainMs: 0 });
  };
  const accept = ({ json }: Awaited<ReturnType<typeof life>>) =>
    json(`${INVOKE}?async=true`, event('x'.repeat(43)));
  const bytes = async (url: string) =>
    /^mayfly_later_bytes (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
  const first = await life();
  await deploy(first.url);
  const ids = [(await accept(first)).body.id, (await accept(first)).body.id];
  t.equal(await bytes(first.url), '90');
  const refused = await accept(first);
  t.match(refused, { status: 429, body: { code: 'MAYFLY_OVERLOADED', message: /100 bytes/ } });
  t.ok(refused.headers.get('retry-after'));
  await first.close();
  const second = await life();
  t.equal((await accept(second)).status, 429);
  finish();
  for (const id of ids) t.match(await ended(second.url, id), { status: 'succeeded' });
  for (let tries = 0; tries < 200 && (await bytes(second.url)) !== '0'; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.equal(await bytes(second.url), '0');
  t.equal((await accept(second)).status, 202);
});

t.test(
  'kill -9: what was accepted runs at the next start; what ends the server each time is given up',
  async (t) => {
    const dataDir = folder(t);
    const ids: string[] = [];
    // One that was under way at three kills would be given up.
    for (let round = 0; round < 2; round++) {
      const { kill, url } = await startChild(t, SERVER, dataDir, '150');
      if (round === 0) await deploy(url);
      const asked = Array.from({ length: 40 }, async (_, n) => {
        const { body } = await jsonOf(url)(`${INVOKE}?async=true`, event(n));
        ids.push(body.id);
      });
      await Promise.race(asked);
      await new Promise((resolve) => setTimeout(resolve, round * 10));
      await kill();
      await Promise.allSettled(asked);
    }
    t.ok(ids.length > 3, `${ids.length} were accepted`);
    let crasher = '';
    for (let start = 0; start < 3; start++) {
      const child = await startChild(t, SERVER, dataDir, '0');
      if (start === 0) {
        for (const id of ids) t.match(await ended(child.url, id), { status: 'succeeded' });
        crasher = await acceptedThenGone(child);
      }
      await child.gone;
    }
    const { kill, url } = await startChild(t, SERVER, dataDir, '0');
    crasher ||= (await jsonOf(url)(`${INVOKE}?limit=1`)).body.invocations[0].id;
    t.match(await ended(url, crasher), {
      status: 'lost',
      error: { code: 'MAYFLY_INVOCATION_LOST' },
    });
    await kill();
  },
);

/** Accepts the event that ends the server. Gives its id; '' if the answer did not get out, the record is on disk though. */
async function acceptedThenGone({ url }: ChildServer): Promise<string> {
  try {
    return (await jsonOf(url)(`${INVOKE}?async=true`, event('crash'))).body.id;
  } catch {
    return '';
  }
}

t.test('the oldest records go, those that still have to run stay', async (t) => {
  const database = await Database.open(folder(t));
  t.teardown(() => database.close());
  const store = new InvocationStore(database, 10);
  const trace = (n: number): Trace => ({
    id: String(n).padStart(4, '0'),
    function: 'f',
    version: 1,
    status: 'succeeded',
    trigger: 'event',
    receivedMs: n,
    logs: [],
  });
  await store.accept({ ...trace(0), status: 'queued', attempts: 0 }, Buffer.from('1'));
  for (let n = 1; n <= 100; n++) store.end(trace(n));
  await store.close();
  for (let n = 101; n <= 102; n++) store.end(trace(n));
  await store.close();
  t.ok(store.get('0000'), 'it has not run yet');
  t.equal(store.unfinished().length, 1);
  const kept = store.list('f', 100).map(({ id }) => Number(id));
  t.same(kept.slice(0, 2), [102, 101]);
  t.ok(kept.length <= 12, `${kept.length} are kept`);
});
