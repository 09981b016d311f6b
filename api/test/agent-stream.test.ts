/** Bodies that stream, work behind the answer and log lines on their way: the agent, spoken to in frames. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '@mayfly/guest-agent';
import type { Body, InvokeOptions, InvokeResult } from '@mayfly/vmm';
import t from 'tap';
import { FileLayers, ProcessPool } from './process-pool.js';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-stream-'));
const layers = new FileLayers(dir);
const pool = new ProcessPool();
t.teardown(async () => {
  await pool.close();
  rmSync(dir, { recursive: true });
});

const COMMON = {
  id: 'i',
  deadlineMs: Date.now() + 60_000,
  generation: 'g',
  entropy: Buffer.alloc(32, 7).toString('base64'),
  now: 0,
};
const POST = { type: 'request', method: 'POST', url: 'http://h/', headers: [] };
let templates = 0;

async function deploy(module: string): Promise<string> {
  const file = { bytes: Buffer.from(module), executable: false };
  const name = `f${templates++}`;
  await pool.deploy({
    name,
    images: ['/', await layers.files(new Map([['index.mjs', file]]))],
    argv: [process.execPath, ...nodeFlags, '/mayfly/agent-node.cjs'],
    env: { MAYFLY_FUNCTION: '/function/index.mjs', KEPT: 'yes', COLOR: 'blue' },
    memoryBytes: 0,
    bootTimeoutMs: 20_000,
  });
  return name;
}

async function invoke(
  name: string,
  head: object,
  body: Body = new Uint8Array(0),
  options: Partial<InvokeOptions> = {},
) {
  const result = await pool.invoke(
    name,
    { head: { ...COMMON, ...head }, body },
    { place: { worker: 0, clone: 0 }, timeoutMs: 20_000, ...options },
  );
  return result as InvokeResult & { head: Record<string, unknown> };
}

async function piecesOf(body: Body): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for await (const piece of body instanceof Uint8Array ? [body] : body)
    pieces.push(Buffer.from(piece));
  return pieces;
}

const textOf = async (body: Body) => Buffer.concat(await piecesOf(body)).toString();

async function* pieces(count: number, bytes: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(bytes, i);
}

t.test('an answer is seen while the function still makes it', async (t) => {
  const name = await deploy(`
    let go;
    export default { async fetch(request) {
      const reader = request.body.getReader();
      const encoder = new TextEncoder();
      return new Response(new ReadableStream({ async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        controller.enqueue(encoder.encode('<' + new TextDecoder().decode(value) + '>'));
      } }, { highWaterMark: 0 }), { status: 202 });
    } }`);
  let send: (text: string | undefined) => void = () => {};
  const asked = async function* () {
    for (;;) {
      const text = await new Promise<string | undefined>((resolve) => {
        send = resolve;
      });
      if (text === undefined) return;
      yield Buffer.from(text);
    }
  };
  const { head, body, end } = await invoke(name, POST, asked());
  t.match(head, { status: 202, more: true });
  const iterator = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  for (const text of ['a', 'bc', 'd']) {
    send(text);
    const { value } = await iterator.next();
    t.equal(Buffer.from(value).toString(), `<${text}>`, 'each piece comes back before the next');
  }
  send(undefined);
  t.equal((await iterator.next()).done, true);
  t.match(await end, { guestMicros: Number });
});

t.test('bodies at hand are one frame, whatever they are made of', async (t) => {
  const name = await deploy(`
    const parts = [() => 'text', () => new Uint8Array([116, 101, 120, 116]), () => new Blob(['te', 'xt']),
      () => new URLSearchParams('text='), () => new Response('text').body,
      () => new ReadableStream({ start(c) { for (const b of 'text') c.enqueue(Buffer.from(b)); c.close(); } })];
    export default { fetch: async (r) => new Response(parts[await r.text()]()) };`);
  for (let kind = 0; kind < 6; kind++) {
    const { head, body } = await invoke(name, POST, Buffer.from(`${kind}`));
    t.match(await textOf(body), /^text/);
    if (kind !== 2) t.notOk(head.more, `kind ${kind}`);
  }
});

t.test('large bodies come whole, in both directions, one waiting for the other', async (t) => {
  const name = await deploy(`
    import { createHash } from 'node:crypto';
    export default { async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === '/echo') return new Response(request.body);
      if (pathname === '/whole') return new Response(await request.arrayBuffer());
      if (pathname === '/one') return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(20 << 20)); c.close(); } }));
      const hash = createHash('sha256');
      for await (const piece of request.body) hash.update(piece);
      return new Response(hash.digest('hex'));
    } }`);
  const expected = Buffer.concat(await piecesOf(pieces(48, 100_000)));
  for (const path of ['echo', 'whole']) {
    const head = { ...POST, url: `http://h/${path}` };
    const { body } = await invoke(name, head, pieces(48, 100_000));
    t.ok(Buffer.concat(await piecesOf(body)).equals(expected), path);
  }
  const { createHash } = await import('node:crypto');
  const digest = createHash('sha256').update(expected).digest('hex');
  t.equal(await textOf((await invoke(name, POST, pieces(48, 100_000))).body), digest);
  t.equal(await textOf((await invoke(name, POST, expected)).body), digest, 'at hand');
  const one = await invoke(name, { ...POST, url: 'http://h/one' });
  const got = await piecesOf(one.body);
  t.equal(Buffer.concat(got).length, 20 << 20);
  t.ok(got.length > 100, 'in chunks');
});

t.test(
  'a handler gets a body that comes in pieces whole, and may answer at any length',
  async (t) => {
    const name = await deploy(
      'export const handler = (e) => e.body ? e.body.length : "x".repeat(17 << 20);',
    );
    t.equal(await textOf((await invoke(name, POST, pieces(30, 100_000))).body), '3000000');
    t.equal((await textOf((await invoke(name, POST)).body)).length, (17 << 20) + 2);
  },
);

t.test('a function that does not read the body answers all the same', async (t) => {
  const name = await deploy('export default { fetch: () => new Response("no, thanks") };');
  let asked = 0;
  const endless = async function* () {
    for (; ; asked++) {
      yield Buffer.alloc(65_536);
      if (asked > 10_000) throw new Error('everything was read');
    }
  };
  t.equal(await textOf((await invoke(name, POST, endless())).body), 'no, thanks');
});

t.test('whoever reads slowly holds the function up', async (t) => {
  const name = await deploy(`
    let made = 0;
    export default { fetch: () => new Response(new ReadableStream({
      pull(c) { made++; c.enqueue(new Uint8Array(65536).fill(made)); if (made === 2000) c.close(); } })) }`);
  const { body, end } = await invoke(name, POST);
  const iterator = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  await iterator.next();
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(pool.running, 1);
  await iterator.return?.();
  await t.resolves(Promise.race([end.catch(() => {}), new Promise((r) => setTimeout(r, 500))]));
  t.equal(pool.running, 0, 'whoever stops reading ends it');
});

t.test('what breaks off in the middle says why', async (t) => {
  const name = await deploy(`
    const later = (f) => new Promise((r) => setTimeout(r, 20)).then(f);
    const ways = {
      throw: (c) => { throw new Error('boom') },
      error: (c) => c.error(new RangeError('wrong')),
      text: (c) => c.enqueue('text'),
      uncaught: (c) => { setTimeout(() => { throw new Error('late') }); return new Promise(() => {}); },
      rejected: (c) => { Promise.reject(new Error('loose')); return new Promise(() => {}); },
      exit: () => process.exit(4),
      stall: () => new Promise(() => {}),
      die: () => process.kill(process.pid, 'SIGKILL'),
    };
    export default { async fetch(request) {
      const way = ways[await request.text()];
      console.log('before');
      return new Response(new ReadableStream({
        start(c) { c.enqueue(Buffer.from('begun')); },
        pull: (c) => later(() => (console.log('behind'), way(c))) }, { highWaterMark: 2 }));
    } }`);
  const code = async (way: string) => {
    const { head, body, end } = await invoke(name, POST, Buffer.from(way));
    t.match(head, { status: 200, logs: [{ text: 'before' }] });
    let text = '';
    const read = async () => {
      for await (const piece of body as AsyncIterable<Uint8Array>) text += Buffer.from(piece);
    };
    const thrown = await read().catch(
      (error: { code: string; cause?: { code?: string } }) => error,
    );
    t.equal(text, 'begun', way);
    t.equal(await end.catch((error: unknown) => error), thrown);
    const { code, cause } = thrown as { code: string; cause?: Record<string, unknown> };
    if (cause) t.match(cause, { type: 'error', logs: [{ text: 'behind' }] });
    return `${code} ${cause?.code ?? ''}`;
  };
  t.equal(await code('throw'), 'MAYFLY_ANSWER_BROKEN FUNCTION_THREW');
  t.equal(await code('error'), 'MAYFLY_ANSWER_BROKEN FUNCTION_THREW');
  t.equal(await code('text'), 'MAYFLY_ANSWER_BROKEN FUNCTION_BAD_RESULT');
  t.equal(await code('uncaught'), 'MAYFLY_ANSWER_BROKEN FUNCTION_UNCAUGHT');
  t.equal(await code('rejected'), 'MAYFLY_ANSWER_BROKEN FUNCTION_REJECTED');
  t.equal(await code('exit'), 'MAYFLY_ANSWER_BROKEN FUNCTION_EXITED');
  t.equal(await code('stall'), 'MAYFLY_ANSWER_BROKEN FUNCTION_STALLED');
  t.equal(await code('die'), 'MAYFLY_GUEST_EXITED ');
});

t.test('work goes on behind the answer, and the invocation ends after it', async (t) => {
  const name = await deploy(`
    const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
    export default { async fetch(request, env, ctx) {
      const way = await request.text();
      ctx.waitUntil(1);
      if (way === 'more') ctx.waitUntil(sleep(100).then(() => ctx.waitUntil(sleep(100).then(() => console.log('second')))));
      if (way === 'reject') ctx.waitUntil(sleep(50).then(() => { throw new Error('not done') }));
      if (way === 'throw') ctx.waitUntil(new Promise(() => setTimeout(() => { throw new Error('late') }, 50)));
      if (way === 'never') ctx.waitUntil(new Promise(() => {}));
      return new Response('answer');
    } }`);
  const run = async (way: string) => {
    const logs: { text: string }[] = [];
    const onLogs = (lines: unknown) => logs.push(...(lines as { text: string }[]));
    const { head, body, guestMicros, end } = await invoke(name, POST, Buffer.from(way), { onLogs });
    t.equal(await textOf(body), 'answer', way);
    const over = await end.catch((error: { cause: { code: string } }) => error.cause.code);
    return { head, guestMicros, over, logs: logs.map(({ text }) => text) };
  };
  const more = await run('more');
  t.equal(more.head.pending, true);
  t.same(more.logs, ['second']);
  t.ok((more.over as { guestMicros: number }).guestMicros > more.guestMicros + 150_000);
  const reject = await run('reject');
  t.match(reject.over, { guestMicros: Number });
  t.match(reject.logs, [/^waitUntil: Error: not done\n {4}at/]);
  t.equal((await run('throw')).over, 'FUNCTION_UNCAUGHT');
  t.equal((await run('never')).over, 'FUNCTION_STALLED');
  t.notOk((await run('settled')).head.pending, 'what is settled already is not waited for');
  const name2 = await deploy(`export default { fetch(request, env, ctx) {
      return new Response(new ReadableStream({ async start(c) {
        c.enqueue(Buffer.from('a')); await new Promise((r) => setTimeout(r, 20));
        ctx.waitUntil(new Promise((r) => setTimeout(r, 50)).then(() => console.log('after')));
        c.close(); } })) } }`);
  const logs: unknown[] = [];
  const streamed = await invoke(name2, POST, undefined, { onLogs: (lines) => logs.push(lines) });
  t.equal(await textOf(streamed.body), 'a');
  await streamed.end;
  t.match(logs, [[{ text: 'after' }]]);
});

t.test('lines of an invocation that takes long do not wait for its answer', async (t) => {
  const name = await deploy(`export const handler = async () => {
      console.warn('one'); process.stdout.write('tw'); process.stdout.write(Buffer.from('o\\nthr'));
      process.stderr.write('bad\\n', () => console.log('written'));
      await new Promise((r) => setTimeout(r, 600));
      process.stdout.write('ee'); return 1; };`);
  const told: { level: string; text: string }[][] = [];
  const onLogs = (lines: unknown) => told.push(lines as (typeof told)[number]);
  const { head } = await invoke(name, { type: 'event' }, Buffer.from('null'), { onLogs });
  const early = told.flat().map(({ level, text }) => `${level} ${text}`);
  t.same(early.slice(0, 4), ['warn one', 'info two', 'error bad', 'info written']);
  t.equal(
    [...early.slice(4), ...(head.logs as { text: string }[]).map((l) => l.text)].join(''),
    'info three',
  );
});

t.test('a function that writes without end is cut off, and told so', async (t) => {
  const name = await deploy(`export const handler = () => {
      for (let i = 0; i < 200000; i++) process.stdout.write('line ' + i + '\\n');
      return 'fine'; };`);
  let lines = 0;
  const onLogs = (told: unknown) => {
    lines += (told as unknown[]).length;
  };
  const { head, body } = await invoke(name, { type: 'event' }, Buffer.from('null'), { onLogs });
  t.equal(await textOf(body), '"fine"');
  const last = head.logs as { text: string }[];
  t.equal(last.length, 257);
  t.match(last.at(-1)?.text, /^\d+ more lines were dropped$/);
  t.equal(lines + last.length - 1 + Number.parseInt(last.at(-1)?.text ?? '', 10), 200_000);
});

t.test('environment variables that come with the request', async (t) => {
  const name = await deploy(`
    const early = process.env.SECRET;
    export default { fetch: (request, env) => Response.json([early ?? null, env.SECRET ?? null, process.env.SECRET ?? null, env.COLOR, env.KEPT]) };`);
  const env = { SECRET: 's', COLOR: 'red' };
  t.equal(await textOf((await invoke(name, { ...POST, env })).body), '[null,"s","s","red","yes"]');
  t.equal(await textOf((await invoke(name, POST)).body), '[null,null,null,"blue","yes"]');
});

t.test('HEAD: the head of an answer, and no body is made', async (t) => {
  const name = await deploy(
    'export default { fetch: () => new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(9)) } })) }',
  );
  const { head, body } = await invoke(name, { ...POST, method: 'HEAD' });
  t.match(head, { status: 200 });
  t.equal(await textOf(body), '');
});

t.test('headers without end are no answer', async (t) => {
  const name = await deploy(
    `export const handler = () => ({ statusCode: 200, headers: { a: 'x'.repeat(600000) } });`,
  );
  t.match((await invoke(name, POST)).head, {
    code: 'FUNCTION_BAD_RESULT',
    message: /head of the frame/,
  });
});
