/** What a worker does for its pool, whatever its guests are: one object a thread. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { MayflyError } from '@mayfly/protocol';
import Piscina, { move, transferableSymbol, valueSymbol } from 'piscina';
import type { Guest } from './guest.js';
import { buffersOf, Invocation, type Rewound, taskError } from './invocation.js';
import { Journal } from './journal.js';
import {
  type BootResult,
  type BootTask,
  type EarlyLogs,
  type InvocationEnd,
  type InvokeReply,
  type InvokeTask,
  type StartTask,
  type StopTask,
  type StoreTask,
  type Task,
  taskState,
  type WorkerSettings,
} from './messages.js';
import { Parking } from './parking.js';
import { Turns } from './turns.js';

/** Where guests come from, and go back to. */
export interface Guests<G extends Guest = Guest> {
  boot(task: BootTask): Promise<BootResult>;
  /** Makes the one of this number, unless it is there. */
  start(task: StartTask): void;
  /** Ends the one of this number, if it waits. */
  stop(task: StopTask): void;
  /** The one of the task's number, pristine. Throws MAYFLY_TEMPLATE_NOT_HERE when the task must bring its template. */
  take(task: InvokeTask): G;
  /** After its invocation. `sound`: it can be rewound. */
  putBack(guest: G, task: InvokeTask, sound: boolean): void;
  forget(templateId: number): void;
  /** Returns the checkpoint's id. */
  store(task: StoreTask): Promise<string>;
  /** Of this thread, so far. */
  readonly replaced: number;
  /** Of the guest's last rewind. */
  rewound(guest: G): Rewound;
}

/** Wall-clock milliseconds that all threads of the process share. */
const sharedNow = () => performance.timeOrigin + performance.now();

class Tasks<G extends Guest> {
  readonly #guests: Guests<G>;
  readonly #states: Int32Array;
  readonly #journal: Journal | undefined;
  readonly #turns = new Turns();
  readonly #parking = new Parking((news) => parentPort?.postMessage(news));
  readonly #invocations = new Map<number, Invocation>();

  constructor(guests: Guests<G>, { states, journal }: WorkerSettings) {
    this.#guests = guests;
    this.#states = states;
    if (journal !== undefined) this.#journal = new Journal(journal);
  }

  /** What Piscina calls. Errors come back as data with their codes. */
  readonly run = async (task: Task): Promise<unknown> => {
    try {
      return await this.#do(task);
    } catch (error) {
      return taskError(error);
    }
  };

  #do(task: Task): unknown {
    const guests = this.#guests;
    if (task.kind === 'invoke') return this.#invoke(task);
    if (task.kind === 'abort') return this.#invocations.get(task.id)?.abort();
    if (task.kind === 'start') return guests.start(task);
    if (task.kind === 'stop') return guests.stop(task);
    if (task.kind === 'forget') return guests.forget(task.templateId);
    if (task.kind === 'store') return guests.store(task);
    return guests.boot(task);
  }

  #invoke(task: InvokeTask): unknown {
    const { WAITING, STARTED } = taskState;
    if (Atomics.compareExchange(this.#states, task.slot, WAITING, STARTED) !== WAITING) {
      const error = new MayflyError('MAYFLY_ABORTED', 'the caller went away');
      return taskError(error, { cloneKept: true });
    }
    const before = performance.now();
    const guest = this.#guests.take(task);
    if (task.ticket !== undefined) this.#journal?.begin(task.ticket);
    const cloneMicros = (performance.now() - before) * 1000;
    const queueMicros = Math.max(0, (sharedNow() - task.queuedAt) * 1000);
    return new Promise((resolve) => {
      const owner = this.#ownerOf(task, guest, resolve);
      const times = { queueMicros, cloneMicros };
      const invocation = new Invocation(guest, { ...task, ...times }, owner, this.#turns);
      this.#invocations.set(task.id, invocation);
      this.#turns.start(invocation);
    });
  }

  #ownerOf(task: InvokeTask, guest: G, resolve: (result: unknown) => void) {
    const guests = this.#guests;
    const { id } = task;
    return {
      reply: (reply: InvokeReply) => resolve(movable(reply)),
      fail: (error: MayflyError, end: InvocationEnd) => resolve(taskError(error, end)),
      logs: (logs: unknown[]) => parentPort?.postMessage({ id, logs } satisfies EarlyLogs),
      parked: (parked: boolean) => this.#parking.note(id, parked),
      over: (sound: boolean) => {
        this.#invocations.delete(id);
        this.#parking.over(id);
        guests.putBack(guest, task, sound);
      },
      get replaced() {
        return guests.replaced;
      },
      get rewound() {
        return guests.rewound(guest);
      },
    };
  }
}

/** The function that a worker's module exports as `run`, for the pool to have Piscina call. */
export function poolTasks<G extends Guest>(guests: Guests<G>): (task: Task) => Promise<unknown> {
  return new Tasks(guests, Piscina.workerData as WorkerSettings).run;
}

function movable(reply: InvokeReply): unknown {
  const { port, body } = reply;
  const transfer: (ArrayBuffer | MessagePort)[] = buffersOf([body]);
  if (port !== undefined) transfer.push(port);
  if (transfer.length === 0) return reply;
  return move({ [transferableSymbol]: transfer, [valueSymbol]: reply } as never);
}
