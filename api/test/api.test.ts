/** The HTTP API over processes: deploy, invoke, every error answer. */
import { request as httpRequest } from 'node:http';
import t from 'tap';
import type { StartOptions } from '../src/index.js';
import { folder, processServer, type Tap } from './test-server.js';

async function start(t: Tap, options: Partial<StartOptions> = {}) {
  const server = await processServer(t, options);
  const deploy = (name: string, source: string | object) => {
    const isText = typeof source === 'string';
    return fetch(`${server.url}/v1/functions/${name}`, {
      method: 'PUT',
      headers: { 'content-type': isText ? 'text/javascript' : 'application/json' },
      body: isText ? source : JSON.stringify(source),
    });
  };
  return { ...server, deploy };
}

const COUNTER = 'let n = 0; export const handler = (e) => ({ n: ++n, e });';
const TIMING =
  /^queue;dur=\d+\.\d{3}, clone;dur=\d+\.\d{3}, guest;dur=\d+\.\d{3}, total;dur=\d+\.\d{3}$/;

t.test('deploy, list, look at, invoke, remove', async (t) => {
  const { deploy, json, url, pool } = await start(t);
  const deployed = await deploy('counter', COUNTER);
  t.equal(deployed.status, 200);
  const info = await deployed.json();
  t.match(info, {
    name: 'counter',
    version: 1,
    state: 'ready',
    exports: 'handler',
    timeoutMs: 10_000,
  });
  t.notOk(Object.hasOwn(info as object, 'source'));
  t.match((await json('/v1/functions')).body, { functions: [info] });
  t.match((await json('/v1/functions/counter')).body, info as object);
  for (let i = 0; i < 2; i++) {
    const { status, body, headers } = await json('/fn/counter/a/b?c=d');
    t.equal(status, 200);
    t.match(body, { n: 1, e: { path: '/a/b', query: { c: 'd' }, method: 'GET' } });
    t.match(headers.get('server-timing'), TIMING);
  }
  t.match((await json('/healthz')).body, { status: 'ok', functions: 1, inFlight: 0 });
  t.equal((await fetch(`${url}/v1/functions/counter`, { method: 'DELETE' })).status, 204);
  t.match(await json('/fn/counter'), {
    status: 404,
    body: { code: 'MAYFLY_FUNCTION_UNKNOWN' },
  });
  t.equal((await json('/v1/functions/counter', { method: 'DELETE' })).status, 404);
  t.same(pool.templates, []);
});

t.test('request and answer go through as they are', async (t) => {
  const { deploy, url } = await start(t);
  await deploy(
    'echo',
    `export default { async fetch(request) {
    const headers = [['x-url', request.url], ['x-method', request.method],
      ['x-names', [...request.headers.keys()].join()], ['set-cookie', 'a=1'], ['set-cookie', 'b=2'],
      ['content-type', request.headers.get('content-type') ?? 'none'], ['connection', 'x-hop'], ['constructor', 'c'], ['tostring', 's'], ['server-timing', 'own;dur=1']];
    return new Response(request.method === 'GET' ? 'got' : await request.arrayBuffer(), { status: 202, headers });
  } }`,
  );
  const bytes = Buffer.from([0, 255, 10, 13, 200]);
  const response = await fetch(`${url}/fn/echo/a%2Fb//c?x=%20&y`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/x-thing', 'proxy-authorization': 'secret' },
    body: bytes,
  });
  t.equal(response.status, 202);
  t.same(Buffer.from(await response.arrayBuffer()), bytes);
  t.equal(response.headers.get('x-url'), `${url}/a%2Fb//c?x=%20&y`);
  t.equal(response.headers.get('content-type'), 'application/x-thing');
  t.same(response.headers.getSetCookie(), ['a=1', 'b=2']);
  t.equal(response.headers.get('constructor'), 'c');
  t.equal(response.headers.get('tostring'), 's');
  t.match(response.headers.get('server-timing'), /^own;dur=1, queue;dur=/);
  t.notMatch(response.headers.get('x-names'), /connection|proxy|transfer-encoding/);
  const head = await fetch(`${url}/fn/echo?q`, { method: 'HEAD' });
  t.match(head.headers.get('x-url'), /\/\?q$/);
  t.equal(await head.text(), '');
  for (const method of ['PUT', 'DELETE', 'OPTIONS', 'POST']) {
    const answer = await fetch(`${url}/fn/echo`, { method, body: 'b' });
    t.equal(await answer.text(), 'b', method);
  }
});

t.test("a hostile Host header does not reach the function's URL", async (t) => {
  const { deploy, url } = await start(t);
  await deploy('host', 'export default { fetch: (r) => new Response(r.url) }');
  const text = await new Promise((resolve, reject) => {
    const headers = { host: 'a b/@c' };
    httpRequest(`${url}/fn/host/x`, { headers }, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    })
      .on('error', reject)
      .end();
  });
  t.equal(text, 'http://localhost/x');
});

t.test('events: what came, what was logged, how long it took', async (t) => {
  const { deploy, json } = await start(t);
  await deploy('f', 'export const handler = (e) => { console.warn("w"); return e; }');
  const post = (body: string) => json('/v1/functions/f/invocations', { method: 'POST', body });
  t.match((await post('{"a":[1]}')).body, {
    result: { a: [1] },
    logs: [{ level: 'warn', text: 'w' }],
    timing: { guestMs: Number, queueMs: Number, totalMs: Number },
  });
  t.match((await post('')).body, { result: null });
  t.match(await post('{'), { status: 400, body: { code: 'MAYFLY_REQUEST_INVALID' } });
  t.match((await json('/v1/functions/f/logs')).body, { logs: [{ text: 'w' }, { text: 'w' }] });
  await deploy('g', 'export default { fetch: async (r) => new Response("<" + await r.text()) }');
  const fetched = await json('/v1/functions/g/invocations', { method: 'POST', body: '[1]' });
  t.match(fetched.body, { response: { status: 200, body: '<[1]', bodyEncoding: 'utf8' } });
});

t.test('logs: chosen, and followed', async (t) => {
  const { deploy, json, url } = await start(t);
  await deploy(
    'f',
    'console.log("loading"); export const handler = (e) => { console.log("hello", e?.query?.n); };',
  );
  for (const n of [1, 2, 3]) await fetch(`${url}/fn/f?n=${n}`);
  const texts = async (query: string) => {
    const { logs } = (await json(`/v1/functions/f/logs?${query}`)).body;
    return logs.map(({ text }: { text: string }) => text);
  };
  t.same(await texts(''), ['loading', 'hello 1', 'hello 2', 'hello 3']);
  t.same(await texts('limit=1'), ['hello 3']);
  t.same(await texts('after=2'), ['hello 2', 'hello 3']);
  t.same(await texts('since=10m'), ['loading', 'hello 1', 'hello 2', 'hello 3']);
  t.same(await texts(`since=${Date.now() + 60_000}`), []);
  t.same(await texts('since=2999-01-01T00:00:00Z'), []);
  const { logs, dropped } = (await json('/v1/functions/f/logs')).body;
  t.equal(dropped, 0);
  t.match(logs[0], { sequence: 1, version: 1, level: 'info' });
  t.same(await texts(`invocation=${logs[2].invocation}`), ['hello 2']);
  const invalid = { status: 400, body: { code: 'MAYFLY_REQUEST_INVALID' } };
  for (const query of ['limit=0', 'since=soon', 'follow=maybe', 'x=1', 'since=2026-13-45']) {
    t.match(await json(`/v1/functions/f/logs?${query}`), invalid, query);
  }
  t.match(await json('/v1/functions/none/logs?follow=true'), { status: 404 });
  const plain = await fetch(`${url}/v1/functions/f/logs`, {
    headers: { accept: 'application/x-ndjson' },
  });
  t.equal((await plain.text()).trim().split('\n').length, 4);

  const followed = await fetch(`${url}/v1/functions/f/logs?follow=true&after=4`);
  t.equal(followed.headers.get('content-type'), 'application/x-ndjson');
  const reader = followed.body!.pipeThrough(new TextDecoderStream()).getReader();
  await fetch(`${url}/fn/f?n=4`);
  t.match(JSON.parse((await reader.read()).value as string), { sequence: 5, text: 'hello 4' });
  await fetch(`${url}/v1/functions/f`, { method: 'DELETE' });
  t.match(await reader.read(), { done: true }, 'it ends when the function is removed');
});

t.test('a follower of logs does not hold the server up when it closes', async (t) => {
  const { deploy, url, close } = await start(t);
  await deploy('f', COUNTER);
  const followed = await fetch(`${url}/v1/functions/f/logs?follow=true`);
  await close();
  t.equal(await followed.text(), '');
});

t.test('bad sources are refused with the place', async (t) => {
  const { deploy, pool } = await start(t);
  const refusal = async (source: string | object) => {
    const response = await deploy('bad', source);
    return { status: response.status, error: (await response.json()) as object };
  };
  t.match(await refusal('let a = 1;\nlet b = ;'), {
    status: 400,
    error: {
      code: 'MAYFLY_SOURCE_INVALID',
      location: { line: 2, column: 9, lineText: 'let b = ;' },
    },
  });
  for (const path of ['/etc/hostname', './x.mjs', 'left-pad', '/proc/self/environ']) {
    t.match(await refusal(`import "${path}"`), {
      status: 400,
      error: { code: 'MAYFLY_SOURCE_INVALID', message: /cannot import/ },
    });
  }
  t.match(await refusal('  '), { status: 400, error: { code: 'MAYFLY_SOURCE_INVALID' } });
  const network = { allow: ['example.com:443', '127.0.0.1:80'] };
  t.match(await refusal({ source: COUNTER, network }), {
    status: 400,
    error: { code: 'MAYFLY_NETWORK_RULE', message: /host\.mayfly/ },
  });
  t.match(await refusal('export const a = 1'), {
    status: 400,
    error: { code: 'FUNCTION_NO_EXPORT' },
  });
  t.match(await refusal('throw new Error("x")'), {
    status: 400,
    error: { code: 'FUNCTION_THREW', message: 'x', stack: /Error: x/ },
  });
  const invalid = { status: 400, error: { code: 'MAYFLY_REQUEST_INVALID' } };
  t.match(await refusal({ source: COUNTER, extra: 1 }), invalid);
  t.match(await refusal({ source: 1 }), invalid);
  t.match(await refusal({ source: COUNTER, memoryBytes: 1 }), invalid);
  t.match(await refusal({ source: COUNTER, timeoutMs: 0.5 }), invalid);
  t.match(await refusal({ source: COUNTER, env: { 'A B': '1' } }), invalid);
  t.match(await refusal({ source: COUNTER, env: { MAYFLY_FUNCTION: '1' } }), invalid);
  t.match(await refusal([]), invalid);
  t.match(await refusal({}), invalid);
  t.match(await refusal({ source: COUNTER, files: { 'index.js': COUNTER } }), invalid);
  for (const path of ['/etc/passwd', '../x', 'a/../../x', 'a//b', './a', 'a\0b', '']) {
    const files = { [path]: COUNTER };
    t.match(await refusal({ files }), { status: 400 }, path);
  }
  for (const name of ['A', '-a', 'a_b', 'a'.repeat(64), '..%2f']) {
    t.match(await (await deploy(name, COUNTER)).json(), { code: 'MAYFLY_FUNCTION_NAME' }, name);
  }
  t.same(pool.templates, []);
});

t.test('failures of a function: status, code, and no stack for strangers', async (t) => {
  const { deploy, json } = await start(t);
  await deploy('fails', {
    timeoutMs: 300,
    env: { COLOR: 'red' },
    source: `export async function handler(e) {
      const how = e.path ? e.path.slice(1) : e;
      if (how === 'throw') throw new Error('boom ' + process.env.COLOR);
      if (how === 'exit') process.exit(1);
      if (how === 'die') { process.kill(process.pid, 'SIGKILL'); for (;;); }
      if (how === 'spin') for (;;);
      return { statusCode: 200, headers: { 'x': 'a\\r\\nb' } };
    }`,
  });
  const failure = async (how: string) => {
    const { status, body, headers } = await json(`/fn/fails/${how}`);
    t.match(headers.get('server-timing'), TIMING, how);
    t.same(Object.keys(body).sort(), ['code', 'hint', 'message']);
    return `${status} ${body.code}`;
  };
  t.equal(await failure('throw'), '502 FUNCTION_THREW');
  t.equal(await failure('exit'), '502 FUNCTION_EXITED');
  t.equal(await failure('die'), '502 MAYFLY_GUEST_EXITED');
  t.equal(await failure('spin'), '504 MAYFLY_GUEST_TIMEOUT');
  t.equal(await failure('header'), '502 MAYFLY_GUEST_ANSWER');
  const report = await json('/v1/functions/fails/invocations', { method: 'POST', body: '"throw"' });
  t.match(report.body, { message: 'boom red', stack: /boom/, logs: [] });
  const { logs } = (await json('/v1/functions/fails/logs')).body;
  const ends = logs.map(({ level, text }: { level: string; text: string }) => `${level} ${text}`);
  t.match(ends[0], /^error FUNCTION_THREW: boom red\nError: boom red\n {4}at .*fails\.js:3:/);
  t.match(ends[3], /^error MAYFLY_GUEST_TIMEOUT: /);
});

t.test('every refusal has the error shape and its time', async (t) => {
  const { deploy, json } = await start(t, { bodyBytesMax: 1000 });
  await deploy('f', COUNTER);
  const refusal = async (path: string, init?: RequestInit) => {
    const { status, body, headers } = await json(path, init);
    t.match(headers.get('server-timing'), TIMING, path);
    return `${status} ${body.code}`;
  };
  t.equal(await refusal('/fn/none/x'), '404 MAYFLY_FUNCTION_UNKNOWN');
  t.equal(await refusal('/nothing'), '404 MAYFLY_ROUTE_UNKNOWN');
  t.equal(await refusal('/fn/f/%zz'), '400 MAYFLY_REQUEST_INVALID');
  const body = 'x'.repeat(1001);
  t.equal(await refusal('/fn/f', { method: 'POST', body }), '413 MAYFLY_BODY_TOO_LARGE');
});

t.test('more invocations than admitted are told to come back', async (t) => {
  const { deploy, url } = await start(t, { limits: { inFlightMax: 2 } });
  await deploy('slow', 'export const handler = () => new Promise((r) => setTimeout(r, 300));');
  const answers = await Promise.all([1, 2, 3, 4].map(() => fetch(`${url}/fn/slow`)));
  t.same(answers.map((answer) => answer.status).sort(), [204, 204, 429, 429]);
  const refused = answers.find((answer) => answer.status === 429);
  t.equal(refused?.headers.get('retry-after'), '1');
  t.match(await refused?.json(), { code: 'MAYFLY_OVERLOADED' });
});

t.test('a function runs, and lets wait, as many invocations as it was deployed for', async (t) => {
  const { deploy, url, pool } = await start(t);
  const source = 'export const handler = () => new Promise((r) => setTimeout(r, 300));';
  await deploy('slow', { source, maxClones: 1, queueMax: 1 });
  const answers = await Promise.all([1, 2, 3, 4].map(() => fetch(`${url}/fn/slow`)));
  t.same(answers.map((answer) => answer.status).sort(), [204, 204, 429, 429]);
  t.equal(pool.runningMost, 1);
  await deploy('late', { source, maxClones: 1, timeoutMs: 450 });
  const [, late] = await Promise.all([1, 2].map(() => fetch(`${url}/fn/late`)));
  t.equal(late?.status, 504);
});

t.test('a client that goes away stops its invocation', async (t) => {
  const { deploy, url, pool, json } = await start(t);
  await deploy('spin', 'export const handler = () => { for (;;); };');
  const gone = fetch(`${url}/fn/spin`, { signal: AbortSignal.timeout(800) });
  await t.rejects(gone);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.equal(pool.invocations, 1);
  t.equal(pool.running, 0);
  t.match((await json('/healthz')).body, { inFlight: 0 });
});

t.test('a new version takes over when it is ready, and only then', async (t) => {
  const { deploy, url, pool } = await start(t);
  const text = async () => (await fetch(`${url}/fn/f`)).text();
  const version = (text: string, ms: number) =>
    `export const handler = async () => { await new Promise((r) => setTimeout(r, ${ms})); return ${text}; }`;
  await deploy('f', version('1', 800));
  const old = text();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.match(await (await deploy('f', version('2', 0))).json(), { version: 2 });
  t.equal(await text(), '2');
  t.equal(await old, '1');
  t.equal((await deploy('f', 'throw 1')).status, 400);
  t.equal(await text(), '2');
  t.equal(pool.templates.length, 2);
});

t.test('functions survive a restart and come back on first use', async (t) => {
  const dataDir = folder(t);
  const first = await start(t, { dataDir });
  const body = COUNTER;
  await fetch(`${first.url}/v1/functions/kept`, { method: 'PUT', body });
  await first.close();
  const { json, pool } = await start(t, { dataDir });
  t.match((await json('/v1/functions')).body.functions, [
    { name: 'kept', version: 1, state: 'stored' },
  ]);
  const answers = await Promise.all([json('/fn/kept'), json('/fn/kept'), json('/fn/kept')]);
  for (const { body } of answers) t.match(body, { n: 1 });
  t.equal(pool.templates.length, 1);
  t.match((await json('/v1/functions/kept')).body, { state: 'ready' });
});
