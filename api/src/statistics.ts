/** How functions fare: counts since the server started, and the newest latencies. */
import type { FunctionStats } from '@mayfly/protocol/api';
import { Distribution } from './distribution.js';
import type { FunctionLoad } from './scheduler/index.js';
import type { Trace } from './trace.js';

const LATENCIES = 1024;

const SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];
const REWIND_SECONDS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
];
const PAGES = [0, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

export class FunctionStatistics {
  invocations = 0;
  errors = 0;
  coldStarts = 0;
  faults = 0;
  /** What went out of its guests. */
  readonly network = { connections: 0, failed: 0, denied: 0, bytesSent: 0, bytesReceived: 0 };
  readonly totalSeconds = new Distribution(SECONDS);
  readonly queueSeconds = new Distribution(SECONDS);
  readonly cloneSeconds = new Distribution(SECONDS);
  readonly guestSeconds = new Distribution(SECONDS);
  readonly rewindSeconds = new Distribution(REWIND_SECONDS);
  readonly dirtyPages = new Distribution(PAGES);
  /** A ring of milliseconds. */
  readonly #latencies = new Float64Array(LATENCIES);

  /**
   * Counts an invocation that ended.
   *
   * @param rewindMicros what putting its clone back took, if that is known
   */
  add(trace: Trace, rewindMicros?: number): void {
    const { status, cold, rewoundPages, faults = 0, timing, network } = trace;
    this.#latencies[this.invocations % LATENCIES] = timing?.totalMs ?? 0;
    this.invocations++;
    if (status !== 'succeeded') this.errors++;
    if (cold) this.coldStarts++;
    this.faults += faults;
    if (timing !== undefined) {
      this.totalSeconds.add(timing.totalMs / 1000);
      this.queueSeconds.add(timing.queueMs / 1000);
      this.cloneSeconds.add(timing.cloneMs / 1000);
      this.guestSeconds.add(timing.guestMs / 1000);
    }
    if (rewoundPages !== undefined) this.dirtyPages.add(rewoundPages);
    if (rewindMicros !== undefined) this.rewindSeconds.add(rewindMicros / 1e6);
    if (network === undefined) return;
    this.network.connections += network.connections;
    this.network.failed += network.failed;
    this.network.denied += network.denied;
    this.network.bytesSent += network.bytesSent;
    this.network.bytesReceived += network.bytesReceived;
  }

  stats(name: string, version: number, load: FunctionLoad | undefined): FunctionStats {
    const { invocations, errors, faults } = this;
    const { running = 0, parked = 0, waiting = 0, clones = 0 } = load ?? {};
    const latencies = this.#latencies.slice(0, Math.min(invocations, LATENCIES)).sort();
    const quantile = (q: number) => latencies[Math.ceil(q * latencies.length) - 1] ?? 0;
    return {
      name,
      version,
      invocations,
      errors,
      running: running + parked,
      queued: waiting,
      clones,
      coldStarts: this.coldStarts,
      rewoundPages: this.dirtyPages.sum,
      faults,
      latency: { p50Ms: quantile(0.5), p90Ms: quantile(0.9), p99Ms: quantile(0.99) },
    };
  }
}

/** By names of functions. */
export class Statistics {
  readonly startedAt = new Date();
  readonly #functions = new Map<string, FunctionStatistics>();

  of(name: string): FunctionStatistics {
    let found = this.#functions.get(name);
    if (!found) {
      found = new FunctionStatistics();
      this.#functions.set(name, found);
    }
    return found;
  }

  forget(name: string): void {
    this.#functions.delete(name);
  }
}
