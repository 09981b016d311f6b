/**
 * Records of invocations. Those of ended ones are written together, a few times a second, away from the path of a request:
 * a crash loses the newest. What was accepted to run later is on disk before that is said, and goes from there only with
 * the record of its end.
 */
import type { InvocationRecord } from '@mayfly/protocol/api';
import type { Database, Table } from './database.js';

/** As in the API, but with times that cost nothing to note. */
export type Trace = Omit<InvocationRecord, 'receivedAt' | 'endedAt'> & {
  /** Milliseconds since 1970. */
  receivedMs: number;
  endedMs?: number;
  /** How often it was begun, for what runs later. */
  attempts?: number;
  /** When its version was deployed, for what runs later: numbers of versions come again when a function was removed. */
  deployedAt?: string;
  /** Of its event, for what runs later. */
  eventBytes?: number;
};

const FLUSH_MS = 250;
/** Records of ended invocations that may wait to be written; what ends beyond them leaves none. */
const PENDING_MAX = 10_000;
export const RECORDS_MAX = 20_000;

export class InvocationStore {
  readonly #database: Database;
  readonly #traces: Table<Trace, string>;
  /** Ids by function, in the order of time. */
  readonly #index: Table<true, [name: string, id: string]>;
  readonly #events: Table<Uint8Array, string>;
  readonly #recordsMax: number;
  readonly #running = new Map<string, Trace>();
  #pending = new Map<string, Trace>();
  #writing = new Map<string, Trace>();
  #timer: NodeJS.Timeout | undefined;
  #written: Promise<void> = Promise.resolve();
  #count: number;
  #dropped = 0;
  #eventBytes = 0;
  #closed = false;

  constructor(database: Database, recordsMax = RECORDS_MAX) {
    this.#database = database;
    this.#traces = database.table('invocations');
    this.#index = database.table('invocations-of');
    this.#events = database.table('events');
    this.#recordsMax = recordsMax;
    this.#count = this.#traces.getKeysCount();
    for (const trace of this.unfinished()) this.#eventBytes += trace.eventBytes ?? 0;
  }

  /** Ended invocations that have no record, since too many ended at once. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Of all events that are kept, since their invocations have not ended or nothing is on disk of their ends. */
  get eventBytes(): number {
    return this.#eventBytes;
  }

  get(id: string): Trace | undefined {
    return (
      this.#running.get(id) ??
      this.#pending.get(id) ??
      this.#writing.get(id) ??
      this.#traces.get(id)
    );
  }

  /** Newest first. */
  list(name: string, limit: number): Trace[] {
    const ofName = (trace: Trace) => trace.function === name;
    const byId = new Map<string, Trace>();
    const range = { start: [name, '\uffff'], end: [name, ''], reverse: true, limit } as never;
    for (const key of this.#index.getKeys(range)) {
      const trace = this.#traces.get(key[1]);
      if (trace) byId.set(trace.id, trace);
    }
    for (const traces of [this.#writing, this.#pending, this.#running]) {
      for (const trace of traces.values()) if (ofName(trace)) byId.set(trace.id, trace);
    }
    return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit);
  }

  /** Resolves when the invocation and its event are on disk. */
  async accept(trace: Trace, event: Uint8Array): Promise<void> {
    trace.eventBytes = event.byteLength;
    this.#eventBytes += event.byteLength;
    try {
      await this.#database.transaction(() => {
        this.#put(trace);
        this.#events.put(trace.id, event);
      });
    } catch (error) {
      this.#eventBytes -= event.byteLength;
      throw error;
    }
    this.#count++;
  }

  /** Accepted invocations that have not ended, oldest first. */
  unfinished(): Trace[] {
    const traces = [...this.#events.getKeys()].map((id) => this.#traces.get(id));
    return traces.filter((trace) => trace !== undefined);
  }

  event(id: string): Uint8Array | undefined {
    return this.#events.get(id);
  }

  /** Resolves when it is on disk that the invocation was begun once more. */
  async noteAttempt(trace: Trace): Promise<void> {
    await this.#database.transaction(() => this.#put(trace));
  }

  begin(trace: Trace): void {
    this.#running.set(trace.id, trace);
  }

  /** The trace does not change any more. */
  end(trace: Trace): void {
    this.#running.delete(trace.id);
    const isAccepted = trace.attempts !== undefined;
    if (this.#pending.size >= PENDING_MAX && !isAccepted) this.#dropped++;
    else this.#pending.set(trace.id, trace);
    this.#flushLater();
  }

  /** It was not begun after all. */
  forget(trace: Trace): void {
    this.#running.delete(trace.id);
  }

  /** Resolves when all that ended is on disk. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#written;
    this.#flush();
    await this.#written;
  }

  #flush(): void {
    this.#written = this.#written.then(() => this.#write()).catch(() => this.#keepAccepted());
  }

  /**
   * A full disk, for example: the server goes on without these records, but for those of accepted invocations, which would run
   * again after the next start.
   */
  #keepAccepted(): void {
    for (const trace of this.#writing.values()) {
      if (trace.attempts === undefined) this.#dropped++;
      else if (!this.#pending.has(trace.id)) this.#pending.set(trace.id, trace);
    }
    this.#writing = new Map();
    if (this.#pending.size > 0 && !this.#closed) this.#flushLater();
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
  }

  async #write(): Promise<void> {
    this.#timer = undefined;
    const traces = [...this.#pending.values()];
    this.#writing = this.#pending;
    this.#pending = new Map();
    if (traces.length === 0) return;
    const added = traces.filter(({ attempts }) => attempts === undefined).length;
    const old = this.#oldest(this.#count + added - this.#recordsMax);
    await this.#database.transaction(() => {
      for (const trace of traces) {
        this.#put(trace);
        if (trace.attempts !== undefined) this.#events.remove(trace.id);
      }
      for (const trace of old) {
        this.#traces.remove(trace.id);
        this.#index.remove([trace.function, trace.id]);
      }
    });
    this.#count += added - old.length;
    for (const { eventBytes = 0 } of traces) this.#eventBytes -= eventBytes;
    this.#writing = new Map();
  }

  /** Ids begin with the time, so the first ones are the oldest. What still has to run stays. */
  #oldest(limit: number): Trace[] {
    if (limit <= 0) return [];
    const traces = [...this.#traces.getRange({ limit }).map(({ value }) => value)];
    return traces.filter(({ id }) => !this.#events.doesExist(id));
  }

  #put(trace: Trace): void {
    this.#traces.put(trace.id, trace);
    this.#index.put([trace.function, trace.id], true);
  }
}
