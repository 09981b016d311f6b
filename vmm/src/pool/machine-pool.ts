/**
 * The pool: templates by name, worker threads that own the clones. One worker per core: more only adds waiting. Each is a
 * Piscina of one thread, so that a clone can be asked for where it is; a thread that dies is replaced.
 *
 * Piscina looks after the threads, and has them make and end clones. Invocations go past it, on a line of each thread: one
 * message there and one back, and more where that is not enough (a body that streams, work behind the answer). Whether one
 * has begun stands in memory that all threads share: when its worker dies, one that has not is given to the worker that
 * takes its place.
 */
import { closeSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { MessagePort } from 'node:worker_threads';
import { encodeFrame, MayflyError } from '@mayfly/protocol';
import { Piscina } from 'piscina';
import '../machine/identity.js'; // so that workers share what it counts
import type { CloneSettings } from '../worker/clone-settings.js';
import {
  type BootResult,
  type InvokeTask,
  type Learned,
  type Task,
  type TaskError,
  taskState,
  type WorkerSettings,
} from '../worker/messages.js';
import { sharedNow } from '../worker/shared-clock.js';
import type { Template } from '../worker/template.js';
import { Exchange, type ExchangeResult } from './exchange.js';
import { isWorkerGone, WorkerError, workerGone } from './failures.js';
import { StoredTemplates } from './stored-templates.js';
import type { Body, InvokeFrame, InvokeOptions, Place, Pool, TemplateSpec } from './types.js';
import { WorkerLine } from './worker-line.js';

export interface MachinePoolOptions {
  /** Where the memory files of templates are made; a real file system, best one with large folios. */
  directory: string;
  /** Where the stored ones are kept, a CheckpointStore; without it all are made anew. */
  checkpoints?: string;
  workers?: number;
  /** How clones are made; see CLONE_SETTINGS for what is not said. */
  clones?: Partial<CloneSettings>;
  /** File of a Journal, for those who want to know what had begun when this process is dead. */
  journal?: number;
  /** The module of a worker, for tests whose guests are no machines. */
  worker?: URL;
}

/** Invocations that may be under way at once, in all workers. Who places them decides how many there are. */
const INVOCATIONS_MAX = 16_384;
const TASKS_MAX = 1 << 20;
/** A task that several workers died of, one after the other, is not given to one more. */
const ATTEMPTS = 3;

/** A template in memory. */
interface Held {
  template: Template;
  close(): void;
  /** The id of its checkpoint, once it has one; undefined if it gets none. */
  stored: Promise<string | undefined>;
}

export class MachinePool implements Pool {
  readonly #threads: readonly Piscina[];
  /** By worker, from its first invocation to its death. */
  readonly #lines: (WorkerLine | undefined)[] = [];
  readonly #directory: string;
  readonly #templates = new Map<string, Held>();
  readonly #stored: StoredTemplates | undefined;
  /** Templates, and what was learned of them, on their way to the store. */
  readonly #saves = new Set<Promise<unknown>>();
  readonly #states = new Int32Array(new SharedArrayBuffer(4 * INVOCATIONS_MAX));
  /** Slots of #states that no task has. */
  readonly #free = Array.from({ length: INVOCATIONS_MAX }, (_, slot) => slot);
  #workerLost: (worker: number) => void = () => {};
  #nextId = 1;
  #closing = false;

  constructor(options: MachinePoolOptions) {
    const { directory, checkpoints, clones, journal, worker } = options;
    const workers = options.workers ?? availableParallelism();
    this.#directory = directory;
    if (checkpoints !== undefined) this.#stored = new StoredTemplates(checkpoints);
    mkdirSync(directory, { recursive: true });
    const settings: WorkerSettings = { ...clones, states: this.#states, journal };
    const module = worker ?? new URL('../worker/worker.js', import.meta.url);
    this.#threads = Array.from({ length: workers }, (_, worker) =>
      this.#newThread(worker, module, settings),
    );
  }

  get workers(): number {
    return this.#threads.length;
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    const [program] = spec.argv;
    if (program === undefined) throw new MayflyError('MAYFLY_BAD_ARGUMENT', 'argv is empty');
    const started = performance.now();
    const found = await this.#load(spec);
    if (found !== undefined) {
      await this.#hold(spec.name, found.held);
      return { bootMicros: (performance.now() - started) * 1000, readyHead: found.readyHead };
    }
    const id = this.#nextId++;
    const result = await this.#run<BootResult>(id % this.workers, {
      kind: 'boot',
      id,
      name: spec.name,
      program,
      argv: spec.argv,
      env: spec.env,
      cwd: spec.cwd ?? '/',
      images: spec.images,
      memoryBytes: spec.memoryBytes,
      network: spec.network ?? [],
      timeoutMs: spec.bootTimeoutMs,
      directory: this.#directory,
      dialect: spec.dialect,
    });
    const { template, head } = result;
    if (template !== undefined) {
      const close = () => closeSync(template.memoryFd);
      const held: Held = { template, close, stored: Promise.resolve(undefined) };
      await this.#hold(spec.name, held);
      if (spec.stored !== undefined) held.stored = this.#save(this.#store(spec, template, head));
    }
    return { bootMicros: result.bootMicros, readyHead: head };
  }

  async #hold(name: string, held: Held): Promise<void> {
    await this.remove(name);
    this.#templates.set(name, held);
  }

  async #load(spec: TemplateSpec): Promise<{ held: Held; readyHead: unknown } | undefined> {
    if (spec.stored === undefined) return undefined;
    const found = await this.#stored?.load(spec);
    if (found === undefined) return undefined;
    const { manifest, close, ...source } = found.loaded;
    const { name, network = [], dialect } = spec;
    const template = { id: this.#nextId++, name, network, dialect, ...source };
    const stored = Promise.resolve(manifest.id);
    return { held: { template, close, stored }, readyHead: found.readyHead };
  }

  /** In the background: what fails costs a boot at the next start, or page faults. */
  #save<T>(work: Promise<T>): Promise<T | undefined> {
    const saved = work.catch(() => undefined).finally(() => this.#saves.delete(saved));
    this.#saves.add(saved);
    return saved;
  }

  async #store(spec: TemplateSpec, template: Template, head: unknown): Promise<string | undefined> {
    const place = await this.#stored?.place(spec, head);
    if (this.#stored === undefined || place === undefined) return undefined;
    const { directory } = this.#stored;
    const task: Task = { kind: 'store', template, directory, command: spec.argv, ...place };
    return this.#run<string>(template.id % this.workers, task);
  }

  /** What one worker found out is for the next clones of the others too, and for later processes. */
  #learn({ templateId, workingSet }: Learned): void {
    const held = [...this.#templates.values()].find(({ template }) => template.id === templateId);
    if (held === undefined || held.template.workingSet !== undefined) return;
    held.template.workingSet = workingSet;
    const keep = async () => {
      const id = await held.stored;
      if (id !== undefined) await this.#stored?.keepWorkingSet(id, workingSet);
    };
    this.#save(keep());
  }

  async prune(group: string, keep: readonly string[]): Promise<void> {
    await Promise.all(this.#saves);
    await this.#stored?.prune(group, keep);
  }

  async invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<ExchangeResult> {
    const template = this.#template(name);
    const slot = this.#free.pop();
    if (slot === undefined) {
      throw new MayflyError('MAYFLY_OVERLOADED', 'too many invocations are under way');
    }
    Atomics.store(this.#states, slot, taskState.WAITING);
    const id = this.#nextId++;
    const abort = () => {
      Atomics.store(this.#states, slot, taskState.ABORTED);
      this.#lines[options.place.worker]?.abort(id);
    };
    const over = () => void this.#free.push(slot);
    try {
      const call: Call = { id, task: taskOf(slot, template.id, frame, options), options, abort };
      const result = await this.#attempt(call, template, frame.body);
      if (result.stats !== undefined) over();
      else result.end.then(over, over);
      return result;
    } catch (error) {
      over();
      throw error;
    }
  }

  async start(name: string, { worker, clone }: Place): Promise<void> {
    const template = this.#template(name);
    await this.#run(worker, { kind: 'start', templateId: template.id, clone, template });
  }

  async stop(name: string, { worker, clone }: Place): Promise<void> {
    const templateId = this.#templates.get(name)?.template.id;
    if (templateId !== undefined) await this.#run(worker, { kind: 'stop', templateId, clone });
  }

  async unload(name: string): Promise<void> {
    const held = this.#templates.get(name);
    if (held !== undefined) await this.#forget(held.template);
  }

  async remove(name: string): Promise<void> {
    const held = this.#templates.get(name);
    if (held === undefined) return;
    this.#templates.delete(name);
    await this.#forget(held.template);
    await held.stored; // which reads its memory
    held.close();
  }

  /** Whether there is a template of this name. */
  holds(name: string): boolean {
    return this.#templates.has(name);
  }

  /** Resolves when other processes can load the template from the store, if it is to be kept there. */
  async settled(name: string): Promise<void> {
    await this.#templates.get(name)?.stored;
  }

  onWorkerLost(listener: (worker: number) => void): void {
    this.#workerLost = listener;
  }

  async close(): Promise<void> {
    await Promise.all(this.#saves);
    this.#closing = true;
    await Promise.all(this.#threads.map((thread) => thread.destroy()));
    for (const line of this.#lines) line?.fail(poolClosed());
    for (const { close } of this.#templates.values()) close();
    this.#templates.clear();
  }

  #template(name: string): Template {
    const template = this.#templates.get(name)?.template;
    if (template !== undefined) return template;
    throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `no template is named ${name}`);
  }

  async #forget({ id }: Template): Promise<void> {
    const task: Task = { kind: 'forget', templateId: id };
    const forgetting = this.#threads.map((_, worker) => this.#run(worker, task));
    await Promise.all(forgetting.map((one) => one.catch(unlessWorkerGone)));
  }

  /** To an answer. A template travels to a worker only when it says that it lacks it. */
  async #attempt(call: Call, template: Template, body: Body): Promise<ExchangeResult> {
    const { task } = call;
    for (let deaths = 0; ; ) {
      try {
        return await this.#exchange(call, body);
      } catch (error) {
        const code = error instanceof MayflyError ? error.code : '';
        const { WAITING, STARTED } = taskState;
        if (code === 'MAYFLY_TEMPLATE_NOT_HERE' && task.template === undefined) {
          task.template = template;
          Atomics.compareExchange(this.#states, task.slot, STARTED, WAITING);
        } else if (!isWorkerGone(error) || ++deaths >= ATTEMPTS || !this.#waits(task)) {
          throw error;
        }
      }
    }
  }

  #waits({ slot }: InvokeTask): boolean {
    return Atomics.load(this.#states, slot) === taskState.WAITING;
  }

  #exchange({ id, task, options, abort }: Call, body: Body): Promise<ExchangeResult> {
    const line = this.#line(options.place.worker);
    const exchange = new Exchange(line.lineOf(id, abort), options);
    if (!(body instanceof Uint8Array)) exchange.sendRequest(body);
    line.invoke(id, task, exchange);
    return exchange.result;
  }

  #line(worker: number): WorkerLine {
    const connect = (port: MessagePort) => this.#run(worker, { kind: 'connect', port }, [port]);
    this.#lines[worker] ??= new WorkerLine(connect);
    return this.#lines[worker];
  }

  async #run<R>(worker: number, task: Task, transferList?: MessagePort[]): Promise<R> {
    const thread = this.#threads[worker] as Piscina;
    let result: R | TaskError;
    try {
      result = (await thread.run(task, transferList && { transferList })) as R | TaskError;
    } catch (error) {
      if (this.#closing) throw poolClosed();
      throw workerGone(error);
    }
    if (typeof result === 'object' && result !== null && 'error' in result) {
      throw new WorkerError(result.error);
    }
    return result;
  }

  #newThread(worker: number, module: URL, workerData: WorkerSettings): Piscina {
    const thread = new Piscina({
      filename: fileURLToPath(module),
      name: 'run',
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: TASKS_MAX,
      workerData,
      recordTiming: false,
      // A thread that blocks on Atomics between tasks could not rewind, nor serve a clone that waits.
      atomics: 'disabled',
      // Templates' memory files are opened by one worker and used by all: they outlive it.
      trackUnmanagedFds: false,
    });
    thread.on('message', (learned: Learned) => this.#learn(learned));
    thread.on('workerDestroy', () => {
      if (this.#closing) return;
      this.#lines[worker]?.lost();
      this.#lines[worker] = undefined;
      this.#workerLost(worker);
    });
    thread.on('error', () => {}); // of one that had nothing to do
    return thread;
  }
}

/** An invocation that is under way. */
interface Call {
  id: number;
  task: InvokeTask;
  options: InvokeOptions;
  abort(): void;
}

function taskOf(
  slot: number,
  templateId: number,
  { head, body }: InvokeFrame,
  { place: { clone }, ticket, timeoutMs, cpuMs, queuedAt = sharedNow() }: InvokeOptions,
): InvokeTask {
  const more = !(body instanceof Uint8Array);
  const frame = more ? encodeFrame({ ...head, more }) : encodeFrame(head, body);
  const template = undefined;
  return { slot, templateId, clone, ticket, template, frame, more, timeoutMs, cpuMs, queuedAt };
}

function poolClosed(): MayflyError {
  return new MayflyError('MAYFLY_POOL_CLOSED', 'the pool is closed');
}

/** What a thread knew, it forgot with its death. */
function unlessWorkerGone(error: unknown): void {
  if (!isWorkerGone(error)) throw error;
}
