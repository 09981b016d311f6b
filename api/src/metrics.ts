/** What Prometheus reads. All of it is counted elsewhere and looked up when it asks. */
import type { Metric } from 'prom-client';
import type { Distribution } from './distribution.js';
import type { FunctionLoad } from './scheduler/index.js';
import type { Services } from './server.js';
import type { FunctionStatistics } from './statistics.js';

type Looked<From, What = number> = { name: string; help: string; look: (from: From) => What };

/** All that is looked up of one function. */
interface Seen {
  statistics: FunctionStatistics;
  load: FunctionLoad | undefined;
  linesDropped: number;
}

const DISTRIBUTIONS: Looked<FunctionStatistics, Distribution>[] = [
  {
    name: 'invocation_seconds',
    help: 'From admission to the end',
    look: ({ totalSeconds }) => totalSeconds,
  },
  {
    name: 'queue_seconds',
    help: 'Waiting for a clone',
    look: ({ queueSeconds }) => queueSeconds,
  },
  {
    name: 'clone_seconds',
    help: 'Making a clone, or finishing its rewind, while the invocation waited',
    look: ({ cloneSeconds }) => cloneSeconds,
  },
  { name: 'guest_seconds', help: 'In the guest', look: ({ guestSeconds }) => guestSeconds },
  { name: 'rewind_seconds', help: 'Rewinding a clone', look: ({ rewindSeconds }) => rewindSeconds },
  { name: 'dirty_pages', help: 'Pages put back by a rewind', look: ({ dirtyPages }) => dirtyPages },
];

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
  {
    name: 'later_bytes',
    help: 'Bytes of the events of accepted invocations that have not ended',
    look: ({ later }) => later.bytes,
  },
];

/** The text for Prometheus, and its media type. */
export interface MetricsText {
  contentType: string;
  /** Looked up anew at each call. */
  text(): Promise<string>;
}

/** Once for each server, when it is asked first: what it tells of the process is counted from then on. */
export async function describeMetrics(services: Services): Promise<MetricsText> {
  const { collectDefaultMetrics, Registry } = await import('prom-client');
  const metrics = new Registry();
  const add = (type: Type, { name: short, help }: Looked<never, unknown>, look: Look) => {
    const name = `mayfly_${short}`;
    const get = async () => ({ name, help, type, values: look(name) });
    metrics.registerMetric({ name, get } as unknown as Metric); // no more of it is used
  };
  const perFunction = (valuesOf: (seen: Seen, labels: Labels, name: string) => Value[]): Look => {
    const { registry } = services;
    return (name) =>
      registry.names.flatMap((of) => valuesOf(seenOf(of, services), { function: of }, name));
  };
  const counted = (type: Type) => (looked: Looked<Seen>) =>
    add(
      type,
      looked,
      perFunction((seen, labels) => [{ value: looked.look(seen), labels }]),
    );
  const whole = (type: Type) => (looked: Looked<Services>) =>
    add(type, looked, () => [{ value: looked.look(services), labels: {} }]);
  for (const looked of DISTRIBUTIONS) {
    const values = ({ statistics }: Seen, labels: Labels, name: string) =>
      histogram(name, looked.look(statistics), labels);
    add('histogram', looked, perFunction(values));
  }
  COUNTS.forEach(counted('counter'));
  LOADS.forEach(counted('gauge'));
  WHOLE_COUNTS.forEach(whole('counter'));
  WHOLE_LOADS.forEach(whole('gauge'));
  collectDefaultMetrics({ register: metrics });
  return { contentType: metrics.contentType, text: () => metrics.metrics() };
}

type Type = 'counter' | 'gauge' | 'histogram';
type Labels = Record<string, string | number>;
type Value = { value: number; labels: Labels; metricName?: string };
/** What is to be told now of the metric of this name. */
type Look = (name: string) => Value[];

function histogram(name: string, distribution: Distribution, labels: Labels): Value[] {
  const counts = distribution.cumulative();
  const buckets = counts.map((value, at) => ({
    value,
    labels: { le: distribution.bounds[at] ?? '+Inf', ...labels },
    metricName: `${name}_bucket`,
  }));
  return [
    ...buckets,
    { value: distribution.sum, labels, metricName: `${name}_sum` },
    { value: counts.at(-1) as number, labels, metricName: `${name}_count` },
  ];
}

function seenOf(name: string, { registry, statistics }: Services): Seen {
  const { dropped } = registry.get(name).log;
  return { statistics: statistics.of(name), load: registry.load(name), linesDropped: dropped };
}
