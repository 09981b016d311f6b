import t from 'tap';
import { findingsOf, type Life } from '../src/conformance/findings.js';

/** Lives as they should be: each value of its own, clocks that are right. */
function goodLives(count: number, start = 0): Life[] {
  return Array.from({ length: count }, (_, i) => ({
    wallMs: 1005 + 100 * i,
    monoMs: 503 + (i % 3),
    askedMs: 1000 + 100 * i,
    answeredMs: 1010 + 100 * i,
    unique: { random: (start + i) / 7, pid: start + i },
    same: { 'host name': 'mayfly' },
  }));
}

const failed = (groups: Life[][]) =>
  findingsOf(groups)
    .filter(({ ok }) => !ok)
    .map(({ check, detail }) => `${check}: ${detail}`);

t.test('lives that differ where they must', async (t) => {
  const findings = findingsOf([goodLives(20), goodLives(20, 100)]);
  t.same(
    findings.map(({ check }) => check),
    ['random', 'pid', 'host name', 'wall clock', 'monotonic clock'],
  );
  t.same(failed([goodLives(20), goodLives(20, 100)]), []);
});

t.test('values that lives share, within a group and between two', async (t) => {
  const [first, ...lives] = goodLives(5) as [Life, ...Life[]];
  const twin = { ...first, unique: { random: first.unique.random!, pid: 77 } };
  t.same(failed([[first, twin, ...lives]]), ['random: 1 values more than once: 0 (2 times)']);
  t.same(failed([[first, ...lives], [twin]]), ['random: 1 values more than once: 0 (2 times)']);
  const without = goodLives(2, 50).map((life) => ({ ...life, unique: { pid: life.unique.pid! } }));
  t.match(failed([lives, without]), [/^random: 1 values more than once: undefined/]);
});

t.test('a host name that differs in clones of one template', async (t) => {
  const other = { ...goodLives(1, 9)[0]!, same: { 'host name': 'other' } };
  t.same(failed([goodLives(2), [other]]), [], 'another template may have another');
  t.same(failed([[...goodLives(2), other]]), ['host name: differs: mayfly, other']);
});

t.test('clocks that are off', async (t) => {
  const wall = goodLives(3).map((life, i) => (i === 1 ? { ...life, wallMs: 1161.5 } : life));
  t.same(failed([wall]), ['wall clock: at most 51.5 ms off, 50 allowed']);
  const slow = goodLives(3).map((life, i) => (i === 2 ? { ...life, wallMs: 1149 } : life));
  t.same(failed([slow]), ['wall clock: at most 51.0 ms off, 50 allowed']);
  const late = goodLives(3).map((life, i) => (i === 2 ? { ...life, monoMs: 580 } : life));
  t.same(failed([late]), ['monotonic clock: at most 67.0 ms off, 50 allowed']);
  t.same(failed([goodLives(3), goodLives(3, 10).map((life) => ({ ...life, monoMs: 9e6 }))]), []);
});
