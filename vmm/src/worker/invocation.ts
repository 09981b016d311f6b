/**
 * One invocation in a guest, from the first frame to the last. It takes turns with others of its thread, tells the pool
 * what the guest says at the end of each turn, and lets the guest wait while too much of that is on its way.
 */
import { AnswerOrder, answerBroken, type Frame, MayflyError } from '@mayfly/protocol';
import type { Stop } from '../machine/machine.js';
import type { Guest, GuestListener } from './guest.js';
import {
  type AboutInvocation,
  type InvocationEnd,
  type InvokeTask,
  type TaskError,
  WINDOW,
  type WorkerStats,
} from './messages.js';
import type { Turning, Turns } from './turns.js';

/**
 * Slices in a row before others of the thread get a turn. A turn wants to be long: whoever gets it may need a new clone,
 * whose first run takes tens of milliseconds.
 */
const TURN_SLICES = 4;

/** Where an invocation's results go. */
export interface InvocationOwner {
  /** To the pool; what is in `transfer` is gone from here. */
  post(about: AboutInvocation, transfer?: ArrayBuffer[]): void;
  /** It waits, or goes on. */
  parked(parked: boolean): void;
  /** The last call. `sound`: the guest can be rewound; else nobody knows what it is up to. */
  over(sound: boolean): void;
  readonly replaced: number;
  readonly rewound: Rewound;
}

/** The guest's last rewind, before this invocation. */
export interface Rewound {
  rewoundPages: number;
  /** undefined for a new guest. */
  rewindMicros: number | undefined;
}

export type InvocationTask = Pick<InvokeTask, 'frame' | 'more' | 'timeoutMs' | 'cpuMs'> & {
  queueMicros: number;
  cloneMicros: number;
};

export class Invocation implements Turning, GuestListener {
  readonly #guest: Guest;
  readonly #task: InvocationTask;
  readonly #owner: InvocationOwner;
  readonly #turns: Turns;
  readonly #order = new AnswerOrder();
  readonly #started = performance.now();
  #head: Frame['head'] | undefined;
  #replied = false;
  /** The pool knows how it ended. */
  #toldEnd = false;
  #bodyEnded = false;
  #over = false;
  /** What is to be told at the end of the turn. */
  #bytes: Uint8Array[] = [];
  #logs: unknown[] = [];
  /** Bytes of the answer that its reader has not taken. */
  #underWay = 0;
  #paused = false;
  /** Bytes of the request that the guest has no room for. */
  #owed = 0;
  #cpuMs = 0;
  #lastStop: Stop['kind'] = 'slice';

  constructor(guest: Guest, task: InvocationTask, owner: InvocationOwner, turns: Turns) {
    this.#guest = guest;
    this.#task = task;
    this.#owner = owner;
    this.#turns = turns;
    guest.begin(task.frame, this);
    if (task.more) owner.post({ started: true });
  }

  turn(): number | undefined {
    for (let slices = 1; ; slices++) {
      if (this.#over || this.#settle()) return undefined;
      const entered = performance.now();
      if (entered >= this.#deadline) return this.#failLate();
      let stop: Stop;
      try {
        stop = this.#guest.enter();
      } catch (error) {
        return this.#fail(error as MayflyError);
      }
      const now = performance.now();
      this.#cpuMs += now - entered;
      this.#lastStop = stop.kind;
      if (this.#order.over) continue;
      if (stop.kind === 'failed' || stop.kind === 'exited') {
        return this.#fail(this.#guest.errorOf(stop));
      }
      if (this.#cpuMs >= (this.#task.cpuMs ?? Number.POSITIVE_INFINITY)) return this.#failBusy();
      this.#tell();
      if (stop.kind === 'idle') return Math.min(this.#deadline, dueOf(stop.deadline));
      if (slices >= TURN_SLICES) return now;
    }
  }

  onParked(parked: boolean): void {
    this.#owner.parked(parked);
  }

  /** Ends it: nobody wants to know any more. */
  abort(): void {
    if (this.#over) return;
    this.#turns.leave(this);
    this.#stop(new MayflyError('MAYFLY_ABORTED', 'the caller went away'));
  }

  onFrame({ head, body }: Frame): void {
    if (this.#order.over) return; // Whatever follows the end, nobody waits for it.
    const part = this.#order.take(head);
    if (part === 'log') this.#logs.push(head.logs);
    else if (part === 'error') this.#broken(head);
    else if (part === 'head') this.#head = head;
    if (body.byteLength > 0 && (part === 'head' || part === 'chunk')) this.#add(body);
    if (this.#order.over) this.#guest.satisfy();
  }

  /** Whoever has the answer's head already can only be told that it broke off. */
  #broken(head: Frame['head']): void {
    if (this.#replied) throw answerBroken(head);
    this.#head = head;
    this.#bytes = [];
  }

  onInput(): void {
    this.#turns.wake(this);
  }

  onDrain(): void {
    if (this.#owed === 0) return;
    this.#owner.post({ taken: this.#owed });
    this.#owed = 0;
  }

  get #deadline(): number {
    return this.#started + this.#task.timeoutMs;
  }

  #add(body: Uint8Array): void {
    this.#bytes.push(body);
    this.#underWay += body.byteLength;
    if (this.#underWay < WINDOW || this.#paused) return;
    this.#paused = true;
    this.#guest.pause();
  }

  /** Whether it is over; then everything was told. */
  #settle(): boolean {
    if (!this.#order.over) return false;
    this.#tell();
    if (!this.#toldEnd) this.#owner.post({ over: this.#stats() });
    this.#end(this.#lastStop !== 'failed');
    return true;
  }

  #tell(): void {
    this.#logs.push(...nonEmpty(this.#guest.takeLines(this.#order.over)));
    if (!this.#replied) {
      if (this.#head !== undefined) this.#reply(this.#head);
      else this.#tellLogs();
      return;
    }
    if (this.#bytes.length > 0) {
      const bytes = this.#bytes;
      this.#bytes = [];
      this.#owner.post({ bytes }, buffersOf(bytes));
    }
    this.#tellLogs();
    if (this.#bodyEnded || this.#order.phase === 'body') return;
    this.#bodyEnded = true;
    this.#owner.post({ bodyEnd: true });
  }

  #reply(head: Frame['head']): void {
    const { over, phase } = this.#order;
    const body = joined(this.#bytes);
    this.#bytes = [];
    this.#replied = true;
    this.#bodyEnded = phase !== 'body';
    this.#toldEnd = over;
    const { queueMicros, cloneMicros } = this.#task;
    const reply = {
      head,
      body,
      logs: this.#take(),
      queueMicros,
      cloneMicros,
      guestMicros: this.#micros(),
      stats: over ? this.#stats() : undefined,
      streams: phase === 'body',
    };
    this.#owner.post({ reply }, buffersOf([body]));
  }

  #tellLogs(): void {
    if (this.#logs.length > 0) this.#owner.post({ logs: this.#take() });
  }

  #failLate(): undefined {
    const message = 'the function took longer than it may';
    return this.#stop(new MayflyError('MAYFLY_GUEST_TIMEOUT', message));
  }

  #failBusy(): undefined {
    const message = `the function used more than ${this.#task.cpuMs} ms of processor time`;
    return this.#stop(new MayflyError('MAYFLY_GUEST_CPU', message));
  }

  /** Between two turns the guest stands still, and can be rewound from wherever it is. */
  #stop(error: MayflyError): undefined {
    return this.#fail(error, true);
  }

  /** `sound`: as in InvocationOwner.over(). */
  #fail(error: MayflyError, sound = false): undefined {
    const end = { cloneKept: sound, stats: this.#stats() };
    if (this.#replied) {
      this.#bodyEnded = true; // It breaks off, it does not end.
      this.#tell();
    } else {
      this.#logs.push(...nonEmpty(this.#guest.takeLines(true)));
      this.#tellLogs();
    }
    this.#owner.post(taskError(error, end));
    this.#end(sound);
    return undefined;
  }

  #end(sound: boolean): void {
    this.#over = true;
    this.#owner.over(sound);
  }

  /** A frame of the request. */
  send(frame: Uint8Array): void {
    if (this.#over) return;
    if (this.#guest.send(frame)) this.#owner.post({ taken: frame.byteLength });
    else this.#owed += frame.byteLength;
  }

  /** The reader of the answer has taken so much. */
  taken(bytes: number): void {
    this.#underWay -= bytes;
    if (!this.#paused || this.#underWay > WINDOW / 2) return;
    this.#paused = false;
    this.#guest.resume();
    this.#turns.wake(this);
  }

  #take(): unknown[] {
    const logs = this.#logs;
    if (logs.length > 0) this.#logs = [];
    return logs;
  }

  #micros(): number {
    return (performance.now() - this.#started) * 1000;
  }

  #stats(): WorkerStats {
    const { queueMicros, cloneMicros } = this.#task;
    const { replaced, rewound } = this.#owner;
    const cpuMicros = this.#cpuMs * 1000;
    return {
      queueMicros,
      cloneMicros,
      guestMicros: this.#micros(),
      cpuMicros,
      ...rewound,
      faults: this.#guest.faults,
      network: this.#guest.egress,
      replaced,
    };
  }
}

/** Smaller arrays are copied: that costs less than to give memory away, and theirs may be shared (Buffer.poolSize). */
const MOVE_MIN = 16 * 1024;

/** What crosses threads without a copy. */
export function buffersOf(arrays: Uint8Array[]): ArrayBuffer[] {
  const large = arrays.filter(({ byteLength }) => byteLength >= MOVE_MIN);
  return large.map(({ buffer }) => buffer as ArrayBuffer);
}

export function taskError(error: unknown, end: InvocationEnd = {}): TaskError {
  if (!(error instanceof Error)) return { error: { code: 'MAYFLY_INTERNAL', message: `${error}` } };
  const code = error instanceof MayflyError ? error.code : 'MAYFLY_INTERNAL';
  const { message, cause: detail } = error;
  const told = typeof detail === 'string' || code === 'MAYFLY_ANSWER_BROKEN';
  return { error: { code, message, ...(told && { detail }), ...end } };
}

function nonEmpty<T>(lines: T[]): T[][] {
  return lines.length > 0 ? [lines] : [];
}

function joined(pieces: Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array;
  return pieces.length === 0 ? NOTHING : Buffer.concat(pieces);
}

const NOTHING = new Uint8Array(0);

/** The guest's own deadline (CLOCK_MONOTONIC ns) as performance.now() has it. */
function dueOf(deadline: bigint | undefined): number {
  if (deadline === undefined) return Number.POSITIVE_INFINITY;
  return performance.now() + Number(deadline - process.hrtime.bigint()) / 1e6;
}
