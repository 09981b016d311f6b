/** What Prometheus reads: histograms that each invocation adds to, and counts that are looked up when it asks. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry as Metrics } from 'prom-client';
import type { FunctionLoad } from './scheduler/index.js';
import type { Services } from './server.js';
import type { FunctionStatistics } from './statistics.js';
import type { Trace } from './trace.js';

const SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];
const REWIND_SECONDS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
];
const PAGES = [0, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

type PerFunction = 'function';
type Looked<From> = { name: string; help: string; look: (from: From) => number };

/** All that is looked up of one function. */
interface Seen {
  statistics: FunctionStatistics;
  load: FunctionLoad | undefined;
  linesDropped: number;
}

export class InvocationMetrics {
  readonly registry = new Metrics();
  readonly #total = this.#histogram('invocation_seconds', 'From admission to the end', SECONDS);
  readonly #queue = this.#histogram('queue_seconds', 'Waiting for a clone', SECONDS);
  readonly #clone = this.#histogram(
    'clone_seconds',
    'Making a clone, or finishing its rewind, while the invocation waited',
    SECONDS,
  );
  readonly #guest = this.#histogram('guest_seconds', 'In the guest', SECONDS);
  readonly #rewind = this.#histogram('rewind_seconds', 'Rewinding a clone', REWIND_SECONDS);
  readonly #pages = this.#histogram('dirty_pages', 'Pages put back by a rewind', PAGES);

  /** Adds an invocation that ended. */
  add({ function: name, timing, rewoundPages }: Trace, rewindMicros: number | undefined): void {
    if (timing) {
      this.#total.observe({ function: name }, timing.totalMs / 1000);
      this.#queue.observe({ function: name }, timing.queueMs / 1000);
      this.#clone.observe({ function: name }, timing.cloneMs / 1000);
      this.#guest.observe({ function: name }, timing.guestMs / 1000);
    }
    if (rewoundPages !== undefined) this.#pages.observe({ function: name }, rewoundPages);
    if (rewindMicros !== undefined) this.#rewind.observe({ function: name }, rewindMicros / 1e6);
  }

  forget(name: string): void {
    for (const histogram of [
      this.#total,
      this.#queue,
      this.#clone,
      this.#guest,
      this.#rewind,
      this.#pages,
    ]) {
      histogram.remove({ function: name });
    }
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<PerFunction> {
    const registers = [this.registry];
    const labelNames = ['function'] as const;
    return new Histogram({ name: `mayfly_${name}`, help, labelNames, buckets, registers });
  }
}

const COUNTS: Looked<Seen>[] = [
  {
    name: 'invocations_total',
    help: 'Invocations that ended',
    look: ({ statistics }) => statistics.invocations,
  },
  {
    name: 'errors_total',
    help: 'Invocations that failed',
    look: ({ statistics }) => statistics.errors,
  },
  {
    name: 'cold_starts_total',
    help: 'Invocations that waited for a template',
    look: ({ statistics }) => statistics.coldStarts,
  },
  {
    name: 'faults_total',
    help: 'Page faults of invocations: memory that was touched first in the life of its clone',
    look: ({ statistics }) => statistics.faults,
  },
  {
    name: 'log_lines_dropped_total',
    help: 'Console lines that are not kept any more',
    look: ({ linesDropped }) => linesDropped,
  },
  {
    name: 'network_connections_total',
    help: 'Connections out of guests that stood',
    look: ({ statistics }) => statistics.network.connections,
  },
  {
    name: 'network_failed_total',
    help: 'Connections out of guests that could not be made',
    look: ({ statistics }) => statistics.network.failed,
  },
  {
    name: 'network_denied_total',
    help: 'Connections and names that the rules of the function refused',
    look: ({ statistics }) => statistics.network.denied,
  },
  {
    name: 'network_sent_bytes_total',
    help: 'Bytes that guests sent through connections',
    look: ({ statistics }) => statistics.network.bytesSent,
  },
  {
    name: 'network_received_bytes_total',
    help: 'Bytes that guests received through connections',
    look: ({ statistics }) => statistics.network.bytesReceived,
  },
];

const LOADS: Looked<Seen>[] = [
  { name: 'clones', help: 'Live clones', look: ({ load }) => load?.clones ?? 0 },
  {
    name: 'running',
    help: 'Invocations in a guest',
    look: ({ load }) => (load ? load.running + load.parked : 0),
  },
  {
    name: 'queued',
    help: 'Invocations that wait for a clone',
    look: ({ load }) => load?.waiting ?? 0,
  },
];

const WHOLE_COUNTS: Looked<Services>[] = [
  {
    name: 'records_dropped_total',
    help: 'Ended invocations without a record, since too many ended at once',
    look: ({ invocations }) => invocations.dropped,
  },
];

const WHOLE_LOADS: Looked<Services>[] = [
  { name: 'functions', help: 'Deployed functions', look: ({ registry }) => registry.size },
  {
    name: 'in_flight',
    help: 'Invocations admitted and not ended',
    look: ({ invoker }) => invoker.inFlight,
  },
  {
    name: 'later_waiting',
    help: 'Accepted invocations that wait to run',
    look: ({ later }) => later.waiting,
  },
];

/**
 * Adds what is looked up to the histograms. Once for each server.
 *
 * @returns what Prometheus reads, looked up anew at each call: all of a function at once
 */
export function describeMetrics(
  { registry: metrics }: InvocationMetrics,
  services: Services,
): () => Promise<string> {
  const make =
    <From>(Kind: typeof Counter | typeof Gauge) =>
    ({ name, help, look }: Looked<From>) => {
      const of = { name: `mayfly_${name}`, help, labelNames: ['function'], registers: [metrics] };
      return { metric: new Kind(of), look };
    };
  const perFunction = [...COUNTS.map(make<Seen>(Counter)), ...LOADS.map(make<Seen>(Gauge))];
  const whole = [
    ...WHOLE_COUNTS.map(make<Services>(Counter)),
    ...WHOLE_LOADS.map(make<Services>(Gauge)),
  ];
  collectDefaultMetrics({ register: metrics });
  return () => {
    for (const { metric } of [...perFunction, ...whole]) metric.reset(); // what was removed is forgotten
    for (const name of services.registry.names) {
      const seen = seenOf(name, services);
      for (const { metric, look } of perFunction) metric.inc({ function: name }, look(seen));
    }
    for (const { metric, look } of whole) metric.inc({}, look(services));
    return metrics.metrics();
  };
}

function seenOf(name: string, { registry, statistics }: Services): Seen {
  const { dropped } = registry.get(name).log;
  return { statistics: statistics.of(name), load: registry.load(name), linesDropped: dropped };
}
