import { METHODS } from 'node:http';
import { connect } from 'node:net';
import type { RequestHead } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import { startServer } from '../src/index.js';
import { goodServer } from './good-server.js';
import { echo, MemoryPool, noLayers, response } from './memory-pool.js';
import { raw } from './raw-http.js';

const pool = new MemoryPool();
const { url, port, json, othersNoticeNothing } = await goodServer(pool);

const ask = (bytes: string | Uint8Array, ms?: number) => raw(port, bytes, ms);

const CLOSE = 'host: h\r\nconnection: close\r\n';
const GET = 'GET /fn/good HTTP/1.1\r\nhost: h\r\n';
const POST = 'POST /fn/good HTTP/1.1\r\nhost: h\r\n';
const CHUNKED = `${POST}transfer-encoding: chunked\r\n`;

t.test('what is no HTTP is answered and cut', async (t) => {
  const cases: [what: string, bytes: string, status: number][] = [
    ['noise', '\0\u0001\u0002 hello\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['HTTP/1.2', 'GET / HTTP/1.2\r\nhost: h\r\n\r\n', 400],
    ['a method that is none', 'FETCH / HTTP/1.1\r\nhost: h\r\n\r\n', 400],
    ['a path that is not ASCII', 'GET /fn/good/\xe4 HTTP/1.1\r\nhost: h\r\n\r\n', 400],
    ['a header without a name', `${GET}: x\r\n\r\n`, 400],
    ['a NUL in a header', `${GET}a: \0\r\n\r\n`, 400],
    ['a folded header', `${GET}a: b\r\n c: d\r\n\r\n`, 400],
    ['a CR alone', `${GET}a: b\rc: d\r\n\r\n`, 400],
    ['LF alone', 'GET /fn/good HTTP/1.1\nhost: h\n\n', 400],
    ['no host', 'GET /fn/good HTTP/1.1\r\n\r\n', 400],
    ['two hosts', `${GET}host: i\r\nconnection: close\r\n\r\n`, 400],
    ['two lengths', `${POST}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, 400],
    ['a length twice', `${POST}content-length: 1\r\ncontent-length: 1\r\n\r\na`, 400],
    ['lengths in one header', `${POST}content-length: 1, 1\r\n\r\na`, 400],
    ['a negative length', `${POST}content-length: -1\r\n\r\n`, 400],
    ['a length with a sign', `${POST}content-length: +1\r\n\r\na`, 400],
    ['a length beyond 64 bits', `${POST}content-length: 99999999999999999999999\r\n\r\n`, 400],
    ['a length beyond all limits', `${POST}content-length: 99999999999\r\n\r\n`, 413],
    [
      'length and chunks',
      `${POST}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['chunks and length', `${CHUNKED}content-length: 3\r\n\r\n0\r\n\r\n${GET}\r\n`, 400],
    [
      'identity and length',
      `${POST}transfer-encoding: identity\r\ncontent-length: 1\r\n\r\na`,
      400,
    ],
    ['chunked twice', `${POST}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n`, 400],
    ['chunked not last', `${POST}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 400],
    ['two encodings', `${CHUNKED}transfer-encoding: x\r\n\r\n0\r\n\r\n`, 400],
    ['an encoding before a space', `${POST}transfer-encoding : chunked\r\n\r\n0\r\n\r\n`, 400],
    ['an encoding behind a tab', `${POST}transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n`, 400],
    ['an unknown encoding', `${POST}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
    ['a chunk in hexadecimal with 0x', `${CHUNKED}\r\n0x3\r\nabc\r\n0\r\n\r\n`, 400],
    ['a chunk without a length', `${CHUNKED}\r\nzz\r\n`, 400],
    ['headers without end', `${GET}${'a: b\r\n'.repeat(100_000)}`, 431],
    ['a long URL', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: h\r\n\r\n`, 431],
    ['CONNECT', 'CONNECT h:80 HTTP/1.1\r\nhost: h\r\n\r\n', 404],
    ['TRACE', `TRACE /fn/good HTTP/1.1\r\n${CLOSE}\r\n`, 404],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n', 404],
  ];
  await Promise.all(
    cases.map(async ([what, bytes, status]) => {
      const answer = await ask(Buffer.from(bytes, 'latin1'), 10_000);
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what);
      t.match(answer, /"code":"MAYFLY_(?:REQUEST_INVALID|BODY_TOO_LARGE|ROUTE_UNKNOWN)"/, what);
      t.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, `${what}: nothing behind it is answered`);
    }),
  );
  await othersNoticeNothing(t);
});

t.test('what can be got has a head', async (t) => {
  for (const path of [
    '/healthz',
    '/readyz',
    '/metrics',
    '/v1/functions',
    '/docs',
    '/openapi.json',
  ]) {
    const answer = await fetch(url + path, { method: 'HEAD' });
    t.equal(answer.status, 200, path);
    t.equal(await answer.text(), '', path);
  }
  t.equal((await fetch(`${url}/v1/functions/none`, { method: 'HEAD' })).status, 404);
});

t.test('a body is asked for when it will be read, and not when it is refused', async (t) => {
  const PUT = 'PUT /v1/functions/asked HTTP/1.1\r\nhost: h\r\ncontent-type: text/javascript\r\n';
  const expects = 'expect: 100-continue\r\n\r\n';
  const refused: [what: string, head: string, status: number][] = [
    ['too long for a function', `${POST}content-length: 9999999999\r\n`, 413],
    ['too long for a deployment', `${PUT}content-length: 99999999\r\n`, 413],
    [
      'too long for an event',
      'POST /v1/functions/good/invocations HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n',
      413,
    ],
    ['no such function', 'POST /fn/none HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n', 404],
    ['no such route', 'POST /none HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n', 404],
    [
      'no such route, in chunks',
      'POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n',
      404,
    ],
  ];
  await Promise.all(
    refused.map(async ([what, head, status]) => {
      const answer = await ask(head + expects, 10_000);
      t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), what);
      t.match(
        answer,
        /^connection: close\r$/m,
        `${what}: the client may send it all the same, or not`,
      );
      t.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, what);
    }),
  );
  const read: [what: string, head: string, body: string, answer: RegExp][] = [
    ['with a length', `${POST}content-length: 4\r\n`, 'body', / 200 OK[\s\S]*POST http/],
    ['in chunks', CHUNKED, '4\r\nbody\r\n0\r\n\r\n', / 200 OK[\s\S]*POST http/],
    ['empty', `${POST}content-length: 0\r\n`, '', / 200 OK[\s\S]*POST http/],
    [
      'of an event',
      'POST /v1/functions/good/invocations HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n',
      'null',
      / (?:200|502) /,
    ],
    ['of a deployment', `${PUT}content-length: 1\r\n`, 'x', / 200 OK/],
  ];
  pool.behave = async (head, body, ...rest) => {
    if (!(body instanceof Uint8Array)) for await (const _ of body);
    return echo(head, body, ...rest);
  };
  for (const [what, head, body, expected] of read) {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    const seen = async (wanted: RegExp) => {
      for (let tries = 0; tries < 500 && !wanted.test(text); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return wanted.test(text);
    };
    socket.write(head + expects);
    if (body !== '') {
      t.ok(await seen(/^HTTP\/1\.1 100 Continue\r\n\r\n$/), `${what}: it is asked for`);
      socket.write(body);
    }
    t.ok(await seen(expected), `${what}: it is answered`);
    t.equal(text.match(/ 100 Continue/g)?.length ?? 0, body === '' ? 0 : 1, what);
    socket.destroy();
  }
  pool.behave = echo;
  await othersNoticeNothing(t);
});

t.test('what is HTTP, and rare', async (t) => {
  const many = Array.from({ length: 2200 }, (_, i) => `h${i.toString(36)}:\r\n`).join('');
  const cases: [what: string, bytes: string, body: RegExp][] = [
    ['absolute', `GET http://i/fn/good/x?y HTTP/1.1\r\n${CLOSE}\r\n`, /GET http:\/\/i\/x\?y$/],
    ['HTTP/1.0', 'GET /fn/good HTTP/1.0\r\n\r\n', /GET http:\/\/localhost\/$/],
    [
      'an expectation',
      `${POST}expect: miracles\r\nconnection: close\r\n\r\n`,
      /POST http:\/\/h\/$/,
    ],
    ['an offer of HTTP/2', `${GET}connection: close, upgrade\r\nupgrade: h2c\r\n\r\n`, /GET/],
    ['many headers', `${GET}${many}connection: close\r\n\r\n`, /GET/],
    [
      'dots',
      `GET /fn/good/../../v1/x HTTP/1.1\r\n${CLOSE}\r\n`,
      /GET http:\/\/h\/\.\.\/\.\.\/v1\/x$/,
    ],
    [
      'a name in percents',
      `GET /fn/%67ood/%2e%2e HTTP/1.1\r\n${CLOSE}\r\n`,
      /GET http:\/\/h\/%2e%2e$/,
    ],
    [
      'dots and slashes in percents',
      `GET /fn/good/..%2f..%2Fv1%2ffunctions HTTP/1.1\r\n${CLOSE}\r\n`,
      /GET http:\/\/h\/\.\.%2f\.\.%2Fv1%2ffunctions$/,
    ],
    [
      'two slashes behind the name',
      `GET /fn/good//i/x HTTP/1.1\r\n${CLOSE}\r\n`,
      /GET http:\/\/h\/\/i\/x$/,
    ],
    ['OPTIONS', `OPTIONS /fn/good HTTP/1.1\r\n${CLOSE}\r\n`, /OPTIONS http:\/\/h\/$/],
    ['HEAD', `HEAD /fn/good HTTP/1.1\r\n${CLOSE}\r\n`, /content-length: 14\r\n[\s\S]*\r\n\r\n$/],
  ];
  let headers = 0;
  pool.behave = (head, ...rest) => {
    if (head.type === 'request') headers = Math.max(headers, head.headers.length);
    return echo(head, ...rest);
  };
  for (const [what, bytes, body] of cases) {
    const answer = await ask(bytes, 10_000);
    t.match(answer, /^HTTP\/1\.1 200 /, what);
    t.match(answer, body, what);
  }
  t.equal(headers, 2201, 'no header is dropped');
  const pipelined = [1, 2, 3].map(
    (n) => `POST /fn/good/${n} HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab`,
  );
  pool.behave = async (head, ...rest) => {
    const isFirst = head.type === 'request' && head.url.endsWith('/1');
    await new Promise((resolve) => setTimeout(resolve, isFirst ? 50 : 0));
    return echo(head, ...rest);
  };
  const answers = await ask(`${pipelined.join('')}GET /fn/good/4 HTTP/1.1\r\n${CLOSE}\r\n`);
  t.match(answers, /\/1(?:HTTP.*)\/2(?:HTTP.*)\/3(?:HTTP.*)\/4$/s, 'in the order of the requests');
  pool.behave = echo;
});

t.test('every method reaches a function, with its body if it has one', async (t) => {
  pool.behave = async (head, body) => {
    const pieces: Uint8Array[] = [];
    if (body instanceof Uint8Array) pieces.push(body);
    else for await (const piece of body) pieces.push(piece);
    const { method, headers } = head as RequestHead;
    const names = headers.map(([name]) => name).join();
    return response(200, Buffer.from(`${method} ${Buffer.concat(pieces)} ${names}`));
  };
  const own = ['CONNECT', 'TRACE', 'HEAD'];
  for (const method of METHODS.filter((method) => !own.includes(method))) {
    const head = `${method} /fn/good/x HTTP/1.1\r\n${CLOSE}`;
    const sized = await ask(`${head}content-length: 2\r\n\r\nab`, 10_000);
    t.match(
      sized,
      new RegExp(`^HTTP/1.1 200 [\\s\\S]*\r\n${method} ab host,content-length$`),
      method,
    );
    const chunks = 'transfer-encoding: chunked\r\ntrailer: t\r\n\r\n2\r\nab\r\n0\r\nt: u\r\n\r\n';
    const answer = await ask(head + chunks, 10_000);
    t.match(
      answer,
      new RegExp(`^HTTP/1.1 200 [\\s\\S]*\r\n${method} ab host$`),
      `${method} in chunks`,
    );
    t.match(await ask(`${head}\r\n`, 10_000), new RegExp(`${method}  host$`), `${method} without`);
  }
  pool.behave = echo;
});

t.test('nothing is said in the middle of an answer', async (t) => {
  pool.behave = async (_head, body) => response(200, body);
  const answer = await ask(`${CHUNKED}\r\n3\r\nabc\r\nzz\r\n`);
  t.match(answer, /^HTTP\/1\.1 200 /);
  t.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1);
  t.notMatch(answer, /\r\n0\r\n\r\n$/, 'and it does not end as if it were whole');
  pool.behave = echo;
});

t.test('a client that writes to the end before it reads gets the refusal', async (t) => {
  const body = Buffer.alloc(20 * 1024 * 1024, ' ');
  for (const more of ['', 'connection: close\r\n']) {
    const socket = connect(port, '127.0.0.1').pause();
    const head = `POST /v1/functions/good/invocations HTTP/1.1\r\nhost: h\r\n${more}content-length: ${body.length}\r\n\r\n`;
    const written = await new Promise((resolve) => {
      socket.on('error', resolve);
      socket.write(Buffer.concat([Buffer.from(head), body]), () => resolve('all'));
    });
    t.equal(written, 'all');
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text)).resume();
    });
    t.match(
      answer,
      /^HTTP\/1\.1 413 .*"code":"MAYFLY_BODY_TOO_LARGE","message":"[^"]* more than \d+ bytes"/s,
    );
  }
  await othersNoticeNothing(t);
});

t.test('headers that do not come to an end are cut, drop by drop or not at all', async (t) => {
  const dataDir = t.testdir();
  const limits = { headersMs: 400 };
  const options = { port: 0, dataDir, pool: new MemoryPool(), layers: noLayers, limits };
  const slow = await startServer({ ...options, logLevel: 'silent' });
  t.teardown(() => slow.close());
  const at = Number(new URL(slow.url).port);
  const silent = raw(at, 'GET /healthz HTTP/1.1\r\nhost: h\r\n', 10_000);
  const socket = connect(at, '127.0.0.1');
  const drops = setInterval(() => socket.write('a: b\r\n'), 50);
  const dripping = new Promise<string>((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => {}).on('close', () => resolve(text));
  });
  socket.write('GET /healthz HTTP/1.1\r\nhost: h\r\n');
  t.equal((await fetch(`${slow.url}/healthz`)).status, 200, 'others are served meanwhile');
  for (const answer of [await silent, await dripping]) {
    t.match(answer, /^HTTP\/1\.1 408 .*"code":"MAYFLY_REQUEST_INVALID"/s);
  }
  clearInterval(drops);
  t.match(await raw(at, '', 10_000), /^HTTP\/1\.1 408 /, 'silence from the start, too');
});

t.test('bodies that do not come to an end are cut', async (t) => {
  const dataDir = t.testdir();
  const limits = { headersMs: 400, requestMs: 800 };
  const pool = new MemoryPool(async (head, body) => {
    if (!(body instanceof Uint8Array)) for await (const _ of body);
    return echo(head, body, {} as never, {} as never);
  });
  const options = { port: 0, dataDir, pool, layers: noLayers, limits };
  const slow = await startServer({ ...options, logLevel: 'silent' });
  t.teardown(() => slow.close());
  await fetch(`${slow.url}/v1/functions/good`, { method: 'PUT', body: 'x' });
  const at = Number(new URL(slow.url).port);
  for (const [what, head] of [
    ['a short one', `${POST}content-length: 9\r\n\r\nabc`],
    ['one that streams', `${CHUNKED}\r\n3\r\nabc\r\n`],
    ['of a deployment', 'PUT /v1/functions/f HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc'],
  ] as const) {
    const begun = performance.now();
    const answer = await raw(at, head, 20_000);
    t.ok(performance.now() - begun < 15_000, `${what}: the connection ends`);
    t.match(answer, /^HTTP\/1\.1 408 .*"code":"MAYFLY_REQUEST_INVALID"/s, what);
  }
  t.match(await (await fetch(`${slow.url}/v1/functions/good`)).json(), { version: 1 });
  const metrics = await (await fetch(`${slow.url}/metrics`)).text();
  t.match(metrics, /^mayfly_in_flight 0$/m, 'none is left under way');
});

t.test('JSON that is deep does no harm', async (t) => {
  const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  const invoke = (body: string, query = '') =>
    json(`/v1/functions/good/invocations${query}`, { method: 'POST', body });
  t.match(await invoke(deep(256)), { status: 200, body: { result: [] } });
  t.match(await invoke(`"${deep(500)}\\"["`), { status: 200 }, 'brackets in a text are none');
  for (const query of ['', '?async=true']) {
    const refused = { status: 400, body: { code: 'MAYFLY_REQUEST_INVALID', message: /deeper/ } };
    t.match(await invoke(deep(257), query), refused);
    t.match(await invoke(deep(100_000), query), refused);
  }
  pool.behave = async () => ({
    head: { type: 'result', logs: [] },
    body: Buffer.from(deep(100_000)),
  });
  t.match(await invoke('1'), { status: 502, body: { code: 'MAYFLY_GUEST_ANSWER' } });
  pool.behave = echo;
  t.match(await (await fetch(`${url}/metrics`)).text(), /^mayfly_records_dropped_total 0$/m);
});

t.test('variables that no guest could take', async (t) => {
  const put = (path: string, body: string) =>
    json(path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body });
  const long = 'x'.repeat(32 * 1024);
  const sum = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`V${i}`, long]));
  const many = Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`V${i}`, '']));
  for (const [variables, why] of [
    [JSON.stringify({ A: `${long}x` }), /32768 characters/],
    [JSON.stringify({ A: 'a\0b' }), /\.A must match/],
    [JSON.stringify(sum), /\d+ bytes together, at most \d+/],
    [JSON.stringify(many), /128/],
    ['{"__proto__":"x"}', /__proto__/],
    ['{"MAYFLY_X":"x"}', /MAYFLY_X/],
    ['{"A=B":"x"}', /A=B/],
  ] as const) {
    const refused = { status: 400, body: { code: 'MAYFLY_REQUEST_INVALID', message: why } };
    const path = '/v1/functions/good';
    t.match(await put(`${path}/env`, `{"variables":${variables}}`), refused, why.source);
    t.match(await put(path, `{"source":"x","env":${variables}}`), refused, why.source);
  }
  t.match((await json('/v1/functions/good')).body, { version: 1 });
});

t.test('any bytes at all leave the server well', async (t) => {
  const start = fc.constantFrom(
    '',
    'GET ',
    'POST /fn/good HTTP/1.1\r\n',
    'PUT /v1/functions/good HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n',
  );
  await fc.assert(
    fc.asyncProperty(start, fc.uint8Array({ minLength: 1, maxLength: 200 }), async (head, tail) => {
      const answer = await ask(Buffer.concat([Buffer.from(head), tail]), 30);
      return answer === '' || answer.startsWith('HTTP/1.1 ');
    }),
    { numRuns: 60, interruptAfterTimeLimit: 10_000 },
  );
  await othersNoticeNothing(t);
});

t.test('any request at all has an answer, with a code if it is none', async (t) => {
  const text = fc.string({ maxLength: 12 });
  const percent = text.map(encodeURIComponent);
  const name = fc.oneof({ weight: 3, arbitrary: fc.constantFrom('one', 'two', 'one@1') }, percent);
  const key = fc.constantFrom(
    'limit',
    'since',
    'after',
    'async',
    'version',
    'invocation',
    '__proto__',
  );
  const query = fc.array(fc.tuple(key, fc.oneof(percent, fc.constantFrom('1', 'true', '10m'))), {
    maxLength: 2,
  });
  const rest = fc.constantFrom(
    '',
    '/versions',
    '/rollback',
    '/env',
    '/logs',
    '/invocations',
    '/stats',
    '/',
  );
  const path = fc.oneof(
    fc.tuple(name, rest).map(([name, rest]) => `/v1/functions/${name}${rest}`),
    fc.tuple(name, percent).map(([name, path]) => `/fn/${name}/${path}`),
    fc.constantFrom(
      '/v1/functions',
      '/v1/stats',
      '/healthz',
      '/openapi.json',
      '/docs/json',
      '/v1/invocations/x',
    ),
    percent.map((path) => `/${path}`),
  );
  const value = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom('A', '__proto__', 'a b', 'index.js'), fc.jsonValue()),
  );
  const fields = [
    'source',
    'files',
    'env',
    'runtime',
    'entry',
    'variables',
    'secrets',
    'version',
    'memoryBytes',
    'network',
    '__proto__',
  ];
  const body = fc.oneof(
    fc.dictionary(fc.constantFrom(...fields), value).map((value) => JSON.stringify(value)),
    fc.constant('{"source":"export const handler = () => 1"}'),
    fc.json(),
    text,
  );
  const type = fc.constantFrom(
    'application/json',
    'text/javascript',
    'application/gzip',
    'x/y',
    ';',
    '',
  );
  const method = fc.constantFrom(
    'GET',
    'PUT',
    'POST',
    'PATCH',
    'DELETE',
    'HEAD',
    'OPTIONS',
    'PROPFIND',
  );
  const seen = new Set<number>();
  await fc.assert(
    fc.asyncProperty(method, path, query, type, body, async (method, path, query, type, body) => {
      const search = query.map(([key, value]) => `${key}=${value}`).join('&');
      const bytes = Buffer.from(body);
      const head = `${method} ${path}?${search} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: ${type}\r\ncontent-length: ${bytes.length}\r\n\r\n`;
      const answer = await ask(Buffer.concat([Buffer.from(head), bytes]), 5000);
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
      seen.add(status);
      const isError = /\{"code":"(?:MAYFLY|FUNCTION)_[A-Z_]+","message":".+","hint":".+/.test(
        answer,
      );
      const isGood = status >= 200 && status < 400;
      const isRefused = status >= 400 && status !== 500;
      if (!isGood && !(isRefused && (isError || method === 'HEAD'))) throw new Error(answer);
    }),
    { numRuns: 400, interruptAfterTimeLimit: 8000 },
  );
  t.ok(seen.has(200) && seen.has(400) && seen.has(404), [...seen].join(' '));
  await othersNoticeNothing(t);
});

t.test('names', async (t) => {
  for (const name of [
    'A',
    '-a',
    'a_b',
    'a.b',
    'a'.repeat(64),
    '%00',

    'a%20b',
    'ä',
    'a'.repeat(200),
  ]) {
    const { status, body } = await json(`/v1/functions/${name}`, { method: 'PUT', body: 'x' });
    t.equal(`${status} ${body.code}`, '400 MAYFLY_FUNCTION_NAME', name);
  }
  t.match(await json('/v1/functions/%zz', { method: 'PUT' }), { status: 400 });
  t.match(await json('/fn/..%2f..%2fetc'), { status: 404 });
});
