/**
 * The pool: templates by name, worker threads that own the clones. One worker per core: more only adds waiting. Each is a
 * Piscina of one thread, so that a clone can be asked for where it is; a thread that dies is replaced.
 *
 * An invocation is one task and one reply. Where that is not enough (a body that streams, work behind the answer), a port
 * of its own goes along; see conversation.ts. Whether a task has begun stands in memory that all threads share: when its
 * worker dies, one that has not is given to the worker that takes its place.
 */
import { closeSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { encodeFrame, MayflyError } from '@mayfly/protocol';
import { Piscina } from 'piscina';
import '../machine/identity.js'; // so that workers share what it counts
import type { CloneSettings } from '../worker/clone-settings.js';
import {
  type BootResult,
  type EarlyLogs,
  type InvokeReply,
  type InvokeTask,
  type Learned,
  type ParkedNews,
  type Task,
  type TaskError,
  taskState,
  type WorkerSettings,
  type WorkerStats,
} from '../worker/messages.js';
import type { Template } from '../worker/template.js';
import { Conversation } from './conversation.js';
import { abortedBy, isAborted, isWorkerGone, WorkerError, workerGone } from './failures.js';
import { StoredTemplates } from './stored-templates.js';
import type {
  InvokeFrame,
  InvokeOptions,
  InvokeResult,
  Place,
  Pool,
  TemplateSpec,
} from './types.js';

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

/** What the caller of invoke() gets; `end` tells more than others need. */
type Result = Omit<InvokeResult, 'end' | 'stats'> & {
  end: Promise<WorkerStats>;
  stats?: WorkerStats | undefined;
};

const sharedNow = () => performance.timeOrigin + performance.now();

export class MachinePool implements Pool {
  readonly #threads: readonly Piscina[];
  readonly #directory: string;
  readonly #templates = new Map<string, Held>();
  readonly #stored: StoredTemplates | undefined;
  /** Templates, and what was learned of them, on their way to the store. */
  readonly #saves = new Set<Promise<unknown>>();
  readonly #states = new Int32Array(new SharedArrayBuffer(4 * INVOCATIONS_MAX));
  /** Slots of #states that no task has. */
  readonly #free = Array.from({ length: INVOCATIONS_MAX }, (_, slot) => slot);
  /** Who is told what happens in the invocations that are under way, by their ids. */
  readonly #calls = new Map<number, Call>();
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

  async invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<Result> {
    const template = this.#template(name);
    const { signal, place } = options;
    signal?.throwIfAborted();
    const slot = this.#free.pop();
    if (slot === undefined) {
      throw new MayflyError('MAYFLY_OVERLOADED', 'too many invocations are under way');
    }
    Atomics.store(this.#states, slot, taskState.WAITING);
    const id = this.#nextId++;
    const abort = () => {
      Atomics.store(this.#states, slot, taskState.ABORTED);
      this.#run(place.worker, { kind: 'abort', id }).catch(() => {}); // a worker that is gone has stopped it
    };
    const { ticket } = options;
    const { clone } = place;
    const task = { id, slot, ticket, templateId: template.id, clone, queuedAt: sharedNow() };
    const call: Call = { task, template, frame, options, abort };
    signal?.addEventListener('abort', abort, { once: true });
    this.#calls.set(id, call);
    const over = () => {
      signal?.removeEventListener('abort', abort);
      this.#free.push(slot);
      // Lines that were sent before may still be on their way through another port.
      setImmediate(() => this.#calls.delete(id));
    };
    const invoking = this.#invoke(call);
    invoking.then(({ end }) => end.then(over, over), over);
    return invoking;
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

  async #invoke(call: Call): Promise<Result> {
    const { onLogs = () => {} } = call.options;
    const [reply, conversation] = await this.#attempt(call);
    for (const lines of reply.logs) onLogs(lines);
    const { head, body, queueMicros, cloneMicros, guestMicros, stats, streams } = reply;
    const timing = { queueMicros, cloneMicros, guestMicros };
    if (stats !== undefined || conversation === undefined) {
      return { head, body, ...timing, end: Promise.resolve(stats as WorkerStats), stats };
    }
    const pieces = streams ? conversation.body(body) : body;
    return { head, body: pieces, ...timing, end: conversation.end };
  }

  /** To a reply. A template travels to a worker only when it says that it lacks it. */
  async #attempt(call: Call): Promise<[InvokeReply, Conversation | undefined]> {
    let template: Template | undefined;
    for (let deaths = 0; ; ) {
      try {
        return await this.#converse(call, template);
      } catch (error) {
        const code = error instanceof MayflyError ? error.code : '';
        if (code === 'MAYFLY_TEMPLATE_NOT_HERE' && template === undefined) {
          template = call.template;
          Atomics.compareExchange(
            this.#states,
            call.task.slot,
            taskState.STARTED,
            taskState.WAITING,
          );
        } else if (!isWorkerGone(error) || ++deaths >= ATTEMPTS || !this.#waits(call)) {
          throw error;
        }
      }
    }
  }

  #waits({ task }: Call): boolean {
    return Atomics.load(this.#states, task.slot) === taskState.WAITING;
  }

  /** One attempt, with a port if the request or the answer needs one. */
  async #converse(
    { task, frame, options, abort }: Call,
    template: Template | undefined,
  ): Promise<[InvokeReply, Conversation | undefined]> {
    const { timeoutMs, cpuMs } = options;
    const { head, body } = frame;
    const whole = body instanceof Uint8Array;
    const channel = whole ? undefined : new MessageChannel();
    const conversation = channel && Conversation.overPort(channel.port1, options, abort);
    if (!whole) conversation?.sendRequest(body);
    const bytes = whole ? encodeFrame(head, body) : encodeFrame({ ...head, more: true });
    const port = channel?.port2;
    const rest = { frame: bytes, port, template, timeoutMs, cpuMs };
    const invoke: InvokeTask = { kind: 'invoke', ...task, ...rest };
    const running = this.#run<InvokeReply>(options.place.worker, invoke, port && [port]);
    try {
      const reply = await running;
      return [reply, reply.port ? Conversation.overPort(reply.port, options, abort) : conversation];
    } catch (error) {
      conversation?.fail(error);
      if (!isAborted(error)) throw error;
      throw abortedBy(conversation?.reason ?? options.signal?.reason, error);
    }
  }

  async #run<R>(worker: number, task: Task, transferList?: MessagePort[]): Promise<R> {
    const thread = this.#threads[worker] as Piscina;
    let result: R | TaskError;
    try {
      result = (await thread.run(task, transferList && { transferList })) as R | TaskError;
    } catch (error) {
      if (this.#closing) throw new MayflyError('MAYFLY_POOL_CLOSED', 'the pool is closed');
      throw workerGone(error);
    }
    if (typeof result === 'object' && result !== null && 'error' in result) {
      throw new WorkerError(result.error);
    }
    return result;
  }

  #tell(news: EarlyLogs | ParkedNews | Learned): void {
    if ('workingSet' in news) {
      this.#learn(news);
      return;
    }
    if ('logs' in news) {
      const call = this.#calls.get(news.id);
      if (call !== undefined) for (const lines of news.logs) readLines(call, lines);
      return;
    }
    for (const id of news.parked) this.#calls.get(id)?.options.onParked?.(true);
    for (const id of news.resumed) this.#calls.get(id)?.options.onParked?.(false);
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
    thread.on('message', (news: EarlyLogs | ParkedNews | Learned) => this.#tell(news));
    thread.on('workerDestroy', () => {
      if (!this.#closing) this.#workerLost(worker);
    });
    thread.on('error', () => {}); // of one that had nothing to do
    return thread;
  }
}

/** What invoke() was called with. */
interface Call {
  task: Pick<InvokeTask, 'id' | 'slot' | 'ticket' | 'templateId' | 'clone' | 'queuedAt'>;
  template: Template;
  frame: InvokeFrame;
  options: InvokeOptions;
  abort(): void;
}

/** A reader that refuses early lines ends the invocation; the head or `end` tells it. */
function readLines({ options, abort }: Call, lines: unknown): void {
  try {
    options.onLogs?.(lines);
  } catch {
    abort();
  }
}

/** What a thread knew, it forgot with its death. */
function unlessWorkerGone(error: unknown): void {
  if (!isWorkerGone(error)) throw error;
}
