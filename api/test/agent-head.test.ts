/** What a guest may say, and what it may not. */
import * as fc from 'fast-check';
import t from 'tap';
import { checkAnswerHead, checkReadyHead } from '../src/agent-head.js';

const REFUSED = { code: 'MAYFLY_GUEST_ANSWER' };
const logs: unknown[] = [];

t.test('anything at all is either well-formed or refused', async (t) => {
  const word = fc.constantFrom(
    'response',
    'result',
    'error',
    'ready',
    'fetch',
    'FUNCTION_THREW',
    '',
  );
  const value = fc.oneof(word, fc.anything(), fc.constant([]), fc.integer({ min: 100, max: 700 }));
  const keys = ['type', 'status', 'headers', 'logs', 'code', 'message', 'stack', 'exports', 'pid'];
  const head = fc.record(Object.fromEntries(keys.map((key) => [key, value])), { requiredKeys: [] });
  for (const check of [checkAnswerHead, checkReadyHead]) {
    fc.assert(
      fc.property(fc.oneof(head, fc.anything()), (said) => {
        try {
          const { type, logs } = check(said);
          return typeof type === 'string' && Array.isArray(logs);
        } catch (error) {
          return (error as { code?: string }).code === 'MAYFLY_GUEST_ANSWER';
        }
      }),
      { numRuns: 1000 },
    );
  }
  t.pass('nothing else was thrown');
});

t.test('answers that HTTP can carry pass', async (t) => {
  const said = { type: 'response', status: 200, headers: [['X-A', 'b']], logs, more: 'ignored' };
  t.same(checkAnswerHead(said), { type: 'response', status: 200, headers: [['x-a', 'b']], logs });
  const line = { level: 'info', time: 1, text: 'x'.repeat(1e5), more: 1 };
  const { logs: kept } = checkAnswerHead({ type: 'result', logs: [line] });
  t.match(kept, [{ level: 'info', time: 1 }]);
  t.equal(kept[0]?.text.length, 8192);
});

t.test('answers that it cannot carry do not', async (t) => {
  const response = { type: 'response', status: 200, headers: [], logs };
  for (const wrong of [
    { status: 101 },
    { status: 600 },
    { status: '200' },
    { status: 200.5 },
    { headers: {} },
    { headers: [['a']] },
    { headers: [['a', 1]] },
    { headers: [['a b', 'c']] },
    { headers: [['', 'c']] },
    { headers: [['__proto__', 'c']] },
    { headers: [['a', 'b\r\nset-cookie: x']] },
    { headers: Array.from({ length: 257 }, () => ['a', 'b']) },
    { logs: undefined },
    { logs: [{ level: 'loud', time: 1, text: '' }] },
    { logs: [{ level: 'info', time: Number.NaN, text: '' }] },
    { logs: Array.from({ length: 4101 }, () => ({ level: 'info', time: 1, text: '' })) },
    { type: 'ready' },
  ]) {
    t.throws(
      () => checkAnswerHead({ ...response, ...wrong }),
      REFUSED,
      JSON.stringify(wrong).slice(0, 60),
    );
  }
  const error = { type: 'error', code: 'MAYFLY_INTERNAL', message: '', stack: '', logs };
  t.throws(() => checkAnswerHead(error), REFUSED, 'a code that is not for guests');
  t.throws(
    () => checkReadyHead({ type: 'ready', exports: 'all', version: 'v', pid: 1, logs }),
    REFUSED,
  );
});
