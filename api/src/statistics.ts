/** How functions fare: counts since the server started, and the newest latencies. */
import type { FunctionStats } from '@mayfly/protocol/api';
import type { FunctionLoad } from './scheduler/index.js';
import type { Trace } from './trace.js';

const LATENCIES = 1024;

export class FunctionStatistics {
  invocations = 0;
  errors = 0;
  coldStarts = 0;
  rewoundPages = 0;
  faults = 0;
  /** What went out of its guests. */
  readonly network = { connections: 0, failed: 0, denied: 0, bytesSent: 0, bytesReceived: 0 };
  /** A ring of milliseconds. */
  readonly #latencies = new Float64Array(LATENCIES);

  /** Counts an invocation that ended. */
  add({ status, cold, rewoundPages = 0, faults = 0, timing, network }: Trace): void {
    this.#latencies[this.invocations % LATENCIES] = timing?.totalMs ?? 0;
    this.invocations++;
    if (status !== 'succeeded') this.errors++;
    if (cold) this.coldStarts++;
    this.rewoundPages += rewoundPages;
    this.faults += faults;
    if (network === undefined) return;
    this.network.connections += network.connections;
    this.network.failed += network.failed;
    this.network.denied += network.denied;
    this.network.bytesSent += network.bytesSent;
    this.network.bytesReceived += network.bytesReceived;
  }

  stats(name: string, version: number, load: FunctionLoad | undefined): FunctionStats {
    const { invocations, errors, rewoundPages, faults } = this;
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
      rewoundPages,
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
