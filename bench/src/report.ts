import os from 'node:os';
import type { Benchmark, BenchmarkResult, Host, Measurement } from './benchmark.js';
import { quantile, rounded } from './statistics.js';

/** The machine that the figures are true for. */
export function thisHost(): Host {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    kernel: os.release(),
    node: process.version,
  };
}

export function summarise(
  benchmark: Benchmark,
  { samples, floor, throughput, details }: Measurement,
  host: Host,
): BenchmarkResult {
  const median = quantile(samples, 0.5);
  const floorMedian = floor === undefined ? undefined : quantile(floor, 0.5);
  return {
    name: benchmark.name,
    unit: benchmark.unit,
    n: samples.length,
    median: rounded(median),
    p99: rounded(quantile(samples, 0.99)),
    ...(throughput === undefined ? {} : { throughput: rounded(throughput) }),
    ...(floorMedian === undefined
      ? {}
      : { floor: rounded(floorMedian), ratio: rounded(median / floorMedian) }),
    ...(details === undefined ? {} : { details }),
    host,
  };
}

const COLUMNS = ['name', 'unit', 'n', 'median', 'p99', 'throughput', 'floor', 'ratio'] as const;

/** The results as aligned text: numbers to the right, a dash where a benchmark has no such figure. */
export function table(results: readonly BenchmarkResult[], host: Host): string {
  const rows: string[][] = [
    [...COLUMNS],
    ...results.map((r) => COLUMNS.map((key) => String(r[key] ?? '-'))),
  ];
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  );
  results.forEach(({ details = {} }, i) => {
    for (const [name, value] of Object.entries(details)) lines[i + 1] += `  ${name} ${value}`;
  });
  const where = `${host.cpu}, ${host.cores} cores, Linux ${host.kernel}, Node.js ${host.node}`;
  return `${lines.join('\n')}\n${where}`;
}
