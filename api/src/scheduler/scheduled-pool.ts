/** Does what the scheduler decides: a pool in front of a pool, whose invocations wait for their turn. */
import { totalmem } from 'node:os';
import { MayflyError } from '@mayfly/protocol';
import type {
  InvokeFrame,
  InvokeOptions,
  InvokeResult,
  MachineFailure,
  Pool,
  TemplateSpec,
} from '@mayfly/vmm';
import { ApiError } from '../errors.js';
import { rejectedAs } from '../rejections.js';
import { Scheduler } from './scheduler.js';
import type {
  Effect,
  FunctionLoad,
  Outcome,
  RejectionReason,
  SchedulingSettings,
  SharedLimits,
} from './types.js';

/** Memory of a clone besides the pages that it wrote: page tables, devices, what the kernel keeps of a VM. */
const CLONE_OVERHEAD_BYTES = 2 * 1024 * 1024;
const PAGE_BYTES = 4096;
/** Of the memory that there is; the rest is for guests that grow, the page cache and this process. */
const CLONES_SHARE = 0.6;
/** setTimeout() takes no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** For this host, or for the container that this process is in. */
export function defaultLimits(): SharedLimits {
  const memoryBytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  return {
    // One runs. The others are there so that the worker need not wait for news of the end of one; more of them would
    // only make each other's turns come later.
    runningPerWorker: 4,
    memoryBytes: memoryBytes * CLONES_SHARE,
    waitingMax: 2048,
  };
}

export const SCHEDULING_SETTINGS: Readonly<SchedulingSettings> = Object.freeze({
  minClones: 0,
  maxClones: 256,
  // At a millisecond an invocation, half a second for one core; a client that waits longer is better told to come back.
  queueMax: 512,
  idleMs: 5 * 60_000,
  timeoutMs: 10_000,
  // What a Node.js function writes in its first invocations; the first of them tells.
  cloneBytes: 16 * 1024 * 1024,
});

export interface ScheduledTemplate extends TemplateSpec {
  scheduling?: Partial<SchedulingSettings>;
}

export type ScheduledOptions = Pick<InvokeOptions, 'cpuMs' | 'signal' | 'onLogs'>;

/** What the scheduler decided about an invocation, and what it was about. */
interface Pending {
  readonly id: string;
  readonly function: string;
  readonly deadlineMs: number;
  readonly submittedMs: number;
  readonly frame: InvokeFrame;
  readonly options: ScheduledOptions;
  /** While it waits. */
  onAbort: (() => void) | undefined;
  resolve(result: InvokeResult): void;
  reject(error: unknown): void;
}

export class ScheduledPool {
  readonly #pool: Pool;
  readonly #scheduler: Scheduler;
  readonly #timeoutsMs = new Map<string, number>();
  readonly #pending = new Map<string, Pending>();
  readonly #retired = new Map<string, () => void>();
  readonly #clock: () => number;
  readonly #drained = deferred();
  #nextId = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  constructor(pool: Pool, limits: SharedLimits, clock = () => performance.now()) {
    this.#pool = pool;
    this.#clock = clock;
    this.#scheduler = new Scheduler({ ...limits, workers: pool.workers }, clock);
    pool.onWorkerLost?.((worker) => this.#apply(this.#scheduler.workerLost(worker)));
  }

  /** Invocations that were admitted and are not over. */
  get inFlight(): number {
    return this.#scheduler.invocations;
  }

  load(name: string): FunctionLoad | undefined {
    return this.#scheduler.load(name);
  }

  /** As Pool.deploy(); names are new. Clones are made as `scheduling` says. */
  async deploy({
    scheduling,
    ...spec
  }: ScheduledTemplate): Promise<{ bootMicros: number; readyHead: unknown }> {
    const result = await this.#pool.deploy(spec);
    const settings = { ...SCHEDULING_SETTINGS, ...scheduling };
    this.#timeoutsMs.set(spec.name, settings.timeoutMs);
    this.#apply(this.#scheduler.add(spec.name, settings));
    return result;
  }

  /**
   * Runs one frame in a pristine clone, when it is its turn. The template's timeoutMs includes the wait.
   *
   * @throws ApiError MAYFLY_OVERLOADED, MAYFLY_GUEST_TIMEOUT, MAYFLY_SERVER_CLOSING; MayflyError of the pool; the reason of
   *   the signal
   */
  invoke(name: string, frame: InvokeFrame, options: ScheduledOptions = {}): Promise<InvokeResult> {
    const timeoutMs = this.#timeoutsMs.get(name);
    if (timeoutMs === undefined) {
      throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `no template is named ${name}`);
    }
    options.signal?.throwIfAborted();
    const id = String(this.#nextId++);
    const submittedMs = this.#clock();
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        id,
        function: name,
        deadlineMs: submittedMs + timeoutMs,
        submittedMs,
        frame,
        options,
        onAbort: undefined,
        resolve,
        reject,
      };
      this.#pending.set(id, pending);
      this.#apply(this.#scheduler.submit(name, id));
      if (this.#pending.has(id)) this.#listen(pending); // it waits
    });
  }

  /** Forgets a template when its last invocation is over; unknown names are no error. */
  async remove(name: string): Promise<void> {
    if (!this.#timeoutsMs.delete(name)) return;
    const retired = new Promise<void>((resolve) => this.#retired.set(name, resolve));
    this.#apply(this.#scheduler.retire(name));
    await retired;
    await this.#pool.remove(name);
  }

  /** As Pool.prune(). */
  prune(group: string, keep: readonly string[]): Promise<void> {
    return this.#pool.prune(group, keep);
  }

  /**
   * Admits nothing any more, waits until all that was admitted is over, and closes the pool. What is not over after
   * `graceMs` ends with MAYFLY_POOL_CLOSED.
   */
  async close(graceMs?: number): Promise<void> {
    this.#apply(this.#scheduler.drain());
    await within(this.#drained.promise, graceMs);
    clearTimeout(this.#timer);
    this.#timerMs = Number.NEGATIVE_INFINITY; // no other is set
    await this.#pool.close();
  }

  #apply(effects: Effect[]): void {
    for (const effect of effects) this.#applyOne(effect);
    this.#setTimer();
  }

  #applyOne(effect: Effect): void {
    if (effect.type === 'dispatch') void this.#run(this.#take(effect.invocation), effect);
    else if (effect.type === 'reject') this.#reject(effect);
    else if (effect.type === 'start') this.#tell(this.#pool.start(effect.function, effect));
    else if (effect.type === 'stop') this.#tell(this.#pool.stop(effect.function, effect));
    else if (effect.type === 'idle') this.#tell(this.#pool.unload(effect.function));
    else if (effect.type === 'retired') this.#sayRetired(effect.function);
    else this.#drained.resolve();
  }

  /** What fails here fails again, and is told, at the next invocation. */
  #tell(work: Promise<void>): void {
    work.catch(() => {});
  }

  #take(id: string): Pending {
    const pending = this.#pending.get(id)!;
    this.#pending.delete(id);
    if (pending.onAbort) pending.options.signal?.removeEventListener('abort', pending.onAbort);
    return pending;
  }

  #listen(pending: Pending): void {
    pending.onAbort = () => this.#apply(this.#scheduler.cancel(pending.id));
    pending.options.signal?.addEventListener('abort', pending.onAbort, { once: true });
  }

  async #run(pending: Pending, { worker, clone }: Effect & { type: 'dispatch' }): Promise<void> {
    const { id, function: name, frame, options, deadlineMs, submittedMs } = pending;
    const now = this.#clock();
    const timeoutMs = Math.max(0, deadlineMs - now);
    const waitedMicros = (now - submittedMs) * 1000;
    try {
      const result = await this.#pool.invoke(name, frame, {
        place: { worker, clone },
        timeoutMs,
        cpuMs: options.cpuMs,
        signal: options.signal,
        onLogs: options.onLogs,
        onParked: (parked) => this.#parked(id, parked),
      });
      result.queueMicros += waitedMicros;
      if (result.stats === undefined) result.end = rejectedAs(result.end, reasonOf);
      pending.resolve(result);
      const { cpuMicros, rewoundPages } = result.stats ?? (await result.end);
      const cloneBytes = CLONE_OVERHEAD_BYTES + rewoundPages * PAGE_BYTES;
      const outcome = { cloneKept: true, cpuMicros, cloneBytes };
      this.#apply(this.#scheduler.finished(id, outcome));
    } catch (error) {
      pending.reject(reasonOf(error)); // or it was answered, and whoever has the answer knows of its end
      this.#apply(this.#scheduler.finished(id, outcomeOf(error)));
    }
  }

  #parked(id: string, parked: boolean): void {
    this.#apply(parked ? this.#scheduler.parked(id) : this.#scheduler.resumed(id));
  }

  #reject({ invocation, reason, retryAfterSeconds }: Effect & { type: 'reject' }): void {
    const { reject, options } = this.#take(invocation);
    reject(reason === 'cancelled' ? options.signal?.reason : rejection(reason, retryAfterSeconds));
  }

  #sayRetired(name: string): void {
    this.#retired.get(name)?.();
    this.#retired.delete(name);
  }

  #setTimer(): void {
    const { wakeMs } = this.#scheduler;
    if (wakeMs >= this.#timerMs || wakeMs === Number.POSITIVE_INFINITY) return;
    clearTimeout(this.#timer);
    this.#timerMs = wakeMs;
    const ms = Math.min(TIMER_MS_MAX, Math.max(0, Math.ceil(wakeMs - this.#clock())));
    this.#timer = setTimeout(() => this.#tick(), ms);
  }

  #tick(): void {
    this.#timerMs = Number.POSITIVE_INFINITY;
    this.#apply(this.#scheduler.tick());
  }
}

/** Who aborted an invocation is told its own reason. */
function reasonOf(error: unknown): unknown {
  const { code, cause, stats } = error as Partial<MayflyError & MachineFailure>;
  if (code !== 'MAYFLY_ABORTED') return error;
  return cause instanceof ApiError ? cause.after(stats) : (cause ?? error);
}

function outcomeOf(error: unknown): Outcome {
  const { cloneKept = false, stats } = error as Partial<MachineFailure>;
  return stats === undefined ? { cloneKept } : { cloneKept, cpuMicros: stats.cpuMicros };
}

async function within(promise: Promise<void>, ms: number | undefined): Promise<void> {
  if (ms === undefined) return promise;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function rejection(
  reason: Exclude<RejectionReason, 'cancelled'>,
  retryAfterSeconds: number,
): ApiError {
  if (reason === 'overloaded') {
    return new ApiError('MAYFLY_OVERLOADED', undefined, { retryAfterSeconds });
  }
  if (reason === 'closing')
    return new ApiError('MAYFLY_SERVER_CLOSING', undefined, { retryAfterSeconds });
  return new ApiError(
    'MAYFLY_GUEST_TIMEOUT',
    'the invocation waited for a clone for as long as the function may take',
  );
}
