import { parseArgs } from 'node:util';
import type { Benchmark, BenchmarkResult } from './benchmark.js';
import { benchmarks } from './registry.js';
import { summarise, table, thisHost } from './report.js';

const USAGE = `npm run -s bench -- [NAME...] [--json] [--list] [--help]
Runs the benchmarks of these names (all without) and prints a table, or with --json one array:
  {name, unit, n, median, p99, throughput?, floor?, ratio?, host}
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
  options: { json: { type: 'boolean' }, list: { type: 'boolean' }, help: { type: 'boolean' } },
});
if (values.help === true) {
  console.log(USAGE);
} else if (values.list === true) {
  for (const { name, about } of benchmarks) console.log(`${name.padEnd(12)} ${about}`);
} else {
  const results = await runAll(chosen(positionals));
  console.log(values.json === true ? JSON.stringify(results) : table(results, thisHost()));
}
