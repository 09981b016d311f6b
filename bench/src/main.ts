import { existsSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  type Benchmark,
  type BenchmarkResult,
  type Measurement,
  Unavailable,
} from './benchmark.js';
import { chart } from './chart.js';
import { installPeers } from './peers.js';
import { benchmarks } from './registry.js';
import { summarise, table, thisHost } from './report.js';
import { setScale } from './scale.js';

const USAGE = `npm run -s bench -- [NAME...] [--scale X] [--json] [--chart FILE] [--list] [--help]
Runs the benchmarks of these names, or whose names start with one and a dash (all without), and prints a table, or with
--json one array:
  {name, unit, n, median, p99, throughput?, floor?, ratio?, details?, host}
--chart FILE also draws medians as bars, as SVG. --install-peers gets what the benchmarks peers-* compare with.
--scale 0.1 measures a tenth of each benchmark's usual counts and times: for slow hosts, and to see whether all of it works.
floor is the median of the least that the platform allows, measured in turns with ours; ratio is median / floor.`;

function chosen(names: readonly string[]): Benchmark[] {
  const unknown = names.filter((name) => !benchmarks.some((b) => isMeant(b, name)));
  if (unknown.length > 0) {
    console.error(`unknown: ${unknown.join(', ')}; --list shows the names`);
    process.exit(2);
  }
  return benchmarks.filter((b) => names.length === 0 || names.some((name) => isMeant(b, name)));
}

function isMeant(benchmark: Benchmark, name: string): boolean {
  return benchmark.name === name || benchmark.name.startsWith(`${name}-`);
}

/** Runs one after the other; progress goes to stderr, so that stdout holds results only. */
async function runAll(selected: readonly Benchmark[]): Promise<BenchmarkResult[]> {
  const host = thisHost();
  const results: BenchmarkResult[] = [];
  for (const benchmark of selected) {
    if (process.stderr.isTTY) process.stderr.write(`${benchmark.name}\r`);
    try {
      results.push(summarise(benchmark, await measured(benchmark), host));
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      process.stderr.write(`${benchmark.name} cannot run here: ${error.message}\n`);
    }
  }
  return results;
}

function measured({ needs, run }: Benchmark): Promise<Measurement> {
  if (needs === 'kvm' && !existsSync('/dev/kvm')) throw new Unavailable('there is no /dev/kvm');
  return run();
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean' },
    chart: { type: 'string' },
    'install-peers': { type: 'boolean' },
    list: { type: 'boolean' },
    help: { type: 'boolean' },
    scale: { type: 'string' },
  },
});
if (values.help === true) {
  console.log(USAGE);
} else if (values.list === true) {
  for (const { name, about } of benchmarks) console.log(`${name.padEnd(20)} ${about}`);
} else if (values['install-peers'] === true) {
  installPeers();
} else {
  if (values.scale !== undefined && !setScale(values.scale)) {
    console.error(`--scale wants a number above 0, not '${values.scale}'`);
    process.exit(2);
  }
  const results = await runAll(chosen(positionals));
  if (values.chart !== undefined) writeFileSync(values.chart, chart(results, thisHost()));
  console.log(values.json === true ? JSON.stringify(results) : table(results, thisHost()));
}
