/** `warmup`: functions that are called once before their template is made. */
import { join } from 'node:path';
import type { WarmUpCall } from '@mayfly/protocol';
import t from 'tap';
import { nodeAgentPath, nodeFlags, pythonAgentPath } from '../src/index.js';
import { AgentProcess, folderWith } from './agent-process.js';

type Test = Parameters<typeof folderWith>[0];

const NODE = [process.execPath, ...nodeFlags, '--no-warnings', nodeAgentPath];
const PYTHON = ['/usr/bin/python3', '-S', '-B', '-X', 'utf8', join(pythonAgentPath, 'agent.py')];

const call = (path: string, method = 'GET', body = ''): WarmUpCall => {
  const headers: [string, string][] = [['user-agent', 'mayfly-warmup']];
  return { head: { type: 'request', method, url: `http://localhost${path}`, headers }, body };
};

/** `warmup`: the path of a GET, or all calls. */
function start(
  t: Test,
  command: string[],
  name: string,
  content: string | Uint8Array,
  warmup: string | WarmUpCall[] = '/',
) {
  const folder = folderWith(t, { [name]: content });
  const calls = typeof warmup === 'string' ? [call(warmup)] : warmup;
  return new AgentProcess(t, command, {
    MAYFLY_FUNCTION: join(folder, name),
    MAYFLY_WARMUP: JSON.stringify(calls),
    PYTHONCOERCECLOCALE: '0',
  });
}

const FETCH = `let calls = 0;
mayfly.afterClone(() => { calls += 10; });
export default { async fetch(request, env, ctx) {
  console.log(request.method, request.url, request.headers.get('user-agent'), Object.keys(env).join());
  const { pathname } = new URL(request.url);
  if (pathname === '/throw') throw new TypeError('cold');
  if (pathname === '/exit') process.exit(3);
  ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 20)).then(() => { calls += 100; }));
  return new Response(new ReadableStream({ async pull(c) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    c.enqueue(Buffer.from(String(++calls)));
    c.close();
  } }), { status: pathname === '/none' ? 404 : 200 });
} };`;

const ASGI = `
import asyncio
calls = 0
async def app(scope, receive, send):
    global calls
    if scope["type"] != "http": raise NotImplementedError
    print(scope["method"], scope["path"])
    if scope["path"] == "/throw": raise TypeError("cold")
    if scope["path"] == "/exit": raise SystemExit(3)
    calls += 1
    await send({"type": "http.response.start", "status": 404 if scope["path"] == "/none" else 200, "headers": []})
    await send({"type": "http.response.body", "body": str(calls).encode(), "more_body": True})
    await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b""})
    calls += 100`;

t.test('the template has what the call left, the hooks of clones not', async (t) => {
  const node = start(t, NODE, 'f.mjs', FETCH, '/a?b=c');
  t.match((await node.receive()).head, {
    type: 'ready',
    logs: [{ text: 'GET http://localhost/a?b=c mayfly-warmup ' }],
  });
  t.equal((await node.request('/')).text, '112');
  const python = start(t, PYTHON, 'app.py', ASGI, '/a?b=c');
  t.match((await python.receive()).head, { type: 'ready', logs: [{ text: 'GET /a' }] });
  t.equal((await python.request('/')).text, '102');
});

t.test('handlers and WSGI applications', async (t) => {
  const node = start(
    t,
    NODE,
    'f.mjs',
    'let seen = []; export const handler = (event) => { seen.push(event.path ?? event); return seen; };',
    '/w',
  );
  t.match((await node.receive()).head, { type: 'ready' });
  t.same(JSON.parse((await node.event(1)).text), ['/w', 1]);
  const python = start(
    t,
    PYTHON,
    'main.py',
    `
seen = []
def app(environ, start_response):
    seen.append(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [repr(seen).encode()]`,
    '/w',
  );
  t.match((await python.receive()).head, { type: 'ready' });
  t.equal((await python.request('/x')).text, "['/w', '/x']");
});

t.test('several calls, with bodies, and an event', async (t) => {
  const calls: WarmUpCall[] = [
    call('/a'),
    call('/b', 'POST', 'text \u20ac'),
    { head: { type: 'event' }, body: '{"n":1}' },
  ];
  const node = start(
    t,
    NODE,
    'f.mjs',
    'const seen = []; export const handler = (event) => { seen.push([event.method, event.body, event.n]); return seen; };',
    calls,
  );
  t.match((await node.receive()).head, { type: 'ready' });
  t.same(JSON.parse((await node.event(1)).text), [
    ['GET', '', null],
    ['POST', 'text \u20ac', null],
    [null, null, 1],
    [null, null, null],
  ]);
  const python = start(
    t,
    PYTHON,
    'main.py',
    `
seen = []
def handler(event, context):
    seen.append([event.get("method"), event.get("body"), event.get("n")])
    return seen`,
    calls,
  );
  t.match((await python.receive()).head, { type: 'ready' });
  t.match(JSON.parse((await python.event({})).text), [
    ['GET', '', null],
    ['POST', 'text \u20ac', null],
    [null, null, 1],
    [null, null, null],
  ]);
  const failing = start(t, NODE, 'f.mjs', 'export const handler = (event) => event.a.b;', [
    { head: { type: 'event' }, body: '{}' },
  ]);
  t.match((await failing.receive()).head, {
    code: 'FUNCTION_THREW',
    message: /^the event, which is to warm the function up, failed: /,
  });
});

t.test('a WebAssembly module is fresh again', async (t) => {
  // A global is counted up; the exit code is the count: (func (export "handle") (result i32)
  //   (global.set 0 (i32.add (global.get 0) (i32.const 1))) (i32.sub (global.get 0) (i32.const 1)))
  const counting = Buffer.from(
    '0061736d010000000105016000017f030201000503010001060601' +
      '7f0141000b071302066d656d6f727902000668616e646c6500000a10010e0023004101' +
      '6a240023004101' +
      '6b0b',
    'hex',
  );
  const agent = start(t, NODE, 'm.wasm', counting);
  t.match((await agent.receive()).head, { type: 'ready' });
  t.match((await agent.request('/')).head, { type: 'response', status: 200 });
});

t.test('a call that fails ends the deployment', async (t) => {
  for (const [command, name, content] of [
    [NODE, 'f.mjs', FETCH],
    [PYTHON, 'app.py', ASGI],
  ] as const) {
    const failure = async (path: string) =>
      (await start(t, command, name, content, path).receive()).head;
    t.match(await failure('/none'), {
      type: 'error',
      code: 'FUNCTION_WARMUP',
      message: 'GET /none, which is to warm the function up, was answered with 404',
    });
    t.match(await failure('/throw'), {
      code: 'FUNCTION_THREW',
      message: /^GET \/throw, which is to warm the function up, failed: .*cold/,
      stack: new RegExp(`${name}`),
      logs: [{ text: /^GET .*\/throw/ }],
    });
    t.match(await failure('/exit'), { code: 'FUNCTION_EXITED' });
  }
});
