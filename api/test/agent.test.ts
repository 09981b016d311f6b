/** The agent, spoken to in frames: no HTTP here. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '@mayfly/guest-agent';
import t from 'tap';
import { bundleSource } from '../src/source.js';
import { FileLayers, ProcessPool } from './process-pool.js';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-agent-'));
const layers = new FileLayers(dir);
const pool = new ProcessPool();
t.teardown(async () => {
  await pool.close();
  rmSync(dir, { recursive: true });
});

const ENTROPY = Buffer.alloc(32, 7).toString('base64');
const COMMON = {
  id: 'i',
  deadlineMs: Date.now() + 60_000,
  generation: 'g',
  entropy: ENTROPY,
  now: 0,
};
let templates = 0;

async function deploy(source: string, bundled = true) {
  const module = bundled ? await bundleSource(source, 'f.js') : source;
  const file = { bytes: Buffer.from(module), executable: false };
  const name = `f${templates++}`;
  const { readyHead } = await pool.deploy({
    name,
    images: ['/', await layers.files(new Map([['index.mjs', file]]))],
    argv: [process.execPath, ...nodeFlags, '/mayfly/agent-node.cjs'],
    env: { COLOR: 'blue', MAYFLY_FUNCTION: '/function/index.mjs' },
    memoryBytes: 0,
    bootTimeoutMs: 20_000,
  });
  return { name, ready: readyHead as Record<string, unknown> };
}

type Answer = {
  type: string;
  status?: number;
  code?: string;
  message?: string;
  [field: string]: unknown;
};

async function invoke(
  name: string,
  head: object,
  body: string | Uint8Array = '',
  timeoutMs = 10_000,
  onLogs?: (lines: unknown) => void,
) {
  const frame = { head: { ...COMMON, ...head }, body: Buffer.from(body) };
  const result = await pool.invoke(name, frame, {
    place: { worker: 0, clone: 0 },
    timeoutMs,
    onLogs,
  });
  const pieces = result.body instanceof Uint8Array ? [result.body] : result.body;
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  const bytes = Buffer.concat(all);
  return { head: result.head as Answer, text: bytes.toString(), body: bytes };
}

const request = (method = 'GET', url = 'http://h/', headers: [string, string][] = []) => ({
  type: 'request',
  method,
  url,
  headers,
});

async function result(source: string, event: unknown = null): Promise<unknown> {
  const { name, ready } = await deploy(source);
  if (ready.type !== 'ready') return ready;
  const { head, text } = await invoke(name, { type: 'event' }, JSON.stringify(event));
  if (head.type !== 'result') return head;
  return text === '' ? undefined : JSON.parse(text);
}

t.test('a fetch function gets the Request and its Response comes back', async (t) => {
  const { name, ready } = await deploy(`
    export default { async fetch(request, env, context) {
      const body = new Uint8Array(await request.arrayBuffer());
      console.log('got', body.length);
      return new Response(body.reverse(), { status: 201, headers: [
        ['x-method', request.method], ['x-url', request.url], ['x-id', context.id],
        ['x-in', request.headers.get('x-in')], ['set-cookie', 'a=1'], ['set-cookie', 'b=2']] });
    } }`);
  t.match(ready, { type: 'ready', exports: 'fetch', version: process.version, logs: [] });
  const head = request('POST', 'http://h:1/a%20b?c=d', [['x-in', 'é']]);
  const answer = await invoke(name, head, Buffer.from([1, 2, 255]));
  t.same([...answer.body], [255, 2, 1]);
  t.match(answer.head, { type: 'response', status: 201 });
  t.match(answer.head.logs, [{ level: 'info', text: 'got 3' }]);
  t.same(answer.head.headers, [
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['x-id', 'i'],
    ['x-in', 'é'],
    ['x-method', 'POST'],
    ['x-url', 'http://h:1/a%20b?c=d'],
  ]);
});

t.test('streams, json and empty responses are read to their end', async (t) => {
  const { name } = await deploy(`
    export default { fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === '/json') return Response.json({ a: 1 });
      if (pathname === '/empty') return new Response(null, { status: 204 });
      if (pathname === '/error') return Response.error();
      return new Response(new ReadableStream({ async start(c) {
        for (const part of ['a', 'b', 'c']) {
          await new Promise((r) => setTimeout(r, 2));
          c.enqueue(new TextEncoder().encode(part));
        }
        c.close();
      } }));
    } }`);
  t.equal((await invoke(name, request())).text, 'abc');
  t.equal((await invoke(name, request('GET', 'http://h/json'))).text, '{"a":1}');
  t.match((await invoke(name, request('GET', 'http://h/empty'))).head, { status: 204 });
  t.match((await invoke(name, request('GET', 'http://h/error'))).head, {
    code: 'FUNCTION_BAD_RESULT',
  });
});

t.test('Response is still what the web says', async (t) => {
  const { name } = await deploy(`
    class Mine extends Response {}
    export default { async fetch(request) {
      const { pathname } = new URL(request.url);
      const response = new Response('text');
      if (pathname === '/read') return (await response.text(), response);
      if (pathname === '/null') return new Response('x', { status: 204 });
      if (pathname === '/clone') return response.clone();
      if (pathname === '/mine') return new Mine('mine', { headers: { 'x-mine': '1' } });
      if (pathname === '/pipe') return new Response(response.body.pipeThrough(new TransformStream()));
      if (pathname === '/json') return Response.json({ a: 1 }, { status: 201, headers: { 'content-type': 'x/y' } });
      if (pathname === '/nojson') return Response.json(undefined);
      return Response.json([response instanceof Response, response.constructor === Response, Response.name,
        Response.error() instanceof Response, new Mine() instanceof Response, Response.length,
        Object.prototype.toString.call(response), await response.text(), response.bodyUsed]);
    } }`);
  const get = (path: string) => invoke(name, request('GET', `http://h/${path}`));
  t.equal(
    (await get('')).text,
    '[true,true,"Response",true,true,0,"[object Response]","text",true]',
  );
  t.match(await get('read'), { head: { code: 'FUNCTION_BAD_RESULT', message: /already/ } });
  t.match(await get('null'), { head: { code: 'FUNCTION_THREW' } });
  t.equal((await get('clone')).text, 'text');
  t.match(await get('mine'), {
    text: 'mine',
    head: {
      headers: [
        ['content-type', /text/],
        ['x-mine', '1'],
      ],
    },
  });
  t.equal((await get('pipe')).text, 'text');
  t.match(await get('json'), {
    text: '{"a":1}',
    head: { status: 201, headers: [['content-type', 'x/y']] },
  });
  t.match(await get('nojson'), { head: { code: 'FUNCTION_THREW' } });
});

t.test('a handler gets the HTTP event', async (t) => {
  const { name, ready } = await deploy('export function handler(event) { return event; }');
  t.equal(ready.exports, 'handler');
  const head = request('PUT', 'http://h/a/b?x=1&y=%20', [
    ['a', '1'],
    ['a', '2'],
    ['constructor', '3'],
  ]);
  const { text, head: answer } = await invoke(name, head, 'hällo');
  t.match(answer, { status: 200, headers: [['content-type', 'application/json']] });
  t.same(JSON.parse(text), {
    method: 'PUT',
    path: '/a/b',
    query: { x: '1', y: ' ' },
    headers: { a: '1, 2', constructor: '3' },
    body: 'hällo',
    isBase64Encoded: false,
  });
  const binary = await invoke(name, request('PUT'), Buffer.from([255, 0]));
  t.match(JSON.parse(binary.text), { body: '/wA=', isBase64Encoded: true });
});

t.test('what a handler returns becomes the HTTP answer', async (t) => {
  const answer = async (expression: string) => {
    const { name } = await deploy(`export const handler = async () => (${expression});`);
    return invoke(name, request());
  };
  t.match(await answer(`{ statusCode: 404, headers: { a: ['1', 2] }, body: 'no' }`), {
    head: {
      status: 404,
      headers: [
        ['a', '1'],
        ['a', '2'],
      ],
    },
    text: 'no',
  });
  t.match(await answer(`{ statusCode: 200, body: '/wA=', isBase64Encoded: true }`), {
    text: /\0$/,
  });
  t.match(await answer('{ statusCode: 200, body: new Uint8Array([104]) }'), { text: 'h' });
  t.match(await answer('[1]'), { text: '[1]', head: { status: 200 } });
  t.match(await answer('null'), { text: 'null', head: { status: 200 } });
  t.match(await answer('undefined'), { text: '', head: { status: 204 } });
  t.match(await answer('{ statusCode: 99 }'), { head: { code: 'FUNCTION_BAD_RESULT' } });
  t.match(await answer('{ statusCode: 200, body: {} }'), { head: { code: 'FUNCTION_BAD_RESULT' } });
  t.match(await answer('1n'), { head: { code: 'FUNCTION_BAD_RESULT' } });
});

t.test('events: JSON in, JSON out', async (t) => {
  t.same(await result('export const handler = (e) => ({ got: e })', { a: [1] }), {
    got: { a: [1] },
  });
  t.equal(await result('export const handler = () => {}'), undefined);
  t.equal(await result('exports.handler = async () => require("node:os").EOL'), '\n');
  const { name } = await deploy(
    'export default { fetch: async (r) => new Response(r.method + await r.text()) }',
  );
  t.match(await invoke(name, { type: 'event' }, '[2]'), { head: { status: 200 }, text: 'POST[2]' });
});

t.test('every clone starts where the template was', async (t) => {
  const { name } = await deploy('let n = 0; export const handler = () => ++n;');
  for (let i = 0; i < 3; i++) t.equal((await invoke(name, request())).text, '1');
});

t.test('AbortSignal.timeout() is waited for', async (t) => {
  const head = await result(`export async function handler() {
    await new Promise((_, reject) => {
      const signal = AbortSignal.timeout(20);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  }`);
  t.match(head, { code: 'FUNCTION_THREW', message: /aborted due to timeout/ });
});

t.test('every way to fail has its code', async (t) => {
  const code = async (body: string) => {
    const head = (await result(`export async function handler() { ${body} }`)) as Answer;
    return `${head.code}: ${head.message}`;
  };
  t.equal(await code('throw new TypeError("boom")'), 'FUNCTION_THREW: boom');
  t.equal(await code('throw null'), 'FUNCTION_THREW: null');
  t.equal(
    await code('throw { get message() { throw 1 }, toString() { throw 2 } }'),
    'FUNCTION_THREW: the thrown value cannot be described',
  );
  t.equal(
    await code('setTimeout(() => { throw new Error("late") }, 5); await new Promise(() => {})'),
    'FUNCTION_UNCAUGHT: late',
  );
  t.equal(
    await code('Promise.reject(new Error("loose")); await new Promise((r) => setTimeout(r, 50))'),
    'FUNCTION_REJECTED: loose',
  );
  t.match(await code('await new Promise(() => {})'), /^FUNCTION_STALLED/);
  t.equal(await code('process.exit(3)'), 'FUNCTION_EXITED: the function called process.exit(3)');
  t.match(
    await code('Promise.reject(3); await new Promise(() => {})'),
    /^FUNCTION_REJECTED: .*reason "3"/,
  );
});

t.test('a stack names the line, and the log lines come along', async (t) => {
  const head = (await result(
    'export function handler() {\n  console.error("here");\n  throw new Error("x");\n}',
  )) as Answer;
  t.match(head.stack, /Error: x\n {4}at handler/);
  t.match(head.logs, [{ level: 'error', text: 'here' }]);
});

t.test('failures while loading arrive instead of ready', async (t) => {
  const failure = async (source: string) => (await deploy(source, false)).ready;
  t.match(await failure('let a = ;'), { type: 'error', code: 'FUNCTION_SYNTAX' });
  t.match(await failure('export const x = 1, y = 2;'), {
    code: 'FUNCTION_NO_EXPORT',
    message: /exports x, y/,
  });
  t.match(await failure('console.log("l"); throw new Error("at load")'), {
    code: 'FUNCTION_THREW',
    message: 'at load',
    logs: [{ text: 'l' }],
  });
  t.match(await failure('throw new SyntaxError("mine")'), {
    code: 'FUNCTION_THREW',
    message: 'mine',
  });
  t.match(await failure('process.exit(0)'), { code: 'FUNCTION_EXITED' });
  t.match(await failure('await new Promise(() => {})'), { code: 'FUNCTION_STALLED' });
  t.match(await failure('import "./missing.mjs"'), { code: 'FUNCTION_THREW', message: /missing/ });
});

t.test('the console is bounded', async (t) => {
  const { name } = await deploy(`export function handler() {
    for (let i = 0; i < 70_000; i++) console.log('line %d', i);
    console.log('x'.repeat(1e6)); console.table([{ a: 1 }]); }`);
  let early = 0;
  const count = (lines: unknown) => {
    early += (lines as unknown[]).length;
  };
  const { head } = await invoke(name, { type: 'event' }, 'null', 10_000, count);
  const logs = head.logs as { text: string }[];
  // 256 frames of 256 lines go ahead, as many lines stay for the answer. The table is several lines.
  t.equal(early, 65_536);
  t.equal(logs.length, 257);
  t.equal(logs[0]?.text, 'line 65536');
  t.match(logs.at(-1)?.text, /^42\d\d more lines were dropped$/);
  const long = await deploy(
    `export function handler() { for (;;) { console.log('\\u0001'.repeat(1e6)); if (++globalThis.n > 100) return; } }; globalThis.n = 0`,
  );
  const answer = await invoke(long.name, { type: 'event' }, 'null');
  t.equal(answer.head.type, 'result');
  t.ok(JSON.stringify(answer.head).length < 300_000);
});

t.test('clones with different entropy differ, also where Node caches', async (t) => {
  const { name } = await deploy(`
    import { randomUUID, randomInt } from 'node:crypto';
    const early = Math.random;
    const warm = [randomUUID(), crypto.randomUUID(), randomInt(1000), Math.random()];
    let hooked = [];
    mayfly.afterClone(async ({ generation }) => { hooked.push(generation, Math.random()) });
    export const handler = async () => ({
      math: [Math.random(), early(), ...hooked.slice(1)], generation: hooked[0],
      uuid: [randomUUID(), crypto.randomUUID()], int: randomInt(2 ** 40), small: randomInt(3, 5),
      later: await new Promise((r) => randomInt(2 ** 40, (e, n) => r(n))), pid: process.pid, gc: typeof gc,
      refused: (() => { try { randomInt('x') } catch (e) { return e.code } })() });`);
  const run = async (entropy: string, generation: string) => {
    const { text } = await invoke(name, { type: 'event', entropy, generation }, 'null');
    return JSON.parse(text);
  };
  const other = Buffer.alloc(32, 9).toString('base64');
  const [a, b, c] = [await run(ENTROPY, 'g1'), await run(ENTROPY, 'g2'), await run(other, 'g3')];
  t.same(a.math, b.math, 'Math.random follows the entropy');
  t.notSame(a.math, c.math);
  t.equal(new Set(a.math).size, 3);
  t.ok(a.math.every((x: number) => x >= 0 && x < 1));
  t.notSame(a.uuid, b.uuid);
  t.not(a.int, b.int);
  t.not(a.later, b.later);
  t.ok(a.small === 3 || a.small === 4);
  t.equal(a.refused, 'ERR_INVALID_ARG_TYPE');
  t.equal(a.generation, 'g1');
  t.not(a.pid, b.pid);
  t.equal(a.gc, 'undefined');
});

t.test("the environment is the spec, without what is the agent's own", async (t) => {
  const env = await result('export const handler = () => ({ ...process.env })');
  t.same(env, { COLOR: 'blue' });
});

t.test('a function that spins is stopped', async (t) => {
  const { name } = await deploy('export function handler() { for (;;); }');
  await t.rejects(invoke(name, request(), '', 200), { code: 'MAYFLY_GUEST_TIMEOUT' });
});

t.test('a program that dies is told apart', async (t) => {
  const { name } = await deploy(
    'export function handler() { process.kill(process.pid, "SIGKILL"); for (;;); }',
  );
  await t.rejects(invoke(name, request()), { code: 'MAYFLY_GUEST_EXITED' });
});
