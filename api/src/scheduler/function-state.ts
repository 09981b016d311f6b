/** What the scheduler knows of one function: its clones, its line, and how much it had already. */
import type { SchedulingSettings } from './types.js';
import { WaitingLine } from './waiting-line.js';

export interface Invocation {
  readonly id: string;
  readonly function: FunctionState;
  readonly deadlineMs: number;
  state: 'waiting' | 'running' | 'parked';
  /** undefined while it waits. */
  clone: Clone | undefined;
  /** What was charged for it ahead, in microseconds. */
  charged: number;
  /** When it went on last. */
  sinceMs: number;
  before: Invocation | undefined;
  behind: Invocation | undefined;
}

export interface Clone {
  readonly id: number;
  readonly function: FunctionState;
  readonly worker: number;
  bytes: number;
  /** When it was last given back. */
  idleSinceMs: number;
}

/** What an invocation is taken to cost before one has ended. */
const COST_MICROS_GUESS = 1000;
/** Weight of the newest cost in the running mean. */
const COST_WEIGHT = 1 / 8;

export class FunctionState {
  readonly name: string;
  readonly settings: SchedulingSettings;
  readonly line = new WaitingLine<Invocation>();
  /** By worker, each with the one that was used last at the end. */
  readonly idle: Clone[][];
  idleCount = 0;
  running = 0;
  /** Sums over those that run. */
  #sinceMs = 0;
  #charged = 0;
  parked = 0;
  coldStarts = 0;
  /** Processor time that it had, in microseconds, against that of the others; see Scheduler. */
  virtualMicros = 0;
  costMicros = COST_MICROS_GUESS;
  cloneBytes: number;
  lastUsedMs: number;
  retired = false;
  /** Whether `idle` was said since it last had a clone. */
  saidIdle = false;

  constructor(name: string, settings: SchedulingSettings, workers: number, nowMs: number) {
    this.name = name;
    this.settings = settings;
    this.idle = Array.from({ length: workers }, () => []);
    this.cloneBytes = settings.cloneBytes;
    this.lastUsedMs = nowMs;
  }

  get clones(): number {
    return this.idleCount + this.running + this.parked;
  }

  /** Clones that stay when nobody calls. */
  get kept(): number {
    return this.retired ? 0 : Math.min(this.settings.minClones, this.settings.maxClones);
  }

  get quiet(): boolean {
    return this.line.size === 0 && this.running === 0 && this.parked === 0;
  }

  /** Virtual time now: what runs for longer than was charged counts already. */
  virtualMicrosAt(nowMs: number): number {
    const beyond = (this.running * nowMs - this.#sinceMs) * 1000 - this.#charged;
    return this.virtualMicros + Math.max(0, beyond);
  }

  countRunning({ sinceMs, charged }: Invocation, by: 1 | -1): void {
    this.running += by;
    this.#sinceMs += by * sinceMs;
    this.#charged += by * charged;
  }

  learnCost(micros: number): void {
    this.costMicros += (micros - this.costMicros) * COST_WEIGHT;
  }

  pushIdle(clone: Clone): void {
    this.idle[clone.worker]!.push(clone);
    this.idleCount++;
  }

  /** The idle clone of this worker that was used last. */
  popIdle(worker: number): Clone | undefined {
    const clone = this.idle[worker]!.pop();
    if (clone !== undefined) this.idleCount--;
    return clone;
  }

  /** The clone that was idle longest. */
  get oldestIdle(): Clone | undefined {
    let oldest: Clone | undefined;
    for (const [first] of this.idle) {
      if (first && (oldest === undefined || first.idleSinceMs < oldest.idleSinceMs)) oldest = first;
    }
    return oldest;
  }

  /** `clone` must be the one that was idle longest on its worker. */
  dropOldest(clone: Clone): void {
    this.idle[clone.worker]!.shift();
    this.idleCount--;
  }
}
