/**
 * The pool: templates by name, worker threads that own the clones. One worker per core: more only adds waiting. Each is a
 * Piscina of one thread, so that a clone can be asked for where it is; a thread that dies is replaced.
 */
import { closeSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { encodeFrame, MayflyError } from '@mayfly/protocol';
import { Piscina } from 'piscina';
import '../machine/identity.js'; // so that workers share what it counts
import type { CloneSettings } from '../worker/clone-settings.js';
import type { BootResult, InvokeReply, InvokeTask, Task, TaskError } from '../worker/messages.js';
import type { Template } from '../worker/template.js';
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
}

/** A template in memory; `save` is its way to the store. */
interface Held {
  template: Template;
  close(): void;
  save: Promise<void> | undefined;
}

/** Tasks of one worker that may be under way at once. Who places invocations decides how many there are. */
const TASKS_MAX = 1 << 20;

const sharedNow = () => performance.timeOrigin + performance.now();

export class MachinePool implements Pool {
  readonly #threads: readonly Piscina[];
  readonly #directory: string;
  readonly #templates = new Map<string, Held>();
  readonly #stored: StoredTemplates | undefined;
  /** Templates on their way to the store. */
  readonly #saves = new Set<Promise<void>>();
  #nextId = 1;

  constructor(options: MachinePoolOptions) {
    this.#directory = options.directory;
    const { checkpoints } = options;
    if (checkpoints !== undefined) this.#stored = new StoredTemplates(checkpoints);
    mkdirSync(options.directory, { recursive: true });
    const count = options.workers ?? availableParallelism();
    this.#threads = Array.from({ length: count }, () => newThread(options.clones));
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
      const held = { template, close: () => closeSync(template.memoryFd), save: undefined };
      await this.#hold(spec.name, held);
      this.#save(spec, held, head);
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
    const { memoryFd, memorySize, images, state, close } = found.loaded;
    const { name, network = [], dialect } = spec;
    const id = this.#nextId++;
    const template = { id, name, memoryFd, memorySize, images, network, state, dialect };
    return { held: { template, close, save: undefined }, readyHead: found.readyHead };
  }

  /** In the background; one that fails costs a boot at the next start. */
  #save(spec: TemplateSpec, held: Held, readyHead: unknown): void {
    const stored = this.#stored;
    if (stored === undefined || spec.stored === undefined) return;
    const { template } = held;
    const save = async () => {
      const place = await stored.place(spec, readyHead);
      if (place === undefined) return;
      const { directory } = stored;
      const task: Task = { kind: 'store', template, directory, command: spec.argv, ...place };
      await this.#run(template.id % this.workers, task);
    };
    const saved = save()
      .catch(() => {})
      .finally(() => this.#saves.delete(saved));
    this.#saves.add(saved);
    held.save = saved;
  }

  async prune(group: string, keeps: (version: string) => boolean): Promise<void> {
    await Promise.all(this.#saves);
    await this.#stored?.prune(group, keeps);
  }

  async invoke(
    name: string,
    { head, body }: InvokeFrame,
    options: InvokeOptions,
  ): Promise<InvokeResult & { replaced: number }> {
    const template = this.#template(name);
    options.signal?.throwIfAborted();
    const abort =
      options.signal === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4));
    const onAbort = () => abort !== undefined && Atomics.store(abort, 0, 1);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const task: InvokeTask = {
      kind: 'invoke',
      templateId: template.id,
      clone: options.place.clone,
      template: undefined,
      frame: encodeFrame(head, body instanceof Uint8Array ? body : await bytesOf(body)),
      timeoutMs: options.timeoutMs,
      queuedAt: sharedNow(),
      abort,
    };
    try {
      const reply = await this.#invoke(options.place.worker, task, template);
      const { network, logs, rewindMicros, ...result } = reply;
      if (logs.length > 0) options.onLogs?.(logs);
      const { queueMicros, cloneMicros, guestMicros, rewoundPages } = result;
      const stats = {
        queueMicros,
        cloneMicros,
        guestMicros,
        rewoundPages,
        ...(rewindMicros !== undefined && { rewindMicros }),
        ...(network && { network }),
      };
      return { ...result, end: Promise.resolve(stats) };
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
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
    await held.save; // which reads its memory
    held.close();
  }

  async close(): Promise<void> {
    await Promise.all(this.#saves);
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
    await Promise.all(this.#threads.map((_, worker) => this.#run(worker, task)));
  }

  /** Templates travel to a worker only when it says that it lacks one. */
  async #invoke(worker: number, task: InvokeTask, template: Template): Promise<InvokeReply> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#run<InvokeReply>(worker, attempt === 0 ? task : { ...task, template });
      } catch (error) {
        const missing = error instanceof MayflyError && error.code === 'MAYFLY_TEMPLATE_NOT_HERE';
        if (!missing || attempt > 0) throw error;
      }
    }
  }

  async #run<Result>(worker: number, task: Task): Promise<Result> {
    const result = (await this.#threads[worker]!.run(task)) as Result | TaskError | undefined;
    if (typeof result === 'object' && result !== null && 'error' in result) {
      const { code, message, detail } = result.error;
      throw new MayflyError(code, message, detail === undefined ? undefined : { cause: detail });
    }
    return result as Result;
  }
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

function newThread(clones: Partial<CloneSettings> = {}): Piscina {
  return new Piscina({
    filename: fileURLToPath(new URL('../worker/worker.js', import.meta.url)),
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: TASKS_MAX,
    workerData: clones,
    // A thread that blocks on Atomics between tasks could not rewind, nor serve a clone that waits.
    atomics: 'disabled',
    // Templates' memory files are opened by one worker and used by all: they outlive it.
    trackUnmanagedFds: false,
  });
}
