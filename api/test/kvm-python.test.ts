/** Python functions in a real machine. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { pythonProgram } from '../src/runtimes/python.js';
import { warmUpCalls } from '../src/warm-up.js';
import { machines, request } from './machines.js';

if (!existsSync('/dev/kvm')) t.plan(0, 'no /dev/kvm on this host');
else await python();

async function python(): Promise<void> {
  const { deploy, invoke } = await machines(t);

  t.test('python', async (t) => {
    const main = `
import asyncio, os, random, ssl, sqlite3, tempfile, uuid
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event == "crash": __import__("ctypes").string_at(0)
    if event == "throw": raise ValueError("x")
    print("called", calls)
    with tempfile.NamedTemporaryFile() as file: name = file.name
    db = sqlite3.connect(":memory:")
    return [calls, random.random(), str(uuid.uuid4()), name, os.getpid(), db.execute("select 6 * 7").fetchone()[0]]`;
    const head = await deploy('py', pythonProgram, { 'main.py': main });
    t.match(head, { type: 'ready', exports: 'handler' });
    const event = (value: unknown) => invoke('py', { type: 'event' }, JSON.stringify(value));
    const [a, b] = [await event(1), await event(2)];
    t.match(a.head, { type: 'result', logs: [{ text: 'called 1' }] });
    const [one, two] = [JSON.parse(a.text), JSON.parse(b.text)];
    t.same([one[0], two[0], one[5]], [1, 1, 42]);
    for (const i of [1, 2, 3, 4]) t.not(one[i], two[i], `value ${i} differs between clones`);
    t.match((await event('throw')).head, { code: 'FUNCTION_THREW' });
    await t.rejects(event('crash'), { code: 'MAYFLY_GUEST_EXITED', message: /signal 11/ });
    t.equal(JSON.parse((await event(3)).text)[0], 1);
  });

  t.test('python: an ASGI application, and one that does not parse', async (t) => {
    const app = `
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"}); await receive()
    await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})`;
    const head = await deploy('asgi', pythonProgram, { 'app.py': app });
    t.match(head, { type: 'ready', exports: 'asgi' });
    t.equal((await invoke('asgi', request('/a/b'))).text, '/a/b');
    const warm = await deploy(
      'warm',
      pythonProgram,
      { 'app.py': app },
      { warmup: warmUpCalls({ warmup: true }) },
    );
    t.match(warm, { type: 'ready', exports: 'asgi' });
    t.equal((await invoke('warm', request('/c'))).text, '/c');
    const bad = await deploy('bad', pythonProgram, { 'main.py': 'def (' });
    t.match(bad, { type: 'error', code: 'FUNCTION_SYNTAX', location: { line: 1, column: 5 } });
  });
}
