import * as fc from 'fast-check';
import t from 'tap';
import { AnswerOrder } from '../src/index.js';

type Head = Record<string, unknown>;

/** One letter a frame: all beginnings of right orders. */
const RIGHT = /^l*(?:h|pl*d?|[mq][lc]*(?:e|fl*d?)?)?$/;
const HEADS: Record<string, Head> = {
  l: { type: 'log' },
  h: { type: 'response' },
  p: { type: 'result', pending: true },
  m: { anything: 1, more: true },
  q: { type: 'ready', more: true, pending: true },
  c: { type: 'chunk', end: 1, pending: true },
  e: { type: 'chunk', end: true },
  f: { type: 'chunk', end: true, pending: true },
  d: { type: 'done' },
};

/** How many frames were taken before one was refused. */
function taken(order: AnswerOrder, letters: string): number {
  let count = 0;
  for (const letter of letters) {
    try {
      order.take(HEADS[letter] as Head);
    } catch (error) {
      if ((error as { code?: string }).code !== 'MAYFLY_FRAME_UNEXPECTED') throw error;
      return count;
    }
    count++;
  }
  return count;
}

t.test('orders of frames are taken as far as they are right', async () => {
  const letters = fc
    .array(fc.constantFrom(...Object.keys(HEADS)), { maxLength: 12 })
    .map((array) => array.join(''));
  fc.assert(
    fc.property(letters, (order) => {
      const count = taken(new AnswerOrder(), order);
      return (
        RIGHT.test(order.slice(0, count)) &&
        (count === order.length || !RIGHT.test(order.slice(0, count + 1)))
      );
    }),
    { numRuns: 5000 },
  );
});

t.test('an error ends an invocation from everywhere, once', async (t) => {
  for (const before of ['', 'l', 'm', 'mc', 'p', 'mf', 'ql']) {
    const order = new AnswerOrder();
    t.equal(taken(order, before), before.length);
    t.equal(order.take({ type: 'error' }), 'error', before);
    t.equal(order.phase, 'over');
    t.throws(() => order.take({ type: 'error' }), { code: 'MAYFLY_FRAME_UNEXPECTED' });
  }
});

t.test('what a frame is in its place, and what may come next', async (t) => {
  const order = new AnswerOrder();
  t.same([order.take({ type: 'log' }), order.phase], ['log', 'head']);
  t.same([order.take({ more: true }), order.phase], ['head', 'body']);
  t.same([order.take({ type: 'chunk' }), order.phase], ['chunk', 'body']);
  t.same(
    [order.take({ type: 'chunk', end: true, pending: true }), order.phase],
    ['chunk', 'pending'],
  );
  t.same([order.take({ type: 'done' }), order.phase], ['done', 'over']);
  t.throws(() => order.take({ type: 'log' }), { message: /\(log\) behind the end/ });
});

t.test('whatever a head holds, it is taken or refused', async () => {
  const odd = fc.oneof(fc.constantFrom('chunk', 'log', 'done', 'error', 'x'), fc.jsonValue());
  const head = fc.record({ type: odd, more: fc.jsonValue(), end: fc.jsonValue() });
  fc.assert(
    fc.property(fc.array(head, { maxLength: 5 }), (heads) => {
      const order = new AnswerOrder();
      try {
        for (const one of heads) order.take(one as Head);
      } catch (error) {
        return (error as { code?: string }).code === 'MAYFLY_FRAME_UNEXPECTED';
      }
      return true;
    }),
    { numRuns: 1000 },
  );
});
