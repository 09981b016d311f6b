/** The pool: templates by name, worker threads that own the clones. One worker per core: more only adds waiting. */
import { closeSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { encodeFrame, MayflyError } from '@mayfly/protocol';
import { Piscina } from 'piscina';
import type { CloneSettings } from '../worker/clone-settings.js';
import type { BootResult, InvokeReply, InvokeTask, Task, TaskError } from '../worker/messages.js';
import type { Template } from '../worker/template.js';
import type { InvokeFrame, InvokeOptions, InvokeResult, Pool, TemplateSpec } from './types.js';

export interface MachinePoolOptions {
  /** Where the memory files of templates are made; a real file system, best one with large folios. */
  directory: string;
  workers?: number;
  /** Invocations that may wait for a worker. */
  queueMax?: number;
  /** Invocations of one worker that may be under way at once: those that wait for time or input give way to others. */
  perWorker?: number;
  /** How clones are made; see CLONE_SETTINGS for what is not said. */
  clones?: Partial<CloneSettings>;
}

const QUEUE_MAX = 1024;
const PER_WORKER = 4;

const sharedNow = () => performance.timeOrigin + performance.now();

export class MachinePool implements Pool {
  readonly #threads: Piscina;
  readonly #directory: string;
  readonly #workers: number;
  readonly #templates = new Map<string, Template>();
  #nextId = 1;

  constructor(options: MachinePoolOptions) {
    this.#directory = options.directory;
    this.#workers = options.workers ?? availableParallelism();
    mkdirSync(options.directory, { recursive: true });
    this.#threads = new Piscina({
      filename: fileURLToPath(new URL('../worker/worker.js', import.meta.url)),
      minThreads: this.#workers,
      maxThreads: this.#workers,
      concurrentTasksPerWorker: options.perWorker ?? PER_WORKER,
      maxQueue: options.queueMax ?? QUEUE_MAX,
      workerData: options.clones ?? {},
      // A thread that blocks on Atomics between tasks could not rewind, nor serve a clone that waits.
      atomics: 'disabled',
      // Templates' memory files are opened by one worker and used by all: they outlive it.
      trackUnmanagedFds: false,
    });
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    const [program] = spec.argv;
    if (program === undefined) throw new MayflyError('MAYFLY_BAD_ARGUMENT', 'argv is empty');
    const result = await this.#run<BootResult>({
      kind: 'boot',
      id: this.#nextId++,
      name: spec.name,
      program,
      argv: spec.argv,
      env: spec.env,
      cwd: spec.cwd ?? '/',
      images: spec.images,
      memoryBytes: spec.memoryBytes,
      timeoutMs: spec.bootTimeoutMs,
      directory: this.#directory,
    });
    if (result.template !== undefined) {
      await this.remove(spec.name);
      this.#templates.set(spec.name, result.template);
    }
    return { bootMicros: result.bootMicros, readyHead: result.head };
  }

  async invoke(
    name: string,
    { head, body }: InvokeFrame,
    options: InvokeOptions,
  ): Promise<InvokeResult & { replaced: number }> {
    const template = this.#templates.get(name);
    if (template === undefined) {
      throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `no template is named ${name}`);
    }
    options.signal?.throwIfAborted();
    const abort =
      options.signal === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4));
    const onAbort = () => abort !== undefined && Atomics.store(abort, 0, 1);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    const task: InvokeTask = {
      kind: 'invoke',
      templateId: template.id,
      template: undefined,
      frame: encodeFrame(head, body instanceof Uint8Array ? body : await bytesOf(body)),
      timeoutMs: options.timeoutMs,
      queuedAt: sharedNow(),
      abort,
    };
    try {
      const reply = await this.#invoke(task, template);
      const { queueMicros, guestMicros, rewoundPages } = reply;
      return { ...reply, end: Promise.resolve({ queueMicros, guestMicros, rewoundPages }) };
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  async remove(name: string): Promise<void> {
    const template = this.#templates.get(name);
    if (template === undefined) return;
    this.#templates.delete(name);
    // Every worker may hold clones, and tasks cannot be addressed: ask often enough that each hears of it.
    const task: Task = { kind: 'forget', templateId: template.id };
    await Promise.all(Array.from({ length: this.#workers * 2 }, () => this.#run(task)));
    closeSync(template.memoryFd);
  }

  async close(): Promise<void> {
    await this.#threads.destroy();
    for (const template of this.#templates.values()) closeSync(template.memoryFd);
    this.#templates.clear();
  }

  /** Templates travel to a worker only when it says that it lacks one. */
  async #invoke(task: InvokeTask, template: Template): Promise<InvokeReply> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#run<InvokeReply>(attempt === 0 ? task : { ...task, template });
      } catch (error) {
        const missing = error instanceof MayflyError && error.code === 'MAYFLY_TEMPLATE_NOT_HERE';
        if (!missing || attempt > 0) throw error;
      }
    }
  }

  async #run<Result>(task: Task): Promise<Result> {
    if (this.#threads.queueSize >= this.#threads.options.maxQueue) {
      throw new MayflyError('MAYFLY_OVERLOADED', 'too many invocations wait already');
    }
    const result = (await this.#threads.run(task)) as Result | TaskError | undefined;
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
