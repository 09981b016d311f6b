import { parseArgs } from 'node:util';
import type { Benchmark, BenchmarkResult } from './benchmark.js';
import { benchmarks } from './registry.js';
import { summarise, table, thisHost } from './report.js';
import { setScale } from './scale.js';

const USAGE = `npm run -s bench -- [NAME...] [--scale X] [--json] [--list] [--help]
Runs the benchmarks of these names (all without) and prints a table, or with --json one array:
  {name, unit, n, median, p99, throughput?, floor?, ratio?, details?, host}
--scale 0.1 measures a tenth of each benchmark's usual counts and times: for slow hosts, and to see whether all of it works.
floor is the median of the least that the platform allows, measured in turns with ours; ratio is median / floor.`;

function chosen(names: readonly string[]): Benchmark[] {
  const unknown = names.filter((name) => !benchmarks.some((b) => b.name === name));
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(', ')}; --list shows the names`);
    process.exit(2);
  }
  return benchmarks.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** Runs one after the other; progress goes to stderr, so that stdout holds results only. */
async function runAll(selected: readonly Benchmark[]): Promise<BenchmarkResult[]> {
  const host = thisHost();
  const results: BenchmarkResult[] = [];
  for (const benchmark of selected) {
    if (process.stderr.isTTY) process.stderr.write(`${benchmark.name}\r`);
    results.push(summarise(benchmark, await benchmark.run(), host));
  }
  return results;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean' },
    list: { type: 'boolean' },
    help: { type: 'boolean' },
    scale: { type: 'string' },
  },
});
if (values.help === true) {
  console.log(USAGE);
} else if (values.list === true) {
  for (const { name, about } of benchmarks) console.log(`${name.padEnd(17)} ${about}`);
} else {
  if (values.scale !== undefined && !setScale(values.scale)) {
    console.error(`--scale wants a number above 0, not '${values.scale}'`);
    process.exit(2);
  }
  const results = await runAll(chosen(positionals));
  console.log(values.json === true ? JSON.stringify(results) : table(results, thisHost()));
}
