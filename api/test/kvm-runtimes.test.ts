/** A function of each runtime in a real machine, through the pool. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultImageDir, ImageStore } from '@mayfly/image';
import { MachinePool } from '@mayfly/vmm';
import t from 'tap';
import type { Program, Source } from '../src/index.js';
import { ImageLayers } from '../src/layers.js';
import { pythonProgram } from '../src/runtimes/python.js';

if (!existsSync('/dev/kvm')) t.plan(0, 'no /dev/kvm on this host');
else await allRuntimes();

async function allRuntimes(): Promise<void> {
  t.setTimeout(600_000);
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-runtimes-'));
  const layers = new ImageLayers(await ImageStore.open(defaultImageDir()));
  const pool = new MachinePool({ directory: join(directory, 'templates'), workers: 1 });
  t.teardown(async () => {
    await pool.close();
    rmSync(directory, { recursive: true });
  });

  const source = (files: Record<string, string>, rest: Partial<Source> = {}): Source => {
    const all = Object.entries(files).map(([name, text]) => [
      name,
      { bytes: Buffer.from(text), executable: false },
    ]);
    return { name: 'f', files: new Map(all as []), ...rest };
  };
  const deploy = async (name: string, program: Program) => {
    const { readyHead } = await pool.deploy({
      name,
      ...program,
      memoryBytes: 256 * 1024 * 1024,
      bootTimeoutMs: 300_000,
    });
    return readyHead as Record<string, unknown>;
  };
  const invoke = async (name: string, head: object, body = '') => {
    const common = {
      id: 'i',
      deadlineMs: Date.now() + 60_000,
      generation: String(Math.random()),
      entropy: Buffer.alloc(32, Math.random() * 256).toString('base64'),
      now: Date.now(),
    };
    const frame = { head: { ...common, ...head }, body: Buffer.from(body) };
    const result = await pool.invoke(name, frame, {
      place: { worker: 0, clone: 0 },
      timeoutMs: 60_000,
    });
    return {
      head: result.head as Record<string, unknown>,
      text: Buffer.from(result.body as Uint8Array).toString(),
    };
  };
  const request = (path: string, method = 'GET') => ({
    type: 'request',
    method,
    url: `http://h${path}`,
    headers: [],
  });

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
    const head = await deploy('py', await pythonProgram(source({ 'main.py': main }), layers));
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
    const head = await deploy('asgi', await pythonProgram(source({ 'app.py': app }), layers));
    t.match(head, { type: 'ready', exports: 'asgi' });
    t.equal((await invoke('asgi', request('/a/b'))).text, '/a/b');
    const bad = await deploy('bad', await pythonProgram(source({ 'main.py': 'def (' }), layers));
    t.match(bad, { type: 'error', code: 'FUNCTION_SYNTAX', location: { line: 1, column: 5 } });
  });
}
