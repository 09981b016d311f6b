import t from 'tap';
import type { Benchmark } from '../src/benchmark.js';
import { chart } from '../src/chart.js';
import { summarise, table, thisHost } from '../src/report.js';
import { quantile, rounded } from '../src/statistics.js';

const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
const benchmark: Benchmark = {
  name: 'example',
  unit: 'us',
  about: '',
  run: async () => ({ samples: [] }),
};

t.test('quantiles do not need sorted samples', async (t) => {
  t.equal(quantile(hundred, 0.5), 51);
  t.equal(quantile(hundred, 0.99), 100);
  t.equal(quantile([7], 0.99), 7);
  t.ok(Number.isNaN(quantile([], 0.5)));
});

t.test('figures keep three digits, and whole numbers all of theirs', async (t) => {
  t.equal(rounded(1.23456), 1.23);
  t.equal(rounded(0.012345), 0.0123);
  t.equal(rounded(123456.7), 123457);
});

t.test('a result compares medians with the floor', async (t) => {
  const result = summarise(benchmark, { samples: hundred, floor: [10, 17, 90] }, thisHost());
  t.match(result, { name: 'example', n: 100, median: 51, p99: 100, floor: 17, ratio: 3 });
  t.notOk('throughput' in result);
});

t.test('the table shows a dash for what a benchmark does not measure', async (t) => {
  const host = thisHost();
  const lines = table([summarise(benchmark, { samples: [5] }, host)], host).split('\n');
  t.match(lines[0], /^name +unit +n +median +p99 +throughput +floor +ratio$/);
  t.match(lines[1], /^example +us +1 +5 +5 +- +- +-$/);
});

t.test('the chart has a bar for each result, longer for larger ones', async (t) => {
  const host = { ...thisHost(), cpu: 'a <b> & c' };
  const results = [10, 1000, 100_000].map((x) => summarise(benchmark, { samples: [x] }, host));
  const svg = chart(results, host);
  const widths = [...svg.matchAll(/<rect .*? width="(\d+)"/g)].map(([, width]) => Number(width));
  t.equal(widths.length, 3);
  t.ok(widths[0]! > 0 && widths[0]! < widths[1]! && widths[1]! < widths[2]!);
  t.match(svg, /a &#60;b&#62; &#38; c/);
});
