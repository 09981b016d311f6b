/** Bodies that stream between an HTTP client and a function. */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import t from 'tap';
import { processServer } from './test-server.js';

const server = await processServer(t, { bodyBytesMax: 40 << 20 });
const { pool } = server;

const SOURCE = `
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  export default { async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === '/echo') return new Response(request.body, { headers: { 'x-method': request.method } });
    if (pathname.startsWith('/status/')) return new Response(null, { status: Number(pathname.slice(8)), headers: { 'content-length': '5' } });
    if (pathname === '/sized') return new Response(null, { headers: { 'content-length': '5' } });
    if (pathname === '/hello') return new Response('hello', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] });
    if (pathname === '/deaf') return new Response('enough');
    if (pathname === '/ticks') return new Response(new ReadableStream({
      async pull(c) { await sleep(20); c.enqueue(Buffer.from('tick')) } }), { headers: { 'content-type': 'text/event-stream', 'content-length': '7' } });
    if (pathname === '/broken') return new Response(new ReadableStream({
      async pull(c) { c.enqueue(Buffer.from('begun')); await sleep(20); throw new Error('boom') } }));
    if (pathname === '/behind') { ctx.waitUntil(sleep(400).then(() => console.log('done behind'))); return new Response('answer'); }
    return new Response(String((await request.arrayBuffer()).byteLength));
  } }`;
await fetch(`${server.url}/v1/functions/f`, { method: 'PUT', body: SOURCE });

interface Exchange {
  request: ClientRequest;
  response: Promise<IncomingMessage>;
}

function open(path: string, method = 'POST', headers: Record<string, string> = {}): Exchange {
  const request = httpRequest(`${server.url}/fn/f/${path}`, { method, headers });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  response.catch(() => {});
  return { request, response };
}

/** The next bytes of an answer as text. */
async function next(answer: AsyncIterator<Buffer>): Promise<string | undefined> {
  const { done, value } = await answer.next();
  return done ? undefined : value.toString();
}

const inFlight = async () =>
  ((await (await fetch(`${server.url}/healthz`)).json()) as { inFlight: number }).inFlight;

async function until(condition: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
  t.test(`${method}: each piece is answered before the next is sent`, async (t) => {
    const { request, response } = open('echo', method, { 'transfer-encoding': 'chunked' });
    request.write('one');
    const message = await response;
    t.equal(message.statusCode, 200);
    t.equal(message.headers['x-method'], method);
    t.match(message.headers['server-timing'], /^queue;dur=/);
    const answer = message[Symbol.asyncIterator]();
    t.equal(await next(answer), 'one');
    for (const text of ['two', 'three']) {
      request.write(text);
      t.equal(await next(answer), text);
    }
    request.end();
    t.equal(await next(answer), undefined);
  });
}

t.test('a large body comes back as it was', async (t) => {
  const body = Buffer.alloc(12 << 20, 'some text');
  for (let i = 0; i < body.length; i += 4096) body.writeUInt32LE(i, i);
  const response = await fetch(`${server.url}/fn/f/echo`, { method: 'POST', body });
  t.ok(Buffer.from(await response.arrayBuffer()).equals(body));
  const counted = await fetch(`${server.url}/fn/f/count`, { method: 'POST', body });
  t.equal(await counted.text(), String(body.length));
});

t.test('a function that reads nothing answers, and the connection lives on', async (t) => {
  const { request, response } = open('deaf', 'POST', { 'transfer-encoding': 'chunked' });
  request.write(Buffer.alloc(100_000));
  const message = await response;
  let text = '';
  for await (const chunk of message) text += chunk;
  t.equal(text, 'enough');
  request.end();
});

t.test('a body that gets too long', async (t) => {
  const { request, response } = open('count', 'POST', { 'transfer-encoding': 'chunked' });
  request.on('error', () => {});
  const piece = Buffer.alloc(1 << 20);
  for (let i = 0; i < 41 && !request.destroyed; i++) {
    if (!request.write(piece)) await new Promise((resolve) => request.once('drain', resolve));
  }
  request.end();
  const message = await response;
  t.equal(message.statusCode, 413);
  let text = '';
  for await (const chunk of message) text += chunk;
  t.match(JSON.parse(text), { code: 'MAYFLY_BODY_TOO_LARGE' });
  const said = open('count', 'POST', { 'content-length': String(41 << 20) });
  said.request.on('error', () => {});
  said.request.flushHeaders();
  t.equal((await said.response).statusCode, 413, 'a length that says so is refused at once');
  said.request.destroy();
  t.ok(await until(async () => (await inFlight()) === 0));
});

t.test('a client that leaves in the middle of an answer ends the invocation', async (t) => {
  const { request, response } = open('ticks', 'GET');
  request.end();
  const message = await response;
  t.equal(message.headers['content-length'], undefined, "the function's word is not taken");
  const answer = message[Symbol.asyncIterator]();
  t.match(await next(answer), /^tick/);
  t.match(await next(answer), /^tick/);
  t.equal(await inFlight(), 1);
  message.destroy();
  t.ok(await until(async () => (await inFlight()) === 0 && pool.running === 0));
});

t.test('a client that leaves in the middle of its request ends the invocation', async (t) => {
  const { request, response } = open('count', 'POST', { 'transfer-encoding': 'chunked' });
  request.write('begun');
  t.ok(await until(async () => (await inFlight()) === 1));
  request.destroy();
  await t.rejects(response);
  t.ok(await until(async () => (await inFlight()) === 0 && pool.running === 0));
});

t.test('an answer that breaks off is seen to be incomplete', async (t) => {
  const { request, response } = open('broken', 'GET');
  request.end();
  const message = await response;
  t.equal(message.statusCode, 200);
  let text = '';
  const read = async () => {
    for await (const chunk of message) text += chunk;
  };
  await t.rejects(read(), { code: 'ECONNRESET' });
  t.equal(text, 'begun');
  t.ok(await until(async () => (await inFlight()) === 0));
});

t.test('the answer is there before the work behind it is done', async (t) => {
  const response = await fetch(`${server.url}/fn/f/behind`);
  t.equal(await response.text(), 'answer');
  t.equal(await inFlight(), 1);
  t.ok(await until(async () => (await inFlight()) === 0));
  const logs = (await (await fetch(`${server.url}/v1/functions/f/logs`)).json()) as {
    logs: { text: string }[];
  };
  t.equal(logs.logs.at(-1)?.text, 'done behind');
});

t.test('answers without a body, and what they say about its length', async (t) => {
  const asked = async (path: string, method = 'GET') => {
    const { request, response } = open(path, method);
    request.end();
    const message = await response;
    let text = '';
    for await (const chunk of message) text += chunk;
    const { 'content-length': length, 'transfer-encoding': encoding } = message.headers;
    return {
      status: message.statusCode,
      length,
      encoding,
      text,
      cookies: message.headers['set-cookie'],
    };
  };
  const nothing = { length: undefined, encoding: undefined, text: '' };
  t.match(await asked('status/204'), { status: 204, ...nothing });
  t.match(await asked('status/304'), { status: 304, ...nothing });
  t.match(await asked('status/205'), { status: 205, ...nothing, length: '0' });
  t.match(await asked('sized', 'HEAD'), { status: 200, ...nothing, length: '5' });
  t.match(await asked('hello', 'HEAD'), { status: 200, ...nothing, length: '5' });
  t.match(await asked('hello'), {
    status: 200,
    length: '5',
    text: 'hello',
    cookies: ['a=1', 'b=2'],
  });
  t.ok(await until(async () => (await inFlight()) === 0));
});

t.test('a WebSocket is refused, other offers to upgrade are not taken', async (t) => {
  const asked = (upgrade: string) => {
    const { request, response } = open('hello', 'GET', { connection: 'upgrade', upgrade });
    request.end();
    return response;
  };
  const refused = await asked('websocket');
  t.equal(refused.statusCode, 501);
  t.match(JSON.parse(await new Response(refused as never).text()), {
    code: 'MAYFLY_UPGRADE_REFUSED',
  });
  const taken = await asked('h2c');
  t.equal(taken.statusCode, 200);
  taken.resume();
});
