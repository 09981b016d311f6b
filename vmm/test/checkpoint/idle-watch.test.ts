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

t.test('a server with published ports is, a second after its last client has left', async (t) => {
  const clients = { clients: 0, connections: 0 };
  const watch = new IdleWatch(clients);
  const isIdleAt = (now: number) => watch.isIdle(idle, Number.POSITIVE_INFINITY, now);
  t.notOk(isIdleAt(0));
  t.notOk(isIdleAt(60_000), 'nobody has come');
  Object.assign(clients, { clients: 1, connections: 0 });
  t.notOk(isIdleAt(61_000), 'one waits to be accepted');
  Object.assign(clients, { clients: 1, connections: 1 });
  for (let now = 61_100; now < 70_000; now += 100) t.notOk(isIdleAt(now));
  clients.clients = 0;
  t.notOk(isIdleAt(70_000));
  t.notOk(isIdleAt(70_900));
  clients.connections = 2;
  t.notOk(isIdleAt(71_100), 'one came and went between two looks');
  t.notOk(isIdleAt(72_000));
  t.notOk(isIdleAt(72_900));
  t.notOk(watch.isIdle({ kind: 'slice' }, Number.POSITIVE_INFINITY, 73_150), 'it works still');
  t.ok(isIdleAt(73_200));
});
