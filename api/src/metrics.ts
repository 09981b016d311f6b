/** What Prometheus reads: histograms that each invocation adds to, and counts that are looked up when it asks. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry as Metrics } from 'prom-client';
import type { Services } from './server.js';
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
type Looked = { name: string; help: string; look: (services: Services) => number };
type LookedPerFunction = {
  name: string;
  help: string;
  look: (name: string, services: Services) => number;
};

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

const COUNTS: LookedPerFunction[] = [
  {
    name: 'invocations_total',
    help: 'Invocations that ended',
    look: (f, { statistics }) => statistics.of(f).invocations,
  },
  {
    name: 'errors_total',
    help: 'Invocations that failed',
    look: (f, { statistics }) => statistics.of(f).errors,
  },
  {
    name: 'cold_starts_total',
    help: 'Invocations that waited for a template',
    look: (f, { statistics }) => statistics.of(f).coldStarts,
  },
  {
    name: 'faults_total',
    help: 'Page faults of invocations that succeeded: memory that was touched first in the life of its clone',
    look: (f, { statistics }) => statistics.of(f).faults,
  },
  {
    name: 'log_lines_dropped_total',
    help: 'Console lines that are not kept any more',
    look: (f, { registry }) => registry.get(f).log.dropped,
  },
  {
    name: 'network_connections_total',
    help: 'Connections out of guests that stood, of invocations that succeeded',
    look: (f, { statistics }) => statistics.of(f).network.connections,
  },
  {
    name: 'network_failed_total',
    help: 'Connections out of guests that could not be made',
    look: (f, { statistics }) => statistics.of(f).network.failed,
  },
  {
    name: 'network_denied_total',
    help: 'Connections and names that the rules of the function refused',
    look: (f, { statistics }) => statistics.of(f).network.denied,
  },
  {
    name: 'network_sent_bytes_total',
    help: 'Bytes that guests sent through connections',
    look: (f, { statistics }) => statistics.of(f).network.bytesSent,
  },
  {
    name: 'network_received_bytes_total',
    help: 'Bytes that guests received through connections',
    look: (f, { statistics }) => statistics.of(f).network.bytesReceived,
  },
];

const LOADS: LookedPerFunction[] = [
  { name: 'clones', help: 'Live clones', look: (f, { registry }) => registry.load(f)?.clones ?? 0 },
  {
    name: 'running',
    help: 'Invocations in a guest',
    look: (f, { registry }) => {
      const load = registry.load(f);
      return load ? load.running + load.parked : 0;
    },
  },
  {
    name: 'queued',
    help: 'Invocations that wait for a clone',
    look: (f, { registry }) => registry.load(f)?.waiting ?? 0,
  },
];

const WHOLE_COUNTS: Looked[] = [
  {
    name: 'records_dropped_total',
    help: 'Ended invocations without a record, since too many ended at once',
    look: ({ invocations }) => invocations.dropped,
  },
];

const WHOLE_LOADS: Looked[] = [
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

/** Adds what is looked up to the histograms. Once for each server. */
export function describeMetrics(
  { registry: metrics }: InvocationMetrics,
  services: Services,
): void {
  const whole = ({ look }: Looked) => [[{}, look(services)] as const];
  const perFunction = ({ look }: LookedPerFunction) =>
    services.registry.names.map((f) => [{ function: f }, look(f, services)] as const);
  const add = (
    Kind: typeof Counter | typeof Gauge,
    { name, help }: { name: string; help: string },
    values: () => (readonly [labels: { function?: string }, value: number])[],
  ) =>
    new Kind({
      name: `mayfly_${name}`,
      help,
      labelNames: ['function'],
      registers: [metrics],
      collect() {
        this.reset(); // what was removed is forgotten
        for (const [labels, value] of values()) this.inc(labels, value);
      },
    });
  for (const one of COUNTS) add(Counter, one, () => perFunction(one));
  for (const one of LOADS) add(Gauge, one, () => perFunction(one));
  for (const one of WHOLE_COUNTS) add(Counter, one, () => whole(one));
  for (const one of WHOLE_LOADS) add(Gauge, one, () => whole(one));
  collectDefaultMetrics({ register: metrics });
}
