/**
 * Decides which invocation runs next, in which clone, and which clones there are. It does nothing itself: events go in,
 * effects come out, time comes from the clock that it was given.
 *
 * ```
 *             submit                            finished, clone kept
 *   invocation ───► waiting ──dispatch──► running ─────────────────► over
 *      │               │                  ▲     │ parked / resumed
 *      └──► reject ◄───┘                  └─────┘
 *
 *   clone: (none) ──start, or dispatch──► idle ◄──► busy ──finished, clone lost──► (none)
 *                                          └──stop: idle too long, memory wanted, function retired──► (none)
 * ```
 *
 * Fairness is start-time fair queueing (Goyal, Vin, Cheng 1996) over processor time: each function has a virtual time that
 * grows with what its invocations cost, and the waiting function with the smallest one goes first. A function that comes
 * back starts from the virtual time of the moment, so that having been away saves nothing up. The cost of an invocation is
 * charged as a guess when it is dispatched, as time passes when it takes longer, and corrected when it is over.
 *
 * A worker is given a few invocations at once. One more rule keeps long invocations of one function from locking others
 * out: a function of which nothing runs does not wait for a place when its turn comes, and the worker's time slices share
 * the processor.
 */
import { type Clone, FunctionState, type Invocation } from './function-state.js';
import type {
  ClonePlace,
  Effect,
  FunctionLoad,
  Outcome,
  RejectionReason,
  SchedulerLimits,
  SchedulingSettings,
} from './types.js';

const RETRY_AFTER_SECONDS_MAX = 60;
/** How soon a function of which nothing runs is looked at again when it is not its turn and no place is free. */
const TURN_MS = 10;

export class Scheduler {
  readonly #limits: SchedulerLimits;
  readonly #clock: () => number;
  readonly #functions = new Map<string, FunctionState>();
  /** Functions with a line; looked through at every dispatch. */
  readonly #waiting = new Set<FunctionState>();
  readonly #invocations = new Map<string, Invocation>();
  /** Running invocations by worker. */
  readonly #load: number[];
  #waitingCount = 0;
  #memoryBytes = 0;
  #cloneCount = 0;
  #nextCloneId = 1;
  /** Virtual time of the function that was served last. */
  #virtualMicros = 0;
  #draining = false;
  #saidDrained = false;
  /** No later than the first moment at which tick() has something to do. */
  #wakeMs = Number.POSITIVE_INFINITY;
  #effects: Effect[] = [];

  /** `clock` gives milliseconds and never goes back. */
  constructor(limits: SchedulerLimits, clock: () => number) {
    this.#limits = limits;
    this.#clock = clock;
    this.#load = new Array(limits.workers).fill(0);
  }

  /** When tick() is wanted next, by the clock; Infinity if never. It may change with every event. */
  get wakeMs(): number {
    return this.#wakeMs;
  }

  /** Admitted and not over. */
  get invocations(): number {
    return this.#invocations.size;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get clones(): number {
    return this.#cloneCount;
  }

  /** What all clones take, as far as is known. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  load(name: string): FunctionLoad | undefined {
    const state = this.#functions.get(name);
    if (state === undefined) return undefined;
    const { running, parked, clones, coldStarts } = state;
    return { running, parked, waiting: state.line.size, clones, coldStarts };
  }

  /** A function that was not known; its minimum of clones is started, and one at least: its first caller is near. */
  add(name: string, settings: SchedulingSettings): Effect[] {
    if (this.#functions.has(name)) throw new Error(`the scheduler knows "${name}" already`);
    const state = new FunctionState(name, settings, this.#limits.workers, this.#clock());
    this.#functions.set(name, state);
    this.#startUpTo(state, Math.max(1, state.kept));
    this.#wakeBy(state.lastUsedMs + settings.idleMs);
    return this.#settle();
  }

  /** The function takes no more invocations; it is gone, with `retired`, when those that it has are over. */
  retire(name: string): Effect[] {
    const state = this.#functions.get(name);
    if (state === undefined || state.retired) return [];
    state.retired = true;
    this.#finishRetired(state);
    return this.#settle();
  }

  /** `id` must be new, `name` that of a function which is not retired. */
  submit(name: string, id: string): Effect[] {
    const state = this.#functions.get(name);
    if (state === undefined || state.retired) {
      throw new Error(`the scheduler does not know "${name}"`);
    }
    if (this.#draining) {
      this.#refuse(id, 'closing', state);
      return this.#settle();
    }
    const now = this.#clock();
    state.lastUsedMs = now;
    const deadlineMs = now + state.settings.timeoutMs;
    const invocation: Invocation = {
      id,
      function: state,
      deadlineMs,
      state: 'waiting',
      clone: undefined,
      charged: 0,
      sinceMs: now,
      before: undefined,
      behind: undefined,
    };
    this.#invocations.set(id, invocation);
    this.#line(invocation);
    this.#dispatchWaiting();
    if (invocation.state === 'waiting') {
      this.#wakeBy(deadlineMs);
      this.#shorten(state);
    }
    return this.#settle();
  }

  /** The caller went away. What runs already is the pool's to stop; its end is told with finished(), as always. */
  cancel(id: string): Effect[] {
    const invocation = this.#invocations.get(id);
    if (invocation?.state !== 'waiting') return [];
    this.#reject(invocation, 'cancelled');
    return this.#settle();
  }

  /** The guest waits for time or input: its worker can run something else. */
  parked(id: string): Effect[] {
    const invocation = this.#invocations.get(id);
    if (invocation?.state !== 'running') return [];
    this.#markStopped(invocation);
    invocation.state = 'parked';
    invocation.function.parked++;
    this.#dispatchWaiting();
    return this.#settle();
  }

  /** The guest goes on, whether that suits or not: parked invocations were given their clones before. */
  resumed(id: string): Effect[] {
    const invocation = this.#invocations.get(id);
    if (invocation?.state !== 'parked') return [];
    this.#markRunning(invocation);
    invocation.function.parked--;
    return [];
  }

  /** A dispatched invocation is over. */
  finished(id: string, { cloneKept, cpuMicros, cloneBytes }: Outcome): Effect[] {
    const invocation = this.#invocations.get(id);
    if (invocation?.clone === undefined) throw new Error(`invocation ${id} was not dispatched`);
    const { function: state, clone, charged } = invocation;
    this.#invocations.delete(id);
    if (invocation.state === 'parked') state.parked--;
    else this.#markStopped(invocation);
    if (cpuMicros !== undefined) {
      state.virtualMicros += cpuMicros - charged;
      state.learnCost(cpuMicros);
    }
    this.#giveBack(clone, cloneKept, cloneBytes);
    this.#dispatchWaiting();
    this.#finishRetired(state);
    return this.#settle();
  }

  /** A worker was lost, and with it the idle clones that it had. Invocations in it end with finished(). */
  workerLost(worker: number): Effect[] {
    for (const state of this.#functions.values()) {
      for (let clone = state.popIdle(worker); clone; clone = state.popIdle(worker)) {
        this.#forget(clone);
      }
      this.#startKept(state);
    }
    this.#dispatchWaiting();
    return this.#settle();
  }

  /** Time has passed: to be called at wakeMs. */
  tick(): Effect[] {
    const now = this.#clock();
    this.#wakeMs = Number.POSITIVE_INFINITY;
    for (const state of this.#functions.values()) {
      this.#expire(state, now);
      this.#stopIdle(state, now);
      this.#startKept(state);
    }
    this.#dispatchWaiting();
    return this.#settle();
  }

  /** Admits nothing any more; says `drained` when all that was admitted is over. */
  drain(): Effect[] {
    this.#draining = true;
    return this.#settle();
  }

  // Lines

  #line(invocation: Invocation): void {
    const { function: state } = invocation;
    if (state.line.size === 0) {
      this.#waiting.add(state);
      state.virtualMicros = Math.max(state.virtualMicros, this.#virtualMicros);
    }
    state.line.push(invocation);
    this.#waitingCount++;
  }

  #unline(invocation: Invocation): void {
    const { function: state } = invocation;
    state.line.remove(invocation);
    this.#waitingCount--;
    if (state.line.size === 0) this.#waiting.delete(state);
  }

  /** Refuses what came last when a line is too long; when all together are, the longest one gives way. */
  #shorten(state: FunctionState): void {
    if (state.line.size > state.settings.queueMax) this.#reject(state.line.last!, 'overloaded');
    else if (this.#waitingCount > this.#limits.waitingMax) {
      let longest = state;
      for (const other of this.#waiting) {
        if (other.line.size > longest.line.size) longest = other;
      }
      this.#reject(longest.line.last!, 'overloaded');
    }
  }

  #expire(state: FunctionState, now: number): void {
    for (let oldest = state.line.first; oldest; oldest = state.line.first) {
      if (oldest.deadlineMs > now) {
        this.#wakeBy(oldest.deadlineMs);
        return;
      }
      this.#reject(oldest, 'timeout');
    }
  }

  #reject(invocation: Invocation, reason: RejectionReason): void {
    this.#unline(invocation);
    this.#invocations.delete(invocation.id);
    this.#refuse(invocation.id, reason, invocation.function);
    this.#finishRetired(invocation.function);
  }

  #refuse(id: string, reason: RejectionReason, state: FunctionState): void {
    const retryAfterSeconds = this.#retryAfterSeconds(state);
    this.#effects.push({ type: 'reject', invocation: id, reason, retryAfterSeconds });
  }

  /** About as long as the line takes. */
  #retryAfterSeconds({ line, costMicros }: FunctionState): number {
    const seconds = (line.size * costMicros) / this.#limits.workers / 1e6;
    return Math.min(RETRY_AFTER_SECONDS_MAX, Math.max(1, Math.ceil(seconds)));
  }

  // Dispatch

  #dispatchWaiting(): void {
    let mayStart = true;
    while (this.#waiting.size > 0) {
      const state = this.#next(mayStart);
      if (state === undefined) return;
      const clone = this.#take(state);
      if (clone !== undefined) this.#dispatch(state, clone);
      else if (!this.#startFor(state)) mayStart = false; // what it lacks must not go to those behind it
    }
  }

  /** Of the functions that wait and could be given a clone, the one with the smallest virtual time. */
  #next(mayStart: boolean): FunctionState | undefined {
    const now = this.#clock();
    const hasRoom = this.#leastBusy() !== undefined;
    let first: FunctionState | undefined;
    let firstMicros = Number.POSITIVE_INFINITY;
    let passedOver = false;
    for (const state of this.#waiting) {
      const hasClone = hasRoom ? this.#idleWorker(state) >= 0 : state.idleCount > 0;
      if (!hasClone && !(mayStart && canGrow(state))) continue;
      if (state.running === 0) passedOver = true;
      const micros = state.virtualMicrosAt(now);
      if (micros >= firstMicros) continue;
      first = state;
      firstMicros = micros;
    }
    if (hasRoom || first?.running === 0) return first;
    if (passedOver) this.#wakeBy(now + TURN_MS);
    return undefined;
  }

  /** An idle clone, if one is the right choice: on a worker with room, or when there is nothing better. */
  #take(state: FunctionState): Clone | undefined {
    const worker = this.#idleWorker(state);
    return worker < 0 ? undefined : state.popIdle(worker);
  }

  /**
   * The least busy worker that has an idle clone of the function which may be used now; -1 if there is none. A clone on a
   * worker without room is used only by a function of which nothing runs.
   */
  #idleWorker(state: FunctionState): number {
    if (state.idleCount === 0) return -1;
    let best = -1;
    for (let worker = 0; worker < this.#load.length; worker++) {
      if (state.idle[worker]!.length === 0) continue;
      if (best < 0 || this.#load[worker]! < this.#load[best]!) best = worker;
    }
    if (this.#load[best]! < this.#limits.runningPerWorker) return best;
    if (state.running > 0) return -1;
    return canGrow(state) && this.#leastBusy() !== undefined && this.#fits(state) ? -1 : best;
  }

  /** The worker with the fewest running invocations, if it has room for one more. */
  #leastBusy(): number | undefined {
    const worker = this.#fewestRunning();
    return this.#load[worker]! < this.#limits.runningPerWorker ? worker : undefined;
  }

  #fewestRunning(): number {
    let best = 0;
    for (let worker = 1; worker < this.#load.length; worker++) {
      if (this.#load[worker]! < this.#load[best]!) best = worker;
    }
    return best;
  }

  /** Has a clone made for the first in line. False: there is no memory for it. */
  #startFor(state: FunctionState): boolean {
    if (!this.#makeRoom(state)) return false;
    const clone = this.#newClone(state, this.#fewestRunning());
    state.coldStarts++;
    this.#dispatch(state, clone, true);
    return true;
  }

  #dispatch(state: FunctionState, clone: Clone, fresh = false): void {
    const invocation = state.line.first!;
    this.#unline(invocation);
    invocation.clone = clone;
    invocation.charged = state.costMicros;
    this.#virtualMicros = Math.max(this.#virtualMicros, state.virtualMicros);
    state.virtualMicros += state.costMicros;
    this.#markRunning(invocation);
    this.#effects.push({ type: 'dispatch', invocation: invocation.id, fresh, ...placeOf(clone) });
  }

  #markRunning(invocation: Invocation): void {
    invocation.state = 'running';
    invocation.sinceMs = this.#clock();
    invocation.function.countRunning(invocation, 1);
    this.#load[invocation.clone!.worker]!++;
  }

  #markStopped(invocation: Invocation): void {
    invocation.function.countRunning(invocation, -1);
    this.#load[invocation.clone!.worker]!--;
  }

  // Clones and their memory

  #newClone(state: FunctionState, worker: number): Clone {
    const bytes = state.cloneBytes;
    this.#memoryBytes += bytes;
    this.#cloneCount++;
    state.saidIdle = false;
    return {
      id: this.#nextCloneId++,
      function: state,
      worker,
      bytes,
      idleSinceMs: this.#clock(),
    };
  }

  /** A busy clone is idle again, or gone. */
  #giveBack(clone: Clone, kept: boolean, bytes: number | undefined): void {
    const { function: state } = clone;
    const now = this.#clock();
    state.lastUsedMs = now;
    if (bytes !== undefined) {
      this.#memoryBytes += bytes - clone.bytes;
      clone.bytes = bytes;
      state.cloneBytes = bytes;
    }
    this.#wakeBy(now + state.settings.idleMs);
    if (!kept) {
      this.#forget(clone);
      this.#startKept(state);
      return;
    }
    clone.idleSinceMs = now;
    state.pushIdle(clone);
    while (this.#memoryBytes > this.#limits.memoryBytes && this.#evictOne()) {}
  }

  #forget(clone: Clone): void {
    this.#memoryBytes -= clone.bytes;
    this.#cloneCount--;
  }

  /** The clone that was idle longest of those of the function. */
  #stopOldest(state: FunctionState): void {
    const clone = state.oldestIdle!;
    state.dropOldest(clone);
    this.#forget(clone);
    this.#effects.push({ type: 'stop', ...placeOf(clone) });
  }

  #stopIdle(state: FunctionState, now: number): void {
    const { idleMs } = state.settings;
    while (state.idleCount > 0 && state.clones > state.kept) {
      const dueMs = state.oldestIdle!.idleSinceMs + idleMs;
      if (dueMs > now) {
        this.#wakeBy(dueMs);
        return;
      }
      this.#stopOldest(state);
    }
    this.#sayIdle(state, now);
  }

  /** Starts what the function's minimum lacks, as far as there is memory for it without taking any away. */
  #startKept(state: FunctionState): void {
    this.#startUpTo(state, state.kept);
    this.#wakeIfLacking(state);
  }

  #startUpTo(state: FunctionState, count: number): void {
    if (this.#draining) return;
    while (state.clones < count && this.#fits(state)) {
      const clone = this.#newClone(state, this.#fewestIdle(state));
      state.pushIdle(clone);
      this.#effects.push({ type: 'start', ...placeOf(clone) });
    }
  }

  /** Clones that there was no memory for are tried again later. */
  #wakeIfLacking(state: FunctionState): void {
    if (state.clones < state.kept) this.#wakeBy(this.#clock() + state.settings.idleMs);
  }

  #fewestIdle(state: FunctionState): number {
    let best = 0;
    for (let worker = 1; worker < state.idle.length; worker++) {
      if (state.idle[worker]!.length < state.idle[best]!.length) best = worker;
    }
    return best;
  }

  /** One clone alone may be larger than all memory: it is better tried than never. */
  #fits({ cloneBytes }: FunctionState): boolean {
    return this.#cloneCount === 0 || this.#memoryBytes + cloneBytes <= this.#limits.memoryBytes;
  }

  /** Idle clones go until one of this function fits, those of the function first that was not used for longest. */
  #makeRoom(state: FunctionState): boolean {
    while (!this.#fits(state)) if (!this.#evictOne(state)) return false;
    return true;
  }

  /** Clones that their functions' minimums keep go last. */
  #evictOne(besides?: FunctionState): boolean {
    let victim: FunctionState | undefined;
    for (const state of this.#functions.values()) {
      if (state === besides || state.idleCount === 0) continue;
      if (victim === undefined || goesBefore(state, victim)) victim = state;
    }
    if (victim === undefined) return false;
    this.#stopOldest(victim);
    this.#wakeIfLacking(victim);
    return true;
  }

  // Ends

  #sayIdle(state: FunctionState, now: number): void {
    if (state.saidIdle || state.retired || state.clones > 0 || state.line.size > 0) return;
    const dueMs = state.lastUsedMs + state.settings.idleMs;
    if (dueMs > now) {
      this.#wakeBy(dueMs);
      return;
    }
    state.saidIdle = true;
    this.#effects.push({ type: 'idle', function: state.name });
  }

  #finishRetired(state: FunctionState): void {
    if (!state.retired) return;
    while (state.idleCount > state.line.size) this.#stopOldest(state);
    if (!state.quiet || !this.#functions.delete(state.name)) return;
    this.#effects.push({ type: 'retired', function: state.name });
  }

  #wakeBy(ms: number): void {
    if (ms < this.#wakeMs) this.#wakeMs = ms;
  }

  /** What an event led to. */
  #settle(): Effect[] {
    if (this.#draining && this.#invocations.size === 0 && !this.#saidDrained) {
      this.#saidDrained = true;
      this.#effects.push({ type: 'drained' });
    }
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

function canGrow(state: FunctionState): boolean {
  return state.clones < state.settings.maxClones;
}

function goesBefore(a: FunctionState, b: FunctionState): boolean {
  const [aKept, bKept] = [a.clones <= a.kept, b.clones <= b.kept];
  return aKept === bKept ? a.lastUsedMs < b.lastUsedMs : bKept;
}

function placeOf({ id, function: { name }, worker }: Clone): ClonePlace {
  return { clone: id, function: name, worker };
}
