/** `warmup` of a manifest, in each of its forms. */
import { FunctionManifest, type WarmUp } from '@mayfly/protocol/api';
import { clearestError, Value } from '@mayfly/schema';
import t from 'tap';
import { warmUpCalls } from '../src/warm-up.js';

const OWN = [
  ['host', 'localhost'],
  ['user-agent', 'mayfly-warmup'],
];

const get = (path: string) => ({
  head: { type: 'request', method: 'GET', url: `http://localhost${path}`, headers: OWN },
  body: '',
});

t.test('paths', async (t) => {
  t.same(warmUpCalls({}), []);
  t.same(warmUpCalls({ warmup: false }), []);
  t.same(warmUpCalls({ warmup: true }), [get('/')]);
  t.same(warmUpCalls({ warmup: '/a?b=c' }), [get('/a?b=c')]);
  t.same(warmUpCalls({ warmup: ['/a', { path: '/b' }, {}] }), [get('/a'), get('/b'), get('/')]);
});

t.test('requests with bodies, and events', async (t) => {
  const one = (warmup: WarmUp) => warmUpCalls({ warmup })[0];
  t.same(one({ path: '/p', body: { a: [1] } }), {
    head: {
      type: 'request',
      method: 'POST',
      url: 'http://localhost/p',
      headers: [...OWN, ['content-type', 'application/json']],
    },
    body: '{"a":[1]}',
  });
  const form = { 'Content-Type': 'application/x-www-form-urlencoded', Host: 'example.com' };
  t.same(one({ method: 'PUT', headers: form, body: 'a=1&b=2' }), {
    head: {
      type: 'request',
      method: 'PUT',
      url: 'http://localhost/',
      headers: [
        ['host', 'example.com'],
        ['user-agent', 'mayfly-warmup'],
        ['content-type', 'application/x-www-form-urlencoded'],
      ],
    },
    body: 'a=1&b=2',
  });
  t.same(one({ event: { name: 'Ada' } }), { head: { type: 'event' }, body: '{"name":"Ada"}' });
  t.same(one({ event: null }), { head: { type: 'event' }, body: 'null' });
});

t.test('more than agents get is refused', async (t) => {
  t.throws(() => warmUpCalls({ warmup: { body: 'a'.repeat(65_536) } }), {
    code: 'MAYFLY_SOURCE_INVALID',
    message: /^warmup has \d+ bytes as JSON, at most 65536 are allowed$/,
  });
});

t.test('what is no warm-up is no manifest', async (t) => {
  const allowed = (warmup: unknown) => Value.Check(FunctionManifest, { warmup });
  const request = { method: 'POST', path: '/a', headers: { 'x-a': 'b' }, body: [1] };
  for (const good of [true, '/', request, [request, '/a', { event: 1 }], { body: '' }]) {
    t.ok(allowed(good), JSON.stringify(good));
  }
  for (const bad of [
    'a',
    '/a b',
    1,
    [],
    [true],
    { path: 'a' },
    { url: '/' },
    { method: 'GET /' },
    { headers: { 'a b': 'c' } },
    { headers: { a: 'b\r\nc: d' } },
    { event: 1, path: '/' },
    Array.from({ length: 17 }, () => '/'),
  ]) {
    t.notOk(allowed(bad), JSON.stringify(bad));
  }
});

t.test('what is wrong is told of the form that was meant', async (t) => {
  const problem = (warmup: unknown) => {
    const { instancePath, message } = clearestError(Value.Errors(FunctionManifest, { warmup }))!;
    return `${instancePath} ${message}`;
  };
  t.equal(problem(5), '/warmup must be boolean or string or object or array');
  t.equal(problem([5]), '/warmup/0 must be string or object');
  t.match(problem('a'), /^\/warmup must match pattern /);
  t.match(problem([{ path: 'a' }]), /^\/warmup\/0\/path must match pattern /);
  t.match(problem({ url: '/' }), /^\/warmup\/url /);
  t.equal(problem([]), '/warmup must not have fewer than 1 items');
});
