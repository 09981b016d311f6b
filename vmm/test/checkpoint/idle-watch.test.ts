/** When a program counts as idle. */
import t from 'tap';
import { IdleWatch } from '../../src/checkpoint/idle-watch.js';

const idle = { kind: 'idle' } as const;

t.test('a long sleep is idleness at once, a short one is not', async (t) => {
  t.ok(new IdleWatch().isIdle(idle, Number.POSITIVE_INFINITY, 0));
  t.ok(new IdleWatch().isIdle(idle, 100, 0));
  t.notOk(new IdleWatch().isIdle(idle, 99, 0));
  t.notOk(new IdleWatch().isIdle({ kind: 'slice' }, Number.POSITIVE_INFINITY, 0));
});

t.test('a second of short sleeps is, unless work comes between', async (t) => {
  const ticks = new IdleWatch();
  for (let now = 0; now < 1000; now += 50) t.notOk(ticks.isIdle(idle, 50, now));
  t.ok(ticks.isIdle(idle, 50, 1000));
  const works = new IdleWatch();
  for (let now = 0; now < 5000; now += 50) {
    const kind = now % 900 === 0 ? 'slice' : 'idle';
    t.notOk(works.isIdle({ kind }, 50, now));
  }
});
