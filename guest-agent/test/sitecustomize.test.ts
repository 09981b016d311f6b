/** Servers in Python that know nothing of clones: seeds of their own when a clone's request is read. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { pythonAgentPath } from '../src/index.js';
import { folderWith } from './agent-process.js';

/** /clone gives the process another id, as the next clone would have one; the server answers with what is drawn then. */
const BEGIN = `
import gc, json, os, random, sys
import mayfly
calls = []
@mayfly.after_clone
async def hook(generation):
    calls.append(generation)
random.seed(1)
pid = os.getpid()
os.getpid = lambda: pid
def answer(path):
    global pid
    if path == "/clone": pid += 1
    return json.dumps([random.random(), calls, gc.get_freeze_count() > 0, "encodings.idna" in sys.modules, sys.argv[1:]]).encode()
`;

const SERVERS: Record<string, string> = {
  'http.server': `${BEGIN}
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = answer(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()`,
  asyncio: `${BEGIN}
import asyncio
async def serve(reader, writer):
    request = await reader.readuntil(b"\\r\\n\\r\\n")
    body = answer(request.split()[1].decode())
    writer.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n%s" % (len(body), body))
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())`,
};

for (const [name, source] of Object.entries(SERVERS)) {
  t.test(`a server made with ${name}`, async (t) => {
    const folder = folderWith(t, { 'app.py': source });
    const server = spawn('/usr/bin/python3', [join(folder, 'app.py'), 'argument'], {
      env: { PYTHONPATH: pythonAgentPath, PYTHONDONTWRITEBYTECODE: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => server.kill());
    const [port] = await once(server.stdout, 'data');
    const ask = async (path: string) =>
      (await fetch(`http://127.0.0.1:${Number(port)}${path}`)).json() as Promise<
        [number, string[], ...unknown[]]
      >;
    const seeded = [0.13436424411240122, 0.8474337369372327];
    t.same(await ask('/'), [seeded[0], [], true, true, ['argument']]);
    t.same((await ask('/clone'))[0], seeded[1], 'the same life goes on');
    const [first, calls] = await ask('/');
    t.notOk(seeded.includes(first) || first === 0.763774618976614, 'another life has begun');
    t.same(calls, [''], 'with its hook');
    const [next, after] = await ask('/');
    t.not(next, first);
    t.same(after, [''], 'once');
  });
}
