/** Deployments, versions and environments, over a pool that tells which template it was asked for. */
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { MayflyError } from '@mayfly/protocol';
import { Validator } from '@seriousme/openapi-schema-validator';
import { open } from 'lmdb';
import t from 'tap';
import { pack } from 'tar-stream';
import { startServer } from '../src/index.js';
import { MemoryPool, noLayers, response } from './memory-pool.js';
import { folder, type Tap, testServer } from './test-server.js';

/** Answers with the number of the version, and the variables of template and invocation. */
function tellingPool(): MemoryPool {
  return new MemoryPool(async ({ env }, _body, _options, spec) => {
    const version = Number(/@(\d+)-/.exec(spec.name)?.[1]);
    const text = JSON.stringify({ version, env: { ...spec.env, ...env } });
    return response(200, Buffer.from(text));
  });
}

async function start(t: Tap, dataDir = folder(t)) {
  const pool = tellingPool();
  const server = await testServer(t, { dataDir, pool });
  const { url, json, close } = server;
  const send = (path: string, method: string, body?: object) =>
    json(path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  const deploy = (name: string, source = 'x') =>
    send(`/v1/functions/${name}`, 'PUT', { source, env: { A: 'deployed' } });
  const served = async (path: string) => (await json(path)).body.version as number;
  return { url, pool, close, json, send, deploy, served };
}

t.test('versions: each by its name, back and forth', async (t) => {
  const { deploy, json, send, served, pool } = await start(t);
  const rollback = (body?: object) => send('/v1/functions/f/rollback', 'POST', body);
  const names = () => [...pool.templates.keys()].map((name) => name.split('-')[0]);
  t.match(await rollback(), { status: 404, body: { code: 'MAYFLY_FUNCTION_UNKNOWN' } });
  for (const n of [1, 2, 3]) t.match(await deploy('f', `${n}`), { body: { version: n } });
  t.match((await json('/v1/functions/f/versions')).body, {
    versions: [
      { version: 3, current: true },
      { version: 2, current: false },
      { version: 1, current: false },
    ],
  });
  t.same(names(), ['f@2', 'f@3'], 'the current version and the last one have templates');
  t.same([await served('/fn/f'), await served('/fn/f@1/x?y'), await served('/fn/f@2')], [3, 1, 2]);
  t.same(names(), ['f@3', 'f@2']);
  const started = [...pool.templates.keys()];
  t.match(await rollback(), { status: 200, body: { version: 2, state: 'ready' } });
  t.same([...pool.templates.keys()], started, 'a rollback to the last one makes no template');
  t.equal(await served('/fn/f'), 2);
  t.match(await rollback({ version: 1 }), { body: { version: 1 } });
  t.match(await rollback(), { status: 404, body: { code: 'MAYFLY_VERSION_UNKNOWN' } });
  t.match(await rollback({ version: 9 }), {
    status: 404,
    body: { code: 'MAYFLY_VERSION_UNKNOWN' },
  });
  t.match(await rollback({ version: 0 }), {
    status: 400,
    body: { code: 'MAYFLY_REQUEST_INVALID' },
  });
  t.equal(await served('/fn/f'), 1);
  for (const path of ['/fn/f@9', '/fn/f@x', '/fn/f@1@2', '/fn/f@']) {
    t.match((await json(path)).body, { code: 'MAYFLY_VERSION_UNKNOWN' }, path);
  }
  t.match(await deploy('f', '4'), { body: { version: 4 } });
});

t.test('a rollback that fails leaves what served', async (t) => {
  const { deploy, send, served, pool } = await start(t);
  for (const n of [1, 2, 3]) await deploy('f', `${n}`);
  pool.boot = () => Promise.reject(new MayflyError('MAYFLY_BOOT_FAILED', 'of a test'));
  const failed = await send('/v1/functions/f/rollback', 'POST', { version: 1 });
  t.match(failed, { status: 502, body: { code: 'MAYFLY_BOOT_FAILED' } });
  t.equal(await served('/fn/f'), 3);
});

t.test('deployments of one name at once: the one that came last serves', async (t) => {
  const { deploy, pool, served, json } = await start(t);
  let boots = 0;
  let most = 0;
  pool.boot = async () => {
    most = Math.max(most, ++boots);
    await new Promise((resolve) => setTimeout(resolve, 20));
    boots--;
  };
  const infos = await Promise.all(['1', '2', '3', '4'].map((source) => deploy('f', source)));
  const versions = infos.map(({ body }) => body.version);
  t.same([...versions].sort(), [1, 2, 3, 4]);
  t.equal(most, 1, 'one after the other');
  t.equal(await served('/fn/f'), 4);
  const last = infos.find(({ body }) => body.version === 4)?.body.sourceDigest;
  t.equal((await json('/v1/functions/f')).body.sourceDigest, last);
});

t.test('of many versions the oldest are forgotten, the current one never', async (t) => {
  const { deploy, json, send, served } = await start(t);
  await deploy('f');
  for (let n = 2; n <= 50; n++) await deploy('f', `${n}`);
  await send('/v1/functions/f/rollback', 'POST', { version: 1 });
  for (let n = 51; n <= 102; n++) await deploy('f', `${n}`);
  const { versions } = (await json('/v1/functions/f/versions')).body;
  t.equal(versions.length, 100);
  t.equal(versions.at(-1).version, 3);
  t.match((await json('/fn/f@2')).body, { code: 'MAYFLY_VERSION_UNKNOWN' });
  t.equal(await served('/fn/f@3'), 3);
});

t.test('the environment changes without a deployment, and is there after a restart', async (t) => {
  const dataDir = folder(t);
  const first = await start(t, dataDir);
  await first.deploy('f');
  const path = '/v1/functions/f/env';
  const set = { variables: { A: 'set', B: 'b' }, secrets: { S: 'hidden' } };
  t.same((await first.send(path, 'PUT', set)).body, { variables: set.variables, secrets: ['S'] });
  t.match((await first.json('/fn/f')).body.env, { A: 'set', B: 'b', S: 'hidden' });
  await first.close();
  const { json, send } = await start(t, dataDir);
  t.match((await json('/fn/f')).body.env, { A: 'set', B: 'b', S: 'hidden' });
  const patched = await send(path, 'PATCH', { variables: { A: null, B: 'c' } });
  t.same(patched.body, { variables: { B: 'c' }, secrets: ['S'] });
  t.match((await json('/fn/f')).body.env, { A: 'deployed', B: 'c', S: 'hidden' });
  const bad = await send(path, 'PUT', { variables: { 'A-B': '' } });
  t.match(bad.body, { code: 'MAYFLY_REQUEST_INVALID', message: /A-B/ });
  const many = Object.fromEntries(Array.from({ length: 128 }, (_, i) => [`V${i}`, '']));
  t.match(await send(path, 'PATCH', { variables: many }), { status: 400 });
  t.equal((await json(path, { method: 'DELETE' })).status, 204);
  t.match((await json('/fn/f')).body.env, { A: 'deployed', B: undefined, S: undefined });
  t.match((await json('/v1/functions/none/env')).body, { code: 'MAYFLY_FUNCTION_UNKNOWN' });
});

t.test('a server that reads no frames is booted again with its variables', async (t) => {
  const { json, send, pool } = await start(t);
  const deploy = (source: string) =>
    send('/v1/functions/f', 'PUT', {
      runtime: 'http',
      command: ['node', 'server.js'],
      files: { 'server.js': source },
      env: { A: 'deployed' },
    });
  const booted = () =>
    [...pool.templates.values()].map(({ env, stored }) => [env.A, env.S, stored]);
  const stored = (version: string) => ({ group: 'f', version });
  const path = '/v1/functions/f/env';
  await deploy('1');
  await send(path, 'PUT', { variables: { A: 'set' } });
  t.same(booted(), [['set', undefined, stored('1')]]);
  await deploy('2');
  t.same(booted().length, 2, 'the last version is there for a rollback');
  await send(path, 'PATCH', { secrets: { S: 'hidden' } });
  t.same(booted(), [['set', 'hidden', undefined]], 'secrets are not stored; others boot anew');
  t.match((await json('/fn/f@1')).body, { version: 1, env: { A: 'set', S: 'hidden' } });

  let serves: unknown;
  pool.boot = async () => {
    serves = (await json('/fn/f')).body.env;
    throw new MayflyError('MAYFLY_BOOT_FAILED', 'it wants S');
  };
  t.match(await send(path, 'PUT', {}), { body: { code: 'MAYFLY_BOOT_FAILED' } });
  t.match(serves, { S: 'hidden' }, 'the old one serves meanwhile');
  t.same((await json(path)).body, { variables: { A: 'set' }, secrets: ['S'] });
  t.match((await json('/fn/f')).body, { version: 2, env: { S: 'hidden' } });
});

t.test('calls go on while what serves is deployed, rolled back and booted anew', async (t) => {
  const { json, send, pool } = await start(t);
  const answer = pool.behave;
  const later = () => new Promise<void>((resolve) => setTimeout(resolve, 5));
  pool.behave = (...call) => later().then(() => answer(...call)); // a template may be gone by then
  pool.boot = later;
  const deploy = (version: number) =>
    send('/v1/functions/f', 'PUT', {
      runtime: 'http',
      command: ['node', 'server.js'],
      files: { 'server.js': `${version}` },
    });
  const set = (S: string) => send('/v1/functions/f/env', 'PATCH', { variables: { S } });
  const rollback = (body?: object) => send('/v1/functions/f/rollback', 'POST', body);
  await deploy(1);
  const seen = new Map<string, number>();
  let over = false;
  const callers = Array.from({ length: 8 }, async () => {
    while (!over) {
      const { status, body } = await json('/fn/f/x');
      const what = `${status} ${body.code ?? `${body.version} ${body.env.S}`}`;
      seen.set(what, (seen.get(what) ?? 0) + 1);
    }
  });
  for (let round = 0; round < 2; round++) {
    t.equal((await deploy(2)).status, 200);
    t.equal((await set('a')).status, 200);
    t.equal((await rollback()).status, 200);
    t.equal((await set('b')).status, 200);
    t.equal((await rollback({ version: 1 })).status, 200);
  }
  over = true;
  await Promise.all(callers);
  const wrong = [...seen.keys()].filter((what) => !/^200 \d+ (a|b|undefined)$/.test(what));
  t.same(wrong, []);
  t.ok(seen.size > 3, [...seen.keys()].join(', '));
  t.match(await json('/fn/f'), { status: 200, body: { version: 1, env: { S: 'b' } } });
  t.ok(pool.templates.size <= 2, 'what does not serve any more is gone');
});

t.test('a deployment tells of its steps when it is asked to', async (t) => {
  const { url, pool } = await start(t);
  const deploy = async (source: string) => {
    const headers = { accept: 'application/x-ndjson', 'content-type': 'application/json' };
    const body = JSON.stringify({ source });
    const answer = await fetch(`${url}/v1/functions/f`, { method: 'PUT', headers, body });
    t.equal(answer.headers.get('content-type'), 'application/x-ndjson');
    return (await answer.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
  };
  t.match(await deploy('x'), [
    { step: 'image', ms: Number },
    { step: 'boot', imageBytes: Number },
    { step: 'store' },
    { function: { name: 'f', version: 1, state: 'ready' } },
  ]);
  t.match(await deploy('x ='), [
    { step: 'image' },
    { status: 400, error: { code: 'MAYFLY_SOURCE_INVALID', message: /f\.js:1:4/ } },
  ]);
  pool.boot = () => Promise.reject(new MayflyError('MAYFLY_BOOT_FAILED', 'no'));
  t.match((await deploy('x')).at(-1), { error: { code: 'MAYFLY_BOOT_FAILED' } });
});

t.test('a deployment is answered at once, though it waits for another one', async (t) => {
  const { url, pool } = await start(t);
  let goOn = () => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  pool.boot = async () => {
    await held;
    throw new MayflyError('MAYFLY_BOOT_FAILED', 'no');
  };
  const deploy = () =>
    fetch(`${url}/v1/functions/f`, {
      method: 'PUT',
      headers: { accept: 'application/x-ndjson', 'content-type': 'text/javascript' },
      body: 'x',
    });
  const [first, second] = await Promise.all([deploy(), deploy()]);
  t.same([first.status, second.status], [200, 200]);
  await second.body?.cancel();
  goOn();
  t.match(await first.text(), /MAYFLY_BOOT_FAILED/);
});

t.test('an archive is deployed over HTTP', async (t) => {
  const { json } = await start(t);
  const put = (body: Uint8Array, type: string) =>
    json('/v1/functions/f', { method: 'PUT', headers: { 'content-type': type }, body });
  const archive = pack();
  archive.entry({ name: 'mayfly.json' }, '{"timeoutMs":1234,"env":{"A":"a"}}');
  archive.entry({ name: 'index.js' }, 'export const handler = () => process.env.A');
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  const bytes = Buffer.concat(parts);
  t.match(await put(bytes, 'application/x-tar'), { body: { version: 1, timeoutMs: 1234 } });
  t.match(await put(gzipSync(bytes), 'application/gzip'), { body: { version: 2 } });
  t.match((await json('/fn/f')).body.env, { A: 'a' });
  const invalid = { status: 400, body: { code: 'MAYFLY_ARCHIVE_INVALID' } };
  t.match(await put(bytes.subarray(0, 700), 'application/x-tar'), invalid);
  t.match(await put(bytes, 'image/png'), { status: 415, body: { code: 'MAYFLY_MEDIA_TYPE' } });
  const huge = { status: 413, body: { code: 'MAYFLY_BODY_TOO_LARGE' } };
  t.match(await put(Buffer.alloc(64 * 1024 * 1024 + 1), 'application/x-tar'), huge);
  t.match((await json('/v1/functions/f')).body, { version: 2 });
});

t.test('the API is described, and the page that shows it needs no other host', async (t) => {
  const { json, url } = await start(t);
  const { body } = await json('/openapi.json');
  t.match(body, { openapi: /^3\.1/, paths: { '/v1/functions/{name}': { put: {}, get: {} } } });
  const operations = Object.entries(body.paths).filter(([path]) => path.startsWith('/v1/'));
  for (const [path, methods] of operations as [string, object][]) {
    for (const [method, { summary }] of Object.entries(methods)) t.ok(summary, `${method} ${path}`);
  }
  const { valid, errors } = await new Validator().validate(structuredClone(body));
  t.ok(valid, JSON.stringify(errors));
  type Operation = { operationId?: string };
  const described = Object.values(body.paths as Record<string, Record<string, Operation>>);
  const ids = described.flatMap((methods) =>
    Object.values(methods).flatMap(({ operationId }) => operationId ?? []),
  );
  t.equal(new Set(ids).size, ids.length, 'each operation has a name of its own');
  t.ok(ids.length > 15);
  const page = await (await fetch(`${url}/docs`)).text();
  t.match(page, /swagger-ui/i);
  t.notMatch(page, /(src|href)="(https?:)?\/\//);
});

t.test('a data folder that cannot be one', async (t) => {
  const dataDir = folder(t);
  const file = join(dataDir, 'file');
  writeFileSync(file, '');
  const started = (dir: string) =>
    startServer({ port: 0, dataDir: dir, pool: tellingPool(), layers: noLayers });
  for (const dir of [file, join(file, 'below'), '/dev/null']) {
    await t.rejects(started(dir), { code: 'MAYFLY_STORE_UNUSABLE', message: new RegExp(dir) });
  }
  const server = await started(dataDir);
  const { size, blocks } = statSync(join(dataDir, 'mayfly.mdb-lock'));
  t.ok(blocks * 512 >= size, 'what LMDB maps has room on the disk');
  await server.close();
});

t.test('secrets on disk are read by nobody else', async (t) => {
  const dataDir = join(folder(t), 'data');
  const modes = () =>
    [dataDir, join(dataDir, 'mayfly.mdb')].map((path) => statSync(path).mode & 0o777);
  const started = () => startServer({ port: 0, dataDir, pool: tellingPool(), layers: noLayers });
  await (await started()).close();
  t.same(modes(), [0o700, 0o600]);
  chmodSync(join(dataDir, 'mayfly.mdb'), 0o644);
  await (await started()).close();
  t.same(modes(), [0o700, 0o600], 'a file of an earlier server');
});

t.test('a damaged store is named, one of another format, and one that is in use', async (t) => {
  const dataDir = folder(t);
  const options = { port: 0, dataDir, pool: tellingPool(), layers: noLayers };
  const server = await startServer(options);
  await t.rejects(startServer(options), { code: 'MAYFLY_STORE_IN_USE' });
  await server.close();
  const database = open({ path: join(dataDir, 'mayfly.mdb') });
  await database.put('format', 99);
  await database.close();
  await t.rejects(startServer(options), { code: 'MAYFLY_STORE_FORMAT', message: /format 99/ });
  writeFileSync(join(dataDir, 'mayfly.mdb'), '{"name":'.repeat(1000));
  await t.rejects(startServer(options), { code: 'MAYFLY_STORE_DAMAGED', message: /mayfly\.mdb/ });
});
