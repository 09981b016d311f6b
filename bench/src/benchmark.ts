/** What a benchmark is, and what the command prints about one. */

/** Times of one benchmark, in its unit. */
export interface Measurement {
  samples: number[];
  /** Times of the least that the platform allows, measured in turns with `samples`. */
  floor?: number[];
  /** Operations per second, for benchmarks that run several at once. */
  throughput?: number;
  /** What else was seen, by name. */
  details?: Readonly<Record<string, number>>;
}

/** 'x': so many times. */
export type Unit = 'us' | 'ns' | 'KiB' | 'x';

/** A benchmark that cannot run here. */
export class Unavailable extends Error {}

export interface Benchmark {
  name: string;
  unit: Unit;
  /** One line for --list. */
  about: string;
  /** What the host must have. */
  needs?: 'kvm';
  run(): Promise<Measurement>;
}

export interface Host {
  cpu: string;
  cores: number;
  kernel: string;
  node: string;
}

/** One element of the --json array; `floor` and `ratio` compare medians. */
export interface BenchmarkResult {
  name: string;
  unit: Unit;
  n: number;
  median: number;
  p99: number;
  throughput?: number;
  floor?: number;
  ratio?: number;
  details?: Readonly<Record<string, number>>;
  host: Host;
}
