/** How the server says how it is, and how it ends. */
import { connect } from 'node:net';
import { MayflyError } from '@mayfly/protocol';
import t from 'tap';
import { type Behave, echo, MemoryPool } from './memory-pool.js';
import { folder, type Tap, testServer } from './test-server.js';

async function start(t: Tap, drainMs?: number) {
  const pool = new MemoryPool();
  const server = await testServer(t, { pool, ...(drainMs !== undefined && { drainMs }) });
  await fetch(`${server.url}/v1/functions/f`, { method: 'PUT', body: 'x' });
  return { ...server, pool };
}

t.test('counts, latencies and pages, for people and for Prometheus', async (t) => {
  const { url, pool } = await start(t);
  const network = { connections: 2, failed: 1, denied: 3, bytesSent: 10, bytesReceived: 20 };
  pool.behave = async (...asked) => ({ ...(await echo(...asked)), network });
  for (let n = 0; n < 3; n++) await (await fetch(`${url}/fn/f`)).text();
  const failures: Behave[] = [
    async () => {
      const stats = { queueMicros: 1, guestMicros: 20, cpuMicros: 1, rewoundPages: 7, faults: 5 };
      const failure = new MayflyError('MAYFLY_GUEST_PANIC', 'of a test');
      throw Object.assign(failure, { stats: { ...stats, network } });
    },
    async () => ({
      head: { type: 'error', code: 'FUNCTION_THREW', message: '', stack: '', logs: [] },
      network,
    }),
    async () => ({ head: { type: 'nonsense' }, network }),
  ];
  for (const failure of failures) {
    pool.behave = failure;
    const answer = await fetch(`${url}/fn/f`);
    t.equal(answer.status, 502);
    t.match(answer.headers.get('server-timing'), /guest;dur=0\.020/);
    const id = answer.headers.get('mayfly-invocation');
    const record = (await (await fetch(`${url}/v1/invocations/${id}`)).json()) as object;
    t.match(record, { status: 'failed', faults: 5, rewoundPages: 7, network });
  }
  pool.behave = async () => {
    throw new MayflyError('MAYFLY_WORKER_GONE', 'of a test');
  };
  await (await fetch(`${url}/fn/f`)).text();
  const stats = (await (await fetch(`${url}/v1/functions/f/stats`)).json()) as object;
  t.match(stats, {
    name: 'f',
    version: 1,
    invocations: 7,
    errors: 4,
    rewoundPages: 42,
    faults: 30,
    running: 0,
  });
  t.match(await (await fetch(`${url}/v1/stats`)).json(), { functions: [{ name: 'f' }] });
  const answer = await fetch(`${url}/metrics`);
  t.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  for (const line of [
    /^mayfly_invocations_total\{function="f"\} 7$/m,
    /^mayfly_errors_total\{function="f"\} 4$/m,
    /^mayfly_cold_starts_total\{function="f"\} 0$/m,
    /^mayfly_invocation_seconds_count\{function="f"\} 7$/m,
    /^mayfly_queue_seconds_bucket\{le="0.0001",function="f"\} 7$/m,
    /^mayfly_guest_seconds_sum\{function="f"\} 0\.0001[12]/m,
    /^mayfly_faults_total\{function="f"\} 30$/m,
    /^mayfly_dirty_pages_sum\{function="f"\} 42$/m,
    /^mayfly_network_connections_total\{function="f"\} 12$/m,
    /^mayfly_network_failed_total\{function="f"\} 6$/m,
    /^mayfly_network_denied_total\{function="f"\} 18$/m,
    /^mayfly_network_sent_bytes_total\{function="f"\} 60$/m,
    /^mayfly_network_received_bytes_total\{function="f"\} 120$/m,
    /^mayfly_clone_seconds_count\{function="f"\} 7$/m,
    /^mayfly_running\{function="f"\} 0$/m,
    /^mayfly_queued\{function="f"\} 0$/m,
    /^mayfly_in_flight 0$/m,
    /^mayfly_later_waiting 0$/m,
    /^mayfly_records_dropped_total 0$/m,
    /^mayfly_log_lines_dropped_total\{function="f"\} 0$/m,
    /^mayfly_rewind_seconds_count\{function="f"\} 5$/m,
    /^mayfly_clones\{function="f"\} \d+$/m,
    /^mayfly_functions 1$/m,
    /^process_resident_memory_bytes \d+$/m,
  ]) {
    t.match(text, line);
  }
  await fetch(`${url}/v1/functions/f`, { method: 'DELETE' });
  t.notMatch(await (await fetch(`${url}/metrics`)).text(), /function="f"/);
  t.equal((await fetch(`${url}/v1/functions/f/stats`)).status, 404);
});

t.test('a function that is removed while it runs leaves no labels', async (t) => {
  const { url, pool } = await start(t);
  let finish = () => {};
  const wait = new Promise<void>((resolve) => {
    finish = resolve;
  });
  pool.behave = async (...asked) => {
    await wait;
    return echo(...asked);
  };
  const metrics = async () => (await fetch(`${url}/metrics`)).text();
  const answer = fetch(`${url}/fn/f`);
  await until(() => fetch(`${url}/healthz`), { inFlight: 1 });
  t.match(await metrics(), /^mayfly_in_flight 1$/m);
  t.match(await metrics(), /^mayfly_running\{function="f"\} 1$/m);
  await fetch(`${url}/v1/functions/f`, { method: 'DELETE' });
  finish();
  t.equal((await answer).status, 200);
  await until(() => fetch(`${url}/healthz`), { inFlight: 0 });
  t.notMatch(await metrics(), /function="f"/);
});

t.test('a server that closes says so, answers what it has, and refuses what comes', async (t) => {
  const { url, pool, close } = await start(t);
  const ready = async () => {
    const answer = await fetch(`${url}/readyz`);
    return `${answer.status} ${await answer.text()}`;
  };
  t.equal(await ready(), '200 {"status":"ready"}');
  let finish = () => {};
  const wait = new Promise<void>((resolve) => {
    finish = resolve;
  });
  pool.behave = async (head, body, options, spec) => {
    await wait;
    return echo(head, body, options, spec);
  };
  const underWay = fetch(`${url}/fn/f/slow`);
  const accepted = await fetch(`${url}/v1/functions/f/invocations?async=true`, {
    method: 'POST',
    body: '1',
  });
  t.equal(accepted.status, 202);
  let isClosed = false;
  const closing = close().then(() => {
    isClosed = true;
  });
  t.equal(await ready(), '503 {"status":"draining"}');
  t.equal((await fetch(`${url}/healthz`)).status, 200);
  t.equal((await fetch(`${url}/v1/functions/f`)).status, 200, 'it still serves');
  const refused = await fetch(`${url}/fn/f`);
  t.equal(refused.status, 503);
  t.match(await refused.json(), { code: 'MAYFLY_SERVER_CLOSING' });
  t.ok(refused.headers.get('retry-after'));
  t.notOk(isClosed);
  finish();
  const answer = await underWay;
  t.equal(answer.status, 200);
  t.match(await answer.text(), /GET .*\/slow/);
  await closing;
  await t.rejects(fetch(`${url}/healthz`));
});

t.test(
  'an event that the end of the server cuts off runs after the next start, however often',
  async (t) => {
    const dataDir = folder(t);
    const life = (behave: Behave) =>
      testServer(t, { dataDir, pool: new MemoryPool(behave), drainMs: 20 });
    let begun = 0;
    const never: Behave = () => {
      begun++;
      return new Promise(() => {});
    };
    let id = '';
    for (let lives = 1; lives <= 5; lives++) {
      const { url, close } = await life(never);
      if (lives === 1) {
        await fetch(`${url}/v1/functions/f`, { method: 'PUT', body: 'x' });
        const events = `${url}/v1/functions/f/invocations?async=true`;
        const accepted = await fetch(events, { method: 'POST', body: '7' });
        id = ((await accepted.json()) as { id: string }).id;
      }
      const record = () => fetch(`${url}/v1/invocations/${id}`);
      await until(record, { status: 'running' });
      await until(async () => Response.json({ begun }), { begun: lives });
      await close();
    }
    const { url } = await life(echo);
    await until(() => fetch(`${url}/v1/invocations/${id}`), { status: 'succeeded', result: 7 });
  },
);

t.test('what is not over when its time is, ends with the server', async (t) => {
  const { url, pool, close } = await start(t, 100);
  pool.behave = () => new Promise(() => {});
  const underWay = fetch(`${url}/fn/f/slow`);
  await until(() => fetch(`${url}/healthz`), { inFlight: 1 });
  await close();
  const answer = await underWay;
  t.equal(answer.status, 503);
  t.match(await answer.json(), { code: 'MAYFLY_SERVER_CLOSING' });
});

t.test(
  'what comes on an open connection while the server closes is told to come back',
  async (t) => {
    const { url, pool, close } = await start(t);
    let closing: Promise<void> | undefined;
    pool.behave = async (head, body, options, spec) => {
      closing ??= close();
      await new Promise((resolve) => setTimeout(resolve, 100));
      return echo(head, body, options, spec);
    };
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.write('GET /fn/f HTTP/1.1\r\nhost: h\r\n\r\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.write('GET /fn/f HTTP/1.1\r\nhost: h\r\n\r\n');
    await new Promise((resolve) => socket.on('close', resolve));
    t.match(text, /^HTTP\/1\.1 200 OK/);
    t.notMatch(text.slice(20), /HTTP\/1\.1 200/);
    await closing;
  },
);

async function until(ask: () => Promise<Response>, what: object): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const seen = (await (await ask()).json()) as object;
    if (Object.entries(what).every(([key, value]) => seen[key as never] === value)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`it is never ${JSON.stringify(what)}`);
}
