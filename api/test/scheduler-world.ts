/**
 * A host as the scheduler sees one, that checks every effect: clones are made once and serve one invocation at a time,
 * every invocation is dispatched or rejected once, and no limit is passed.
 */
import assert from 'node:assert/strict';
import {
  type Effect,
  type Outcome,
  type RejectionReason,
  Scheduler,
  type SchedulerLimits,
  type SchedulingSettings,
} from '../src/scheduler/index.js';

export const SETTINGS: SchedulingSettings = {
  minClones: 0,
  maxClones: 8,
  queueMax: 100,
  idleMs: 1000,
  timeoutMs: 500,
  cloneBytes: 10,
};

export const LIMITS: SchedulerLimits = {
  workers: 2,
  runningPerWorker: 2,
  memoryBytes: 1000,
  waitingMax: 1000,
};

interface LiveClone {
  function: string;
  worker: number;
  bytes: number;
  invocation: string | undefined;
}

export class World {
  readonly scheduler: Scheduler;
  readonly limits: SchedulerLimits;
  readonly settings = new Map<string, SchedulingSettings>();
  readonly clones = new Map<number, LiveClone>();
  readonly waiting = new Set<string>();
  /** Dispatched and not over, with their clones. */
  readonly busy = new Map<string, number>();
  readonly parked = new Set<string>();
  readonly rejected = new Map<string, RejectionReason>();
  /** Names in the order of their dispatches. */
  readonly dispatches: string[] = [];
  readonly idle = new Set<string>();
  readonly retired = new Set<string>();
  readonly submitted: string[] = [];
  drained = 0;
  now = 0;
  /** What a clone of a function takes that was told last. */
  readonly #estimates = new Map<string, number>();

  constructor(limits: Partial<SchedulerLimits> = {}) {
    this.limits = { ...LIMITS, ...limits };
    this.scheduler = new Scheduler(this.limits, () => this.now);
  }

  add(name: string, settings: Partial<SchedulingSettings> = {}): void {
    this.settings.set(name, { ...SETTINGS, ...settings });
    this.#estimates.set(name, this.settings.get(name)!.cloneBytes);
    this.apply(this.scheduler.add(name, this.settings.get(name)!));
  }

  submit(name: string): string {
    const id = `${name}-${this.submitted.length}`;
    this.submitted.push(id);
    this.waiting.add(id);
    this.apply(this.scheduler.submit(name, id));
    return id;
  }

  finish(id: string, outcome: Partial<Outcome> = {}): void {
    const clone = this.busy.get(id);
    assert(clone !== undefined);
    const live = this.clones.get(clone)!;
    const { cloneKept = true, cloneBytes } = outcome;
    this.busy.delete(id);
    this.parked.delete(id);
    live.invocation = undefined;
    if (cloneBytes !== undefined) {
      live.bytes = cloneBytes;
      this.#estimates.set(live.function, cloneBytes);
    }
    if (!cloneKept) this.clones.delete(clone);
    this.apply(this.scheduler.finished(id, { ...outcome, cloneKept }));
  }

  park(id: string): void {
    this.parked.add(id);
    this.apply(this.scheduler.parked(id));
  }

  resume(id: string): void {
    this.parked.delete(id);
    this.apply(this.scheduler.resumed(id));
  }

  loseWorker(worker: number): void {
    for (const [id, clone] of this.clones) {
      if (clone.worker === worker && clone.invocation === undefined) this.clones.delete(id);
    }
    this.apply(this.scheduler.workerLost(worker));
  }

  /** Lets time pass, with a tick whenever one is wanted. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let ticks = 0; this.scheduler.wakeMs <= end; ticks++) {
      assert(ticks < 10_000, 'ticks without end');
      this.now = Math.max(this.now, this.scheduler.wakeMs);
      this.apply(this.scheduler.tick());
    }
    this.now = end;
  }

  runningOn(worker: number): string[] {
    return [...this.busy.keys()].filter(
      (id) => !this.parked.has(id) && this.clones.get(this.busy.get(id)!)!.worker === worker,
    );
  }

  get memory(): number {
    return [...this.clones.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  apply(effects: Effect[]): void {
    for (const effect of effects) this.#apply(effect);
    this.#check();
  }

  #apply(effect: Effect): void {
    if (effect.type === 'start') this.#make(effect);
    else if (effect.type === 'dispatch') this.#dispatch(effect);
    else if (effect.type === 'stop') this.#stop(effect);
    else if (effect.type === 'reject') {
      assert(this.waiting.delete(effect.invocation), `${effect.invocation} does not wait`);
      assert(effect.retryAfterSeconds >= 1 && effect.retryAfterSeconds <= 60);
      this.rejected.set(effect.invocation, effect.reason);
    } else if (effect.type === 'idle') {
      assert(!this.live(effect.function).length, 'an idle function has no clones');
      this.idle.add(effect.function);
    } else if (effect.type === 'retired') {
      assert(!this.retired.has(effect.function));
      assert(!this.live(effect.function).length, 'a retired function has no clones');
      this.retired.add(effect.function);
    } else {
      assert.equal(this.waiting.size + this.busy.size, 0, 'drained means that nothing is left');
      this.drained++;
    }
  }

  live(name: string): LiveClone[] {
    return [...this.clones.values()].filter((clone) => clone.function === name);
  }

  #make({ clone, function: name, worker }: Effect & { type: 'start' | 'dispatch' }): LiveClone {
    assert(!this.clones.has(clone), `clone ${clone} is there already`);
    assert(worker >= 0 && worker < this.limits.workers);
    const bytes = this.#estimates.get(name)!;
    const fits = this.clones.size === 0 || this.memory + bytes <= this.limits.memoryBytes;
    assert(fits, 'a clone is made only when there is memory for it');
    const live = { function: name, worker, bytes, invocation: undefined };
    this.clones.set(clone, live);
    this.idle.delete(name);
    assert(this.live(name).length <= this.settings.get(name)!.maxClones, 'too many clones');
    return live;
  }

  #dispatch(effect: Effect & { type: 'dispatch' }): void {
    const { invocation, clone, function: name, worker, fresh } = effect;
    assert(this.waiting.delete(invocation), `${invocation} does not wait`);
    const others = this.runningOn(worker);
    assert(
      others.length < this.limits.runningPerWorker || !this.#runsAnywhere(name),
      'a worker is full',
    );
    const live = fresh ? this.#make(effect) : this.clones.get(clone);
    assert(live, `there is no clone ${clone}`);
    assert.equal(live.invocation, undefined, `clone ${clone} is busy`);
    assert.equal(live.function, name);
    assert.equal(live.worker, worker);
    live.invocation = invocation;
    this.busy.set(invocation, clone);
    this.dispatches.push(name);
  }

  #runsAnywhere(name: string): boolean {
    return [...this.busy].some(
      ([id, clone]) => !this.parked.has(id) && this.clones.get(clone)!.function === name,
    );
  }

  #stop({ clone }: Effect & { type: 'stop' }): void {
    const live = this.clones.get(clone);
    assert(live, `there is no clone ${clone}`);
    assert.equal(live.invocation, undefined, 'a busy clone is not stopped');
    this.clones.delete(clone);
  }

  #check(): void {
    const { scheduler, limits, waiting, busy, clones } = this;
    assert.equal(scheduler.waiting, waiting.size);
    assert.equal(scheduler.invocations, waiting.size + busy.size);
    assert.equal(scheduler.clones, clones.size);
    assert.equal(scheduler.memoryBytes, this.memory);
    assert(waiting.size <= limits.waitingMax, 'too many wait');
    for (const [name, { queueMax }] of this.settings) {
      const load = scheduler.load(name);
      if (load === undefined) continue;
      assert.equal(load.clones, this.live(name).length);
      assert(load.waiting <= queueMax, `too many wait for ${name}`);
    }
  }
}
