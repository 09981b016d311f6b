/**
 * Invocations that run later: accepted when they are on disk, begun when there is room, and begun again after a crash, so
 * that each runs at least once. One that was under way at several crashes is given up.
 */
import { MayflyError } from '@mayfly/protocol';
import { ApiError } from './errors.js';
import { type Invoker, isPostponed, newTrace, type Target } from './invoker.js';
import { type Registry, removedMeanwhile } from './registry.js';
import type { InvocationStore } from './store/invocations.js';
import { NO_TIMING } from './timing.js';
import { noteFailure, type Trace } from './trace.js';

const RUNNING_MAX = 32;
const WAITING_MAX = 10_000;
const ATTEMPTS_MAX = 3;
const FULL_WAIT_MS = 100;

export class LaterInvocations {
  readonly #registry: Registry;
  readonly #invoker: Invoker;
  readonly #store: InvocationStore;
  readonly #waiting: Trace[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #bytesMax: number;
  #accepting = 0;
  #closing = false;

  /** @param bytesMax of all events that were accepted and whose invocations have not ended; beyond them: MAYFLY_OVERLOADED */
  constructor(registry: Registry, invoker: Invoker, store: InvocationStore, bytesMax: number) {
    this.#registry = registry;
    this.#invoker = invoker;
    this.#store = store;
    this.#bytesMax = bytesMax;
  }

  /** Goes on with what was accepted before the server ended. */
  resume(): void {
    this.#waiting.push(...this.#store.unfinished());
    this.#fill();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Of the events of those that have not ended. */
  get bytes(): number {
    return this.#store.eventBytes;
  }

  /**
   * Resolves when the invocation is on disk. It runs in the version that is meant now.
   *
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN, MAYFLY_OVERLOADED
   */
  async accept(target: Target, event: Uint8Array): Promise<Trace> {
    const version = this.#registry.version(this.#registry.get(target.name), target.version);
    if (this.#waiting.length + this.#accepting >= WAITING_MAX) {
      throw new ApiError('MAYFLY_OVERLOADED', 'too many invocations wait already');
    }
    if (this.bytes + event.byteLength > this.#bytesMax) {
      const message = `the events of invocations that wait may have ${this.#bytesMax} bytes together`;
      throw new ApiError('MAYFLY_OVERLOADED', message);
    }
    const trace = newTrace(target.name, { type: 'event' });
    trace.version = version.record.version;
    trace.deployedAt = version.record.deployedAt;
    trace.attempts = 0;
    this.#accepting++;
    try {
      await this.#store.accept(trace, event);
    } finally {
      this.#accepting--;
    }
    this.#waiting.push(trace);
    this.#fill();
    return trace;
  }

  /** Begins no more; resolves when those under way have ended. The others wait for the next start of the server. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#running);
  }

  #fill(): void {
    while (!this.#closing && this.#running.size < RUNNING_MAX) {
      const trace = this.#waiting.shift();
      if (!trace) return;
      const run = this.#run(trace).finally(() => {
        this.#running.delete(run);
        this.#fill();
      });
      this.#running.add(run);
    }
  }

  /** Never rejects: what goes wrong is in the record. */
  async #run(trace: Trace): Promise<void> {
    const attempts = (trace.attempts ?? 0) + 1;
    const event = this.#store.event(trace.id);
    trace.attempts = attempts;
    if (attempts > ATTEMPTS_MAX || !event) return this.#giveUp(trace);
    try {
      await this.#store.noteAttempt(trace);
      this.#checkVersion(trace); // at once before it is invoked by its name
      await this.#invoker.invokeEvent(
        { name: trace.function, version: trace.version },
        event,
        {},
        trace,
      );
    } catch (error) {
      if (isPostponed(error)) return this.#postpone(trace);
      if (trace.status === 'queued') this.#refuse(trace, error);
    }
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN: what it was accepted for is not there any more */
  #checkVersion({ function: name, version, deployedAt }: Trace): void {
    const { record } = this.#registry.version(this.#registry.get(name), version);
    if (record.deployedAt !== deployedAt) throw removedMeanwhile(name);
  }

  /** The attempt does not count, after the next start of the server either. */
  async #postpone(trace: Trace): Promise<void> {
    trace.attempts = (trace.attempts ?? 1) - 1;
    if (this.#closing) return this.#store.noteAttempt(trace).catch(() => {});
    this.#waiting.unshift(trace);
    await new Promise((resolve) => setTimeout(resolve, FULL_WAIT_MS));
  }

  /** It could not begin: the function or the version is gone. */
  #refuse(trace: Trace, error: unknown): void {
    noteFailure(trace, error, NO_TIMING, performance.now());
    this.#store.end(trace);
  }

  #giveUp(trace: Trace): void {
    const message = `the server ended during each of ${ATTEMPTS_MAX} attempts`;
    noteFailure(
      trace,
      new MayflyError('MAYFLY_INVOCATION_LOST', message),
      NO_TIMING,
      performance.now(),
    );
    trace.status = 'lost';
    this.#store.end(trace);
  }
}
