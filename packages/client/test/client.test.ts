/** The client against a server that answers as told; the real server is met in the tests of the CLI. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { MayflyClient } from '../src/index.js';

const NDJSON = { 'content-type': 'application/x-ndjson' };

interface Seen {
  line: string;
  type: string | undefined;
  body: string;
}

async function serverAnswering(
  t: { teardown(end: () => void): void },
  status: number,
  body: string,
  type = body.includes('}\n') ? 'application/x-ndjson' : 'application/json',
): Promise<{ client: MayflyClient; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    seen.push({
      line: `${request.method} ${request.url}`,
      type: request.headers['content-type'],
      body: await textOf(request),
    });
    const isRemoval = request.method === 'DELETE' && body.startsWith('{');
    response.writeHead(isRemoval ? 204 : status, { 'x-a': '1', 'content-type': type });
    response.end(isRemoval ? undefined : body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new MayflyClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => {
    client.close();
    server.close();
  });
  return { client, seen };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

t.test('a server that drains is an answer, another refusal is none', async (t) => {
  const draining = await serverAnswering(t, 503, '{"status":"draining"}');
  t.same(await draining.client.readiness(), { status: 'draining' });
  const ready = await serverAnswering(t, 200, '{"status":"ready"}');
  t.same(await ready.client.readiness(), { status: 'ready' });
  const refusing = await serverAnswering(t, 503, '{"code":"C","message":"m","hint":"h"}');
  await t.rejects(refusing.client.readiness(), { code: 'C', status: 503, hint: 'h' });
});

t.test('methods become requests', async (t) => {
  const fields =
    '{"functions":[],"logs":[],"status":"","name":"","version":1,"variables":{},"invocations":1,"id":"",';
  const { client, seen } = await serverAnswering(
    t,
    200,
    `${fields}"function":{}}`,
    'application/x-ndjson',
  );
  await client.health();
  t.same(await client.list(), []);
  await client.get('a/b');
  await client.deploy('f', { source: 's', timeoutMs: 5 });
  t.same(await client.logs('f'), []);
  await client.logs('f', { since: '10m', limit: 3 });
  await client.rollback('f');
  await client.rollback('f', 2);
  await client.changeEnvironment('f', { variables: { A: null } });
  await client.replaceEnvironment('f', { secrets: { S: 's' } });
  await client.functionStats('f');
  await client.invokeLater('f', 1, { version: 3 });
  await client.invocation('i/d');
  await client.stats();
  await client.invoke('f', { a: 1 });
  await client.invoke('f');
  await client.remove('f');
  const answer = await client.request('f', { method: 'POST', path: 'x?y', body: 'b' });
  t.match(answer, { status: 200, headers: { 'x-a': '1' } });
  const json = 'application/json';
  t.match(seen, [
    { line: 'GET /healthz' },
    { line: 'GET /v1/functions' },
    { line: 'GET /v1/functions/a%2Fb' },
    { line: 'PUT /v1/functions/f', type: json, body: '{"source":"s","timeoutMs":5}' },
    { line: 'GET /v1/functions/f/logs' },
    { line: 'GET /v1/functions/f/logs?since=10m&limit=3' },
    { line: 'POST /v1/functions/f/rollback', type: json, body: '{}' },
    { line: 'POST /v1/functions/f/rollback', type: json, body: '{"version":2}' },
    { line: 'PATCH /v1/functions/f/env', type: json, body: '{"variables":{"A":null}}' },
    { line: 'PUT /v1/functions/f/env', type: json, body: '{"secrets":{"S":"s"}}' },
    { line: 'GET /v1/functions/f/stats' },
    { line: 'POST /v1/functions/f/invocations?version=3&async=true', type: json, body: '1' },
    { line: 'GET /v1/invocations/i%2Fd' },
    { line: 'GET /v1/stats' },
    { line: 'POST /v1/functions/f/invocations', type: json, body: '{"a":1}' },
    { line: 'POST /v1/functions/f/invocations', type: json, body: 'null' },
    { line: 'DELETE /v1/functions/f' },
    { line: 'POST /fn/f/x?y', body: 'b' },
  ]);
});

t.test('a deployment tells of its steps, and how it ended', async (t) => {
  const steps = '{"step":"image","ms":0}\n{"step":"boot","ms":9,"imageBytes":7}\n';
  const seen: object[] = [];
  const good = await serverAnswering(t, 200, `${steps}{"function":{"name":"f"}}\n`);
  t.same(await good.client.deploy('f', {}, (step) => seen.push(step)), { name: 'f' });
  t.same(seen, [
    { step: 'image', ms: 0 },
    { step: 'boot', ms: 9, imageBytes: 7 },
  ]);
  const error = '{"error":{"code":"C","message":"m","hint":"h"},"status":400}\n';
  const bad = await serverAnswering(t, 200, steps + error);
  await t.rejects(bad.client.deploy('f', {}), { code: 'C', message: 'm', hint: 'h', status: 400 });
  const gone = await serverAnswering(t, 200, steps);
  await t.rejects(gone.client.deploy('f', {}), { code: 'MAYFLY_CONNECT' });
});

t.test('refusals carry code, status and details', async (t) => {
  const error = { code: 'MAYFLY_X', message: 'no', hint: 'do', stack: 'at x' };
  const { client } = await serverAnswering(t, 404, JSON.stringify(error));
  await t.rejects(client.get('f'), {
    code: 'MAYFLY_X',
    message: 'no',
    hint: 'do',
    status: 404,
    details: { stack: 'at x' },
  });
  t.match(await client.request('f'), { status: 404 });
});

t.test('an answer that is not Mayfly is said to be none', async (t) => {
  const { client } = await serverAnswering(t, 500, '<html>');
  await t.rejects(client.health(), { code: 'MAYFLY_NOT_MAYFLY', status: 500 });
});

t.test('what answers with success and is not Mayfly is told apart by every method', async (t) => {
  for (const [status, body] of [
    [200, '<html>It works</html>'],
    [200, '{"hello":1}'],
    [200, '[]'],
    [200, 'null'],
    [200, ''],
    [204, ''],
    [302, ''],
  ] as const) {
    const { client } = await serverAnswering(t, status, body);
    const drain = async () => {
      for await (const _ of client.followLogs('f'));
    };
    const calls: (() => Promise<unknown>)[] = [
      () => client.health(),
      () => client.readiness(),
      () => client.list(),
      () => client.get('f'),
      () => client.deploy('f', { source: 's' }),
      () => client.versions('f'),
      () => client.rollback('f'),
      () => client.environment('f'),
      () => client.changeEnvironment('f', {}),
      () => client.logs('f'),
      drain,
      () => client.invoke('f'),
      () => client.invocation('i'),
      () => client.invocations('f'),
      () => client.stats(),
      () => client.functionStats('f'),
    ];
    for (const call of calls) {
      await t.rejects(
        call() as Promise<void>,
        { code: 'MAYFLY_NOT_MAYFLY' },
        `${status} ${body}: ${call}`,
      );
    }
    if (status !== 200 || body !== '') continue;
    await t.rejects(client.remove('f'), { code: 'MAYFLY_NOT_MAYFLY' }, 'nothing was removed');
  }
});

t.test('a server below a path', async (t) => {
  const { client, seen } = await serverAnswering(t, 200, '{"functions":[]}');
  const below = new MayflyClient(`${client.url}/some/where/`);
  t.teardown(() => below.close());
  t.equal(below.url, `${client.url}/some/where`);
  await below.list();
  await below.request('f', { path: '/x' });
  t.match(seen, [{ line: 'GET /some/where/v1/functions' }, { line: 'GET /some/where/fn/f/x' }]);
});

t.test('a server that goes away in the middle of its answer', async (t) => {
  const server = createServer((request, response) => {
    response.writeHead(200, NDJSON).write('{"sequence":1}\n{"seq', () => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new MayflyClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => server.close());
  const seen: unknown[] = [];
  const follow = async () => {
    for await (const line of client.followLogs('f')) seen.push(line);
  };
  await t.rejects(follow(), { code: 'MAYFLY_CONNECT' });
  t.same(seen, [{ sequence: 1 }]);
  await t.rejects(client.list(), { code: 'MAYFLY_CONNECT' });
  await t.rejects(client.request('f'), { code: 'MAYFLY_CONNECT' });
});

t.test('a caller that has enough', async (t) => {
  const server = createServer((_request, response) =>
    response.writeHead(200, NDJSON).write('{}\n'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new MayflyClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => server.close());
  const end = new AbortController();
  const follow = async () => {
    for await (const _ of client.followLogs('f', {}, end.signal)) end.abort();
  };
  await t.rejects(follow(), { name: 'AbortError' });
  await t.rejects(client.request('f', { signal: end.signal }), { name: 'AbortError' });
  for await (const _ of client.followLogs('f')) break;
});

t.test('no server, no URL', async (t) => {
  const client = new MayflyClient('http://127.0.0.1:1');
  await t.rejects(client.health(), { code: 'MAYFLY_CONNECT', message: /127\.0\.0\.1:1/ });
  t.throws(() => new MayflyClient('nonsense'), { code: 'MAYFLY_URL' });
  t.throws(() => new MayflyClient('file:///x'), { code: 'MAYFLY_URL' });
});

t.test('a deployment is over with its last line, however late the answer ends', async (t) => {
  let answered: (() => void) | undefined;
  const server = createServer((_request, response) => {
    response.writeHead(200, NDJSON).write('{"step":"image","ms":1}\n{"func');
    setTimeout(() => response.write('tion":{"name":"f"}}\n'), 20);
    answered = () => response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new MayflyClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => {
    answered?.();
    server.close();
  });
  const steps: string[] = [];
  const info = await client.deploy('f', { source: 's' }, ({ step }) => steps.push(step));
  t.same([steps, info], [['image'], { name: 'f' }]);
  await client.close();
});
