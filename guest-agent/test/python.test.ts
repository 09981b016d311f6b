/** The agent for Python, spoken to in frames. */
import { join } from 'node:path';
import t from 'tap';
import { pythonAgentPath } from '../src/index.js';
import { AgentProcess, COMMON, folderWith } from './agent-process.js';

type Test = Parameters<typeof folderWith>[0];

/** Starts the agent on these files; `entry` as in mayfly.json. */
function start(t: Test, files: Record<string, string> | string, entry = 'main.py'): AgentProcess {
  const folder = folderWith(t, typeof files === 'string' ? { 'main.py': files } : files);
  const command = ['/usr/bin/python3', '-S', '-B', '-X', 'utf8', join(pythonAgentPath, 'agent.py')];
  return new AgentProcess(t, command, {
    MAYFLY_FUNCTION: join(folder, entry),
    PYTHONCOERCECLOCALE: '0',
    COLOR: 'blue',
  });
}

async function ready(t: Test, files: Record<string, string> | string, entry?: string) {
  const agent = start(t, files, entry);
  const { head } = await agent.receive();
  if (head.type !== 'ready') throw new Error(JSON.stringify(head));
  return { agent, head };
}

t.test('a handler gets events, and its value comes back as JSON', async (t) => {
  const { agent, head } = await ready(
    t,
    'import os\nprint("loading")\ndef handler(event, context):\n' +
      '    print("got", event["n"])\n' +
      '    return {"n": event["n"] + 1, "id": context.id, "left": context.remaining_ms() > 0, "env": dict(os.environ)}',
  );
  t.match(head, { exports: 'handler', version: /^Python 3\./, logs: [{ text: 'loading' }] });
  const { head: answer, text } = await agent.event({ n: 1 });
  t.match(answer, { type: 'result', logs: [{ level: 'info', text: 'got 1' }] });
  t.same(JSON.parse(text), { n: 2, id: 'i', left: true, env: { COLOR: 'blue' } });
  const env = { COLOR: 'red', TOKEN: 'é' };
  t.same(JSON.parse((await agent.event({ n: 1 }, { env })).text).env, env);
});

t.test('a handler gets requests, and answers with a status or with a value', async (t) => {
  const { agent } = await ready(
    t,
    `
async def handler(event, context):
    if event["path"] == "/none": return None
    if event["path"] == "/value": return [1, "é"]
    if event["path"] == "/bytes": return {"statusCode": 200, "body": b"\\xff"}
    return {"statusCode": 201, "headers": {"x-a": ["1", "2"]}, "body": repr(sorted(event.items()))}`,
  );
  const post = {
    method: 'POST',
    headers: [['b', '1'] as [string, string], ['b', '2'] as [string, string]],
    body: 'é',
  };
  const { head, text } = await agent.request('/a%20b?c=d&e=', post);
  t.match(head, {
    type: 'response',
    status: 201,
    headers: [
      ['x-a', '1'],
      ['x-a', '2'],
    ],
  });
  t.equal(
    text,
    "[('body', 'é'), ('headers', {'b': '1, 2'}), ('isBase64Encoded', False), ('method', 'POST'), " +
      "('path', '/a%20b'), ('query', {'c': 'd', 'e': ''})]",
  );
  t.match((await agent.request('/', { body: Buffer.from([255]) })).text, "'/w=='");
  t.match((await agent.request('/none')).head, { status: 204 });
  const value = await agent.request('/value');
  t.same([value.text, value.head.headers], ['[1,"é"]', [['content-type', 'application/json']]]);
  t.same([...(await agent.request('/bytes')).body], [255]);
});

const WSGI = `
def application(environ, start_response):
    if environ["PATH_INFO"] == "/silent": return []
    if environ["PATH_INFO"] == "/text": start_response("200 OK", []); return ["text"]
    body = environ["wsgi.input"].read()
    write = start_response("200 OK", [("X-Seen", environ["HTTP_X_A"]), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    write(b"first ")
    print("logged", file=environ["wsgi.errors"])
    def parts():
        yield body
        yield repr([environ[k] for k in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "SERVER_NAME", "SERVER_PORT")]).encode()
    return parts()`;

t.test('what an invocation uses is imported before', async (t) => {
  const { agent } = await ready(
    t,
    `
import datetime, gzip, socket, sys
from concurrent import futures
def handler(event, context):
    before = set(sys.modules)
    socket.getaddrinfo("localhost", 80)
    datetime.datetime.strptime("2026-01-02", "%Y-%m-%d")
    futures.ThreadPoolExecutor
    gzip.decompress(gzip.compress(b"a"))
    return sorted(set(sys.modules) - before)`,
  );
  t.same(JSON.parse((await agent.event(1)).text), []);
});

t.test('a WSGI application, as its standard says', async (t) => {
  const { agent, head } = await ready(t, WSGI);
  t.equal(head.exports, 'wsgi');
  const headers: [string, string][] = [
    ['X-A', '1'],
    ['content-type', 'text/plain'],
    ['x-a', '2'],
  ];
  const answer = await agent.request('/%C3%A9?q=1', { method: 'PUT', headers, body: 'body ' });
  t.match(answer.head, {
    status: 200,
    headers: [
      ['X-Seen', '1,2'],
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
    ],
    logs: [{ level: 'error', text: 'logged' }],
  });
  t.equal(answer.text, "first body ['PUT', '/Ã©', 'q=1', 'text/plain', 'h', '8080']");
  t.match((await agent.request('/silent')).head, {
    code: 'FUNCTION_BAD_RESULT',
    message: /start_response/,
  });
  t.match((await agent.request('/text')).head, { code: 'FUNCTION_BAD_RESULT', message: /bytes/ });
  const demo = await ready(t, 'from wsgiref.simple_server import demo_app as app');
  t.match((await demo.agent.request('/')).text, /^Hello world!/);
});

const ASGI = `
import asyncio
class App:
    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    await asyncio.sleep(0.001)
                    scope["state"]["db"] = "open"
                    print("started")
                    await send({"type": "lifespan.startup.complete"})
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200})
            return
        if scope["path"] == "/stall":
            await asyncio.Event().wait()
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 202, "headers": [(b"x-path", scope["path"].encode())]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": scope["state"]["db"].encode() + scope["query_string"]})
        assert (await receive())["type"] == "http.disconnect"
app = App()`;

t.test('an ASGI application, with its start-up', async (t) => {
  const { agent, head } = await ready(t, ASGI);
  t.match(head, { exports: 'asgi', logs: [{ text: 'started' }] });
  const { head: answer, text } = await agent.request('/a?b', { method: 'POST', body: 'in ' });
  t.match(answer, { status: 202, headers: [['x-path', '/a']] });
  t.equal(text, 'in openb');
  t.match((await agent.request('/half')).head, { code: 'FUNCTION_BAD_RESULT' });
  t.match((await agent.request('/stall')).head, { code: 'FUNCTION_STALLED' });
  t.match((await agent.event({ n: 1 })).text, '{"n":1}open', 'an event is a POST');
  const plain = await ready(
    t,
    'async def app(scope, receive, send):\n    assert scope["type"] == "http"\n' +
      '    await send({"type": "http.response.start", "status": 200})\n' +
      '    await send({"type": "http.response.body", "body": b"plain"})',
  );
  t.equal((await plain.agent.request('/')).text, 'plain', 'no lifespan is no error');
  const failed = start(
    t,
    'async def app(scope, receive, send):\n    await send({"type": "lifespan.startup.failed", "message": "no db"})',
  );
  t.match((await failed.receive()).head, { code: 'FUNCTION_THREW', message: 'no db' });
});

t.test('the function is found by name, and its packages beside it', async (t) => {
  const files = {
    'pkg/api.py':
      'import helper, lib\ndef process(event, context): return [helper.A, lib.B]\ndef web(environ, start): start("200 OK", []); return [b"w"]\n',
    'pkg/helper.py': 'A = 1',
    'pkg/vendor/lib/__init__.py': 'B = 2',
  };
  const named = await ready(t, files, 'pkg/api.py:process');
  t.equal(named.head.exports, 'handler');
  t.equal((await named.agent.event(null)).text, '[1,2]');
  t.equal((await ready(t, files, 'pkg/api.py:web')).head.exports, 'wsgi');
  const failure = async (entry: string) => (await start(t, files, entry).receive()).head;
  t.match(await failure('pkg/api.py'), {
    code: 'FUNCTION_NO_EXPORT',
    message: /helper, lib, process, web; .*def handler/,
  });
  t.match(await failure('pkg/api.py:other'), { code: 'FUNCTION_NO_EXPORT', message: /no `other`/ });
  t.match(await failure('pkg/helper.py:A'), {
    code: 'FUNCTION_NO_EXPORT',
    message: /no callable `A`/,
  });
});

t.test('a body comes in chunks', async (t) => {
  const { agent } = await ready(t, 'def handler(event, context): return event["body"]');
  const head = { type: 'request', method: 'POST', url: 'http://h/', headers: [], more: true };
  const answer = agent.invoke(head, 'one ');
  agent.send({ type: 'chunk' }, 'two ');
  agent.send({ type: 'chunk', end: true }, 'three');
  t.equal((await answer).text, '"one two three"');
});

const POST = { type: 'request', method: 'POST', url: 'http://h/', headers: [], ...COMMON };

t.test('a WSGI application streams both ways', async (t) => {
  const { agent } = await ready(
    t,
    `
def app(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    source = environ["wsgi.input"]
    def parts():
        while piece := source.read1():
            print("read", len(piece))
            yield piece.upper()
    return parts()`,
  );
  agent.send({ ...POST, more: true }, 'one');
  const first = await agent.receive();
  t.match(first, {
    head: { type: 'response', more: true, logs: [{ text: 'read 3' }] },
    text: 'ONE',
  });
  agent.send({ type: 'chunk' }, 'two');
  t.match((await agent.receive()).head, { type: 'log', logs: [{ text: 'read 3' }] });
  t.equal((await agent.receive()).text, 'TWO', 'before the request has ended');
  agent.send({ type: 'chunk', end: true }, '');
  t.match(await agent.receive(), { head: { type: 'chunk', end: true }, text: '' });
});

t.test('an ASGI application streams both ways, and goes on behind its answer', async (t) => {
  const { agent } = await ready(
    t,
    `
import asyncio
ticks = 0
async def tick():
    global ticks
    while True:
        ticks += 1
        await asyncio.sleep(0.001)
async def app(scope, receive, send):
    assert scope["type"] == "http"
    ticking = asyncio.ensure_future(tick())
    await send({"type": "http.response.start", "status": 200})
    more = True
    while more:
        before = ticks
        message = await receive()
        more = message["more_body"]
        body = message["body"] if ticks > before + 1 or not before else b"held up"
        await send({"type": "http.response.body", "body": body, "more_body": more})
    await asyncio.sleep(0.05)
    ticking.cancel()
    print("behind")`,
  );
  agent.send({ ...POST, more: true }, 'one');
  t.match(await agent.receive(), { head: { type: 'response', more: true }, text: 'one' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  agent.send({ type: 'chunk' }, 'two');
  t.equal((await agent.receive()).text, 'two', 'what else it does went on');
  await new Promise((resolve) => setTimeout(resolve, 50));
  agent.send({ type: 'chunk', end: true }, 'three');
  t.match(await agent.receive(), { head: { end: true, pending: true }, text: 'three' });
  t.match((await agent.receive()).head, { type: 'log', logs: [{ text: 'behind' }] });
  t.match((await agent.receive()).head, { type: 'done' });
});

t.test('a handler answers with a generator', async (t) => {
  const { agent } = await ready(
    t,
    `
async def later():
    yield "a"
    yield b"b"
def handler(event, context):
    if event["path"] == "/later": return {"statusCode": 200, "body": later()}
    return {"statusCode": 201, "body": (str(n) for n in range(3))}`,
  );
  t.match(await agent.request('/'), { head: { status: 201 }, text: '012' });
  t.match(await agent.request('/later'), { head: { status: 200 }, text: 'ab' });
});

t.test('answers beyond the size of a frame, none of which is held whole', async (t) => {
  const { agent } = await ready(
    t,
    `
def app(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/fails":
        yield b"begun"
        raise ValueError("midway")
    for n in range(40): yield bytes(1 << 20)`,
  );
  const { body, pieces } = await agent.request('/');
  t.equal(body.byteLength, 40 << 20);
  t.ok(Math.max(...pieces) <= 64 * 1024);
  agent.send({ ...POST, url: 'http://h/fails' }, '');
  t.equal((await agent.receive()).text, 'begun');
  t.match((await agent.receive()).head, {
    type: 'error',
    code: 'FUNCTION_THREW',
    message: /midway/,
  });
});

t.test('failures are told apart, with tracebacks that start in the function', async (t) => {
  const { agent } = await ready(
    t,
    `
import ctypes, os, sys
def handler(event, context):
    print("before", end="")
    if event == "throw": raise ValueError("no good")
    if event == "exit": sys.exit(3)
    if event == "large": return "x" * (17 << 20)
    if event == "nan": return float("nan")
    if event == "object": return object()
    if event == "hostile":
        class Hostile(Exception):
            def __str__(self): raise RuntimeError("never")
        raise Hostile()
    if event == "crash": ctypes.string_at(0)
    if event == "leave": os._exit(4)
    return "fine"`,
  );
  const thrown = (await agent.event('throw')).head;
  t.match(thrown, {
    type: 'error',
    code: 'FUNCTION_THREW',
    message: 'ValueError: no good',
    logs: [{ text: 'before' }],
  });
  t.match(
    thrown.stack,
    /^Traceback \(most recent call last\):\n {2}File ".*main\.py", line 5, in handler/,
  );
  t.match((await agent.event('exit')).head, {
    code: 'FUNCTION_EXITED',
    message: 'the function called sys.exit(3)',
  });
  t.match((await agent.event('large')).head, {
    code: 'FUNCTION_BAD_RESULT',
    message: /the limit is 16777216/,
  });
  t.match((await agent.event('nan')).head, { code: 'FUNCTION_BAD_RESULT' });
  t.match((await agent.event('object')).head, {
    code: 'FUNCTION_BAD_RESULT',
    message: /not JSON serializable/,
  });
  t.match((await agent.event('hostile')).head, { code: 'FUNCTION_THREW', message: /Hostile/ });
  t.equal((await agent.event('')).text, '"fine"');
  await t.rejects(
    agent.event('crash'),
    /SIGSEGV.*Segmentation fault.*main\.py", line 14 in handler/s,
  );
  await t.rejects(
    (await ready(t, 'import os\ndef handler(e, c): os._exit(4)')).agent.event(1),
    /exit 4/,
  );
});

t.test('failures while loading arrive instead of ready', async (t) => {
  const failure = async (files: Record<string, string> | string) => {
    const agent = start(t, files);
    const { head } = await agent.receive();
    t.equal(await agent.ended, 'exit 1');
    return head;
  };
  t.match(await failure('x = 1\ndef handler(event:\n    pass'), {
    code: 'FUNCTION_SYNTAX',
    message: /^main\.py:2:12: /,
    location: { line: 2, column: 12, lineText: 'def handler(event:' },
  });
  t.match(await failure({ 'main.py': 'import part', 'part.py': 'if True:\nx' }), {
    code: 'FUNCTION_SYNTAX',
    message: /^part\.py:2:1: expected an indented block/,
  });
  t.match(await failure('raise SyntaxError("mine")'), {
    code: 'FUNCTION_THREW',
    message: 'SyntaxError: mine',
  });
  t.match(await failure('print("l")\n1/0'), {
    code: 'FUNCTION_THREW',
    message: /division by zero/,
    logs: [{ text: 'l' }],
  });
  t.match(await failure('import missing_package'), {
    code: 'FUNCTION_THREW',
    message: /No module named 'missing_package'/,
  });
  t.match(await failure('exit = __import__("sys").exit\nexit("bye")'), {
    code: 'FUNCTION_EXITED',
    message: /'bye'/,
  });
});

t.test('output becomes lines with levels, and is bounded', async (t) => {
  const { agent } = await ready(
    t,
    `
import logging, sys, warnings
log = logging.getLogger("app")
def handler(event, context):
    if event == "flood":
        for i in range(1000): print("line", i)
        return
    if event == "long":
        sys.stdout.write("x" * 10_000_000)
        return
    sys.stdout.buffer.write(b"raw\\n")
    log.warning("careful %d", 1)
    log.info("unseen")
    if event == "basic":
        logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")
        log.debug("d"); log.info("i"); log.error("e")
    print("err", file=sys.stderr)
    print("a\\nb", end="")`,
  );
  const logs = async (event: string) =>
    (await agent.event(event)).head.logs.map(
      ({ level, text }: Record<string, string>) => `${level} ${text}`,
    );
  t.same(await logs(''), ['info raw', 'warn careful 1', 'error err', 'info a', 'info b']);
  t.same(await logs('basic'), [
    'info raw',
    'warn careful 1',
    'debug app d',
    'info app i',
    'error app e',
    'error err',
    'info a',
    'info b',
  ]);
  const flood = await logs('flood');
  t.same([flood.length, flood.at(-1)], [257, 'warn 744 more lines were dropped']);
  const [long] = await logs('long');
  t.equal(long.length, 'info '.length + 4097);
});

t.test('clones with different entropy differ', async (t) => {
  const source = `
import asyncio, mayfly, multiprocessing, random, uuid
random.random()
mine = random.Random(1)
seen = []
@mayfly.after_clone
def again(generation): mine.seed(generation); seen.append(generation)
@mayfly.after_clone
async def later(generation): await asyncio.sleep(0); seen.append("later")
def handler(event, context):
    return [random.random(), random.randbytes(4).hex(), mine.random(), str(uuid.uuid4()), multiprocessing.current_process().authkey.hex()] if event else seen`;
  const draw = async (entropy: number, generation: string, event = true) => {
    const { agent } = await ready(t, source);
    const head = { entropy: Buffer.alloc(32, entropy).toString('base64'), generation };
    return JSON.parse((await agent.event(event, head)).text);
  };
  const [a, b, c] = [await draw(1, 'g1'), await draw(1, 'g2'), await draw(2, 'g1')];
  t.same(a.slice(0, 2), b.slice(0, 2), 'random follows the entropy');
  t.not(a[0], c[0]);
  t.not(a[2], b[2], 'what the function made is its own to seed');
  t.not(a[3], b[3]);
  t.not(a[4], c[4]);
  t.same(await draw(1, 'g9', false), ['g9', 'later']);
});
