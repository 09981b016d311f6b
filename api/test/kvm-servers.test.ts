/** An HTTP server and a WebAssembly module in a real machine. */
import { existsSync } from 'node:fs';
import type { WarmUp } from '@mayfly/protocol/api';
import t from 'tap';
import { httpProgram } from '../src/runtimes/http.js';
import { wasmProgram } from '../src/runtimes/wasm.js';
import { warmUpCalls } from '../src/warm-up.js';
import { machines, request } from './machines.js';

if (!existsSync('/dev/kvm')) t.plan(0, 'no /dev/kvm on this host');
else await servers();

async function servers(): Promise<void> {
  const { deploy, invoke } = await machines(t);

  t.test('a server in Node.js, unmodified', async (t) => {
    const server = `
      const { createServer } = require('node:http');
      let calls = 0;
      const early = Math.random;
      createServer((request, response) => {
        const parts = [];
        request.on('data', (part) => parts.push(part)).on('end', () => {
          console.log('called');
          response.setHeader('x-calls', ++calls);
          response.end(JSON.stringify([request.method, request.url, Buffer.concat(parts).length, early()]));
        });
      }).listen(process.env.PORT, () => console.log('listening'));`;
    const command = ['node', 'server.cjs'];
    const head = await deploy(
      'web',
      httpProgram,
      { 'server.cjs': server },
      { command, port: 3000 },
    );
    t.match(head, { type: 'ready', exports: 'http', logs: [{ text: 'listening' }] });
    const seen = new Set<number>();
    for (let i = 0; i < 2; i++) {
      const answer = await invoke('web', request('/a?b=c', 'POST'), 'x'.repeat(100_000));
      t.match(answer.head, { type: 'response', status: 200, logs: [{ text: 'called' }] });
      t.match(answer.head.headers, [['x-calls', '1']]);
      const [method, url, length, random] = JSON.parse(answer.text);
      t.same([method, url, length], ['POST', '/a?b=c', 100_000]);
      seen.add(random);
    }
    t.equal(seen.size, 2, 'Math.random differs between clones');
  });

  t.test('a server in Python, unmodified', async (t) => {
    const server = `
import os, random
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        print("asked for", self.path)
        body = str(random.random()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()`;
    const settings = { command: ['python3', 'app.py'], port: 8000 };
    await deploy('python', httpProgram, { 'app.py': server }, settings);
    const seen = new Set<string>();
    for (let i = 0; i < 2; i++) {
      const answer = await invoke('python', request('/a'));
      t.match(answer.head, { status: 200, logs: [{ text: 'asked for /a' }] });
      seen.add(answer.text);
    }
    t.equal(seen.size, 2, 'random differs between clones');
  });

  t.test('a server that is warmed up', async (t) => {
    const server = `
      const { createServer } = require('node:http');
      let calls = 0;
      createServer(async (request, response) => {
        let body = '';
        for await (const piece of request) body += piece;
        console.log(request.method, request.url, body);
        response.statusCode = request.url === '/none' ? 404 : 200;
        response.end(String(++calls));
      }).listen(process.env.PORT);`;
    const command = ['node', 'server.cjs'];
    const warm = (...warmup: WarmUp[]) => {
      const settings = { command, port: 3000, warmup: warmUpCalls({ warmup }) };
      return deploy('warm', httpProgram, { 'server.cjs': server }, settings);
    };
    t.match(await warm('/warm?a', { path: '/post', body: { a: 1 } }, { event: 5 }), {
      exports: 'http',
      logs: [{ text: 'GET /warm?a ' }, { text: 'POST /post {"a":1}' }, { text: 'POST / 5' }],
    });
    for (let i = 0; i < 2; i++) t.equal((await invoke('warm', request('/'))).text, '4');
    await t.rejects(warm('/none'), { code: 'MAYFLY_BOOT_FAILED', message: /answered with 404/ });
  });

  t.test('a WebAssembly module', async (t) => {
    // (module (memory (export "memory") 1) (func (export "_start")))
    const module = Buffer.from(
      '0061736d01000000010401600000030201000503010001071302066d656d6f72790200065f737461727400000a040102000b',
      'hex',
    );
    t.match(await deploy('wasm', wasmProgram, { 'f.wasm': module }), { type: 'ready' });
    t.match((await invoke('wasm', request('/'))).head, { type: 'response', status: 200 });
  });
}
