/** Programs that know nothing of frames: filters of standard input and HTTP servers, in pristine clones. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import type { LogLine } from '@mayfly/protocol';
import t from 'tap';
import type { Dialect } from '../../src/dialects/dialect.js';
import { MachinePool } from '../../src/pool/machine-pool.js';
import { read } from '../pool/bodies.js';
import { compile } from './guest.js';

const scratch = mkdtempSync('/var/tmp/mayfly-dialects-');
const source = fileURLToPath(new URL('../../../test/machine/dialects.c', import.meta.url));

const program = compile(source, 'dialects');
const store = await ImageStore.open(join(scratch, 'images'));
const image = await store.build(await treeFromPrograms([{ path: program }]));
const pool = new MachinePool({ directory: scratch, workers: 1 });
t.teardown(async () => {
  await pool.close();
  rmSync(scratch, { recursive: true, force: true });
});

const STDIO: Dialect = { kind: 'stdio' };
const HTTP: Dialect = { kind: 'http', port: 8080 };

const deploy = (
  what: string,
  dialect: Dialect,
  bootTimeoutMs = 60_000,
  args: string[] = [],
  network: string[] = [],
) =>
  pool.deploy({
    name: what,
    images: [image.path],
    argv: [program, what, ...args],
    network,
    env: {},
    memoryBytes: 64 << 20,
    bootTimeoutMs,
    dialect,
  });

const call = async (name: string, head: object, body = '') => {
  const logs: string[] = [];
  const onLogs = (lines: unknown) => {
    for (const { level, text } of lines as LogLine[]) logs.push(`${level} ${text}`);
  };
  const frame = { head, body: Buffer.from(body) };
  const options = { timeoutMs: 60_000, place: { worker: 0, clone: 0 }, onLogs };
  const result = await pool.invoke(name, frame, options);
  const text = (await read(result.body)).toString('latin1');
  await result.end;
  return { ...(result.head as object), logs, text };
};
const event = (body: string) => call('filter', { type: 'event' }, body);
const post = { type: 'request', method: 'POST', url: 'http://h/', headers: [] };
const get = (path: string) =>
  call('serve', {
    type: 'request',
    method: 'GET',
    url: `http://h:1${path}`,
    headers: [['x', 'y']],
  });

await t.test('a filter: the body is its input, its output the answer', async (t) => {
  t.match((await deploy('filter', STDIO)).readyHead, { type: 'ready', exports: 'stdin', logs: [] });
  for (let i = 0; i < 3; i++) {
    t.match(await event('abc'), {
      type: 'result',
      logs: ['error call 1'],
      text: '{"calls":1,"length":3}',
    });
  }
  t.match(await call('filter', post, 'x'.repeat(1000)), {
    type: 'response',
    status: 200,
    headers: [['content-type', 'text/plain; charset=utf-8']],
    text: '{"calls":1,"length":1000}',
  });
  t.match(await call('filter', post, 'binary'), {
    headers: [['content-type', 'application/octet-stream']],
    text: '\xff\xfe',
  });
  t.match(await event(''), { text: '{"calls":1,"length":0}' });
});

await t.test('a filter that fails', async (t) => {
  t.match(await event('fail'), {
    type: 'error',
    code: 'FUNCTION_FAILED',
    message: 'the program ended with exit code 7',
    logs: ['error call 1'],
  });
  await t.rejects(event('crash'), { code: 'MAYFLY_GUEST_EXITED', message: /signal 6/ });
  await t.rejects(event('flood'), { code: 'MAYFLY_FRAME_TOO_LARGE' });
  t.match(await event('abc'), { text: '{"calls":1,"length":3}' });
});

await t.test('both bodies of a filter stream, no faster than they are read', async (t) => {
  await deploy('echo', STDIO);
  const PIECES = 256;
  let sent = 0;
  async function* request() {
    for (; sent < PIECES; sent++) yield Buffer.alloc(64 * 1024, sent);
  }
  const { head, body, end } = await pool.invoke(
    'echo',
    { head: post, body: request() },
    { timeoutMs: 300_000, place: { worker: 0, clone: 0 } },
  );
  t.match(head, { type: 'response', status: 200, more: true });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  t.ok(sent < PIECES / 2, `${sent} of ${PIECES} pieces went in before anything was read`);
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    bytes += piece.byteLength;
    hash.update(piece);
  }
  await end;
  const wanted = createHash('sha256');
  for (let i = 0; i < PIECES; i++) wanted.update(Buffer.alloc(64 * 1024, i));
  t.equal(bytes, PIECES * 64 * 1024);
  t.equal(hash.digest('hex'), wanted.digest('hex'));
});

await t.test('programs that do not read their input are no filters', async (t) => {
  await t.rejects(deploy('nothing', STDIO), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /exit code 4 before it read/,
  });
  await t.rejects(deploy('deaf', STDIO), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /not its standard input/,
  });
});

await t.test('an HTTP server: a request a clone', async (t) => {
  t.match((await deploy('serve', HTTP)).readyHead, {
    type: 'ready',
    exports: 'http',
    logs: [{ level: 'info', text: 'listening on 8080' }],
  });
  for (let i = 0; i < 3; i++) {
    t.match(await get('/a?b'), {
      type: 'response',
      status: 200,
      headers: [
        ['x-calls', '1'],
        ['content-type', 'text/plain'],
      ],
      text: 'GET /a?b HTTP/1.1\r\nhost: h:1\r\nx: y\r\n\r\n',
      logs: ['info request 1'],
    });
  }
  t.match(await get('/slow'), { status: 200, text: 'onetwo' });
  await t.rejects(get('/garbage'), { code: 'MAYFLY_HTTP_DAMAGED', message: /ICY 200 OK/ });
  await t.rejects(get('/exit'), { code: 'MAYFLY_GUEST_EXITED', message: /exit code 5/ });
  t.match(await get('/'), {
    headers: [
      ['x-calls', '1'],
      ['content-type', 'text/plain'],
    ],
  });
});

await t.test('a server that is slow to listen, and programs that never do', async (t) => {
  t.match((await deploy('late', HTTP)).readyHead, { type: 'ready' });
  await t.rejects(deploy('deaf', HTTP), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /^the program does not listen on port 8080(\n|$)/,
  });
  await t.rejects(deploy('elsewhere', HTTP), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /^the program does not listen on port 8080 but on ports 4000, 5000: set "port": 4000/,
  });
  await t.rejects(deploy('nothing', HTTP), {
    code: 'MAYFLY_BOOT_FAILED',
    message: /exit code 4 before it listened/,
  });
});

await t.test('programs that wait for the outside before they are ready', async (t) => {
  const server = createServer((socket) => void setTimeout(() => socket.end('x'), 1000));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const network = [`host.mayfly:${port}`];
  const ready = { readyHead: { type: 'ready' } };
  t.match(await deploy('asks', HTTP, 60_000, [String(port)], network), ready);
  t.match(await deploy('asks', STDIO, 60_000, [String(port), 'filter'], network), ready);
});
