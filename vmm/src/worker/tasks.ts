/** What a worker does for its pool, whatever its guests are: one object a thread. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { MayflyError } from '@mayfly/protocol';
import type { Guest } from './guest.js';
import { Invocation, type InvocationOwner, type Rewound, taskError } from './invocation.js';
import { Journal } from './journal.js';
import {
  type BootResult,
  type BootTask,
  type ConnectTask,
  type FromWorker,
  type InvokeTask,
  type StartTask,
  type StopTask,
  type StoreTask,
  type Task,
  type ToWorker,
  taskState,
  type WorkerSettings,
} from './messages.js';
import { Parking } from './parking.js';
import { sharedNow } from './shared-clock.js';
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

class Tasks<G extends Guest> {
  readonly #guests: Guests<G>;
  readonly #states: Int32Array;
  readonly #journal: Journal | undefined;
  readonly #turns = new Turns();
  readonly #parking = new Parking((news) => this.#post(news));
  readonly #invocations = new Map<number, Invocation>();
  #line: MessagePort | undefined;

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
    if (task.kind === 'connect') return this.#connect(task);
    if (task.kind === 'start') return guests.start(task);
    if (task.kind === 'stop') return guests.stop(task);
    if (task.kind === 'forget') return guests.forget(task.templateId);
    if (task.kind === 'store') return guests.store(task);
    return guests.boot(task);
  }

  #connect({ port }: ConnectTask): void {
    this.#line = port;
    port.on('message', (messages: ToWorker[]) => {
      for (const message of messages) this.#receive(message);
    });
  }

  #post(message: FromWorker, transfer?: ArrayBuffer[]): void {
    this.#line?.postMessage(message, transfer);
  }

  #receive(message: ToWorker): void {
    const { id } = message;
    if ('invoke' in message) this.#invoke(id, message.invoke);
    else if ('abort' in message) this.#invocations.get(id)?.abort();
    else if ('frame' in message) this.#invocations.get(id)?.send(message.frame);
    else this.#invocations.get(id)?.taken(message.taken);
  }

  #invoke(id: number, task: InvokeTask): void {
    try {
      this.#begin(id, task);
    } catch (error) {
      this.#post({ id, ...taskError(error) });
    }
  }

  #begin(id: number, task: InvokeTask): void {
    const { WAITING, STARTED } = taskState;
    if (Atomics.compareExchange(this.#states, task.slot, WAITING, STARTED) !== WAITING) {
      const error = new MayflyError('MAYFLY_ABORTED', 'the caller went away');
      this.#post({ id, ...taskError(error, { cloneKept: true }) });
      return;
    }
    const before = performance.now();
    const guest = this.#guests.take(task);
    if (task.ticket !== undefined) this.#journal?.begin(task.ticket);
    const cloneMicros = (performance.now() - before) * 1000;
    const queueMicros = Math.max(0, (sharedNow() - task.queuedAt) * 1000);
    const owner = this.#ownerOf(id, task, guest);
    const times = { queueMicros, cloneMicros };
    const invocation = new Invocation(guest, { ...task, ...times }, owner, this.#turns);
    this.#invocations.set(id, invocation);
    this.#turns.start(invocation);
  }

  #ownerOf(id: number, task: InvokeTask, guest: G): InvocationOwner {
    const guests = this.#guests;
    return {
      post: (about, transfer) => this.#post({ id, ...about }, transfer),
      parked: (parked) => this.#parking.note(id, parked),
      over: (sound) => {
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
  return new Tasks(guests, workerData as WorkerSettings).run;
}
