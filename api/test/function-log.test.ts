/** The ring of console lines. */
import t from 'tap';
import { FunctionLog } from '../src/function-log.js';

const line = (text: string, time = 0) => ({ level: 'info' as const, time, text });

t.test('lines beyond the bounds are dropped, oldest first, and counted', async (t) => {
  const log = new FunctionLog();
  for (let i = 1; i <= 25_000; i++) log.append([line(String(i))], 1);
  const all = log.select({ limit: 100_000 });
  t.equal(all.length, 10_000);
  t.equal(log.dropped, 15_000);
  t.match(all[0], { sequence: 15_001, text: '15001' });
  t.match(all.at(-1), { sequence: 25_000, text: '25000' });
  t.equal(log.select({ after: 24_998 }).length, 2);
  t.equal(log.select({ after: 3, limit: 20_000 }).length, 10_000);
  t.same(log.select({ after: 99_999 }), []);
});

t.test('long lines count by their length', async (t) => {
  const log = new FunctionLog();
  for (let i = 0; i < 2000; i++) log.append([line('x'.repeat(8192))], 1);
  t.equal(log.select({ limit: 2000 }).length, 512);
  t.equal(log.dropped, 2000 - 512);
});

t.test('who waits hears of the next line, or of the end', async (t) => {
  const log = new FunctionLog();
  const end = new AbortController();
  log.append([line('a')], 1, 'id');
  await log.moreThan(0, end.signal);
  const waiting = log.moreThan(1, end.signal);
  log.append([line('b')], 1);
  await waiting;
  const ended = log.moreThan(2, end.signal);
  end.abort();
  await ended;
  t.same(
    log.select({ invocation: 'id' }).map(({ text }) => text),
    ['a'],
  );
});
