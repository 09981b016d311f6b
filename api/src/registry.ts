/**
 * The functions: what is deployed under which name, and the way from an invocation to the pool.
 *
 *   deploy ──► ready ──► (server restarts) ──► stored ──first invocation──► deploying ──► ready
 *
 * A new version replaces the old one only when its template is there; invocations under way finish in the old one,
 * whose template is removed after the last of them.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type {
  EventHead,
  FunctionExport,
  InvocationHead,
  LogLine,
  RequestHead,
  ResponseHead,
  ResultHead,
} from '@mayfly/protocol';
import type { FunctionInfo, FunctionSource } from '@mayfly/protocol/api';
import type { Pool } from '@mayfly/vmm';
import { checkAnswerHead, checkReadyHead } from './agent-head.js';
import { ApiError } from './errors.js';
import { FunctionLog } from './function-log.js';
import type { Layers } from './layers.js';
import { nodeProgram } from './runtimes/node.js';
import type { FunctionStore, StoredFunction } from './store.js';

export interface RegistryLimits {
  /** Invocations admitted at once, queued ones included; beyond them the answer is MAYFLY_OVERLOADED. */
  inFlightMax: number;
  bootTimeoutMs: number;
}

export const REGISTRY_LIMITS: Readonly<RegistryLimits> = Object.freeze({
  // Each may hold a request and an answer of 16 MiB, but typically holds kilobytes. At 100 µs an invocation, 512 are
  // 50 ms of work for one core: a client that waits longer is better told to come back.
  inFlightMax: 512,
  bootTimeoutMs: 60_000,
});

const MEMORY_BYTES_DEFAULT = 256 * 1024 * 1024;
const TIMEOUT_MS_DEFAULT = 10_000;

/** What a route gives for an invocation; the registry adds what every clone needs. */
export type InvocationRequest =
  | Omit<RequestHead, keyof InvocationHead>
  | Omit<EventHead, keyof InvocationHead>;

export interface Invocation {
  id: string;
  version: number;
  receivedAt: string;
  head: ResponseHead | ResultHead;
  body: Uint8Array;
  guestMicros: number;
  queueMicros: number;
  rewoundPages: number;
}

interface Deployment {
  template: string;
  exports: FunctionExport;
  bootMicros: number;
  inFlight: number;
  retired: boolean;
}

interface Entry {
  stored: StoredFunction;
  log: FunctionLog;
  deployment: Deployment | undefined;
  deploying: boolean;
}

export class Registry {
  readonly #pool: Pool;
  readonly #layers: Layers;
  readonly #store: FunctionStore;
  readonly #limits: RegistryLimits;
  readonly #entries = new Map<string, Entry>();
  /** The last change under way for a name; the next one waits for it. */
  readonly #changes = new Map<string, Promise<unknown>>();
  #inFlight = 0;

  private constructor(pool: Pool, layers: Layers, store: FunctionStore, limits: RegistryLimits) {
    this.#pool = pool;
    this.#layers = layers;
    this.#store = store;
    this.#limits = limits;
  }

  /** Knows all functions of the store; makes no template yet. */
  static async open(
    pool: Pool,
    layers: Layers,
    store: FunctionStore,
    limits: RegistryLimits = REGISTRY_LIMITS,
  ): Promise<Registry> {
    const registry = new Registry(pool, layers, store, limits);
    for (const stored of await store.readAll())
      registry.#entries.set(stored.name, newEntry(stored));
    return registry;
  }

  get size(): number {
    return this.#entries.size;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  list(): FunctionInfo[] {
    return [...this.#entries.values()]
      .map(infoOf)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  get(name: string): FunctionInfo {
    return infoOf(this.#entry(name));
  }

  /** The newest console lines. @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  logs(name: string): LogLine[] {
    return this.#entry(name).log.lines;
  }

  /**
   * Makes a template of the source and serves it under the name from then on. When it fails, what was there stays.
   *
   * @throws ApiError MAYFLY_SOURCE_INVALID, FUNCTION_* (with status 400); MayflyError of the pool
   */
  deploy(name: string, source: FunctionSource & { source: string }): Promise<FunctionInfo> {
    return this.#change(name, async () => {
      const before = this.#entries.get(name);
      const entry = newEntry(storedFrom(name, source, (before?.stored.version ?? 0) + 1));
      if (before) entry.log = before.log;
      const deployment = await this.#makeTemplate(entry);
      try {
        await this.#store.write(entry.stored);
      } catch (error) {
        this.#retire(deployment);
        throw error;
      }
      entry.deployment = deployment;
      this.#entries.set(name, entry);
      if (before?.deployment) this.#retire(before.deployment);
      return infoOf(entry);
    });
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN */
  remove(name: string): Promise<void> {
    return this.#change(name, async () => {
      const entry = this.#entry(name);
      await this.#store.remove(name);
      this.#entries.delete(name);
      if (entry.deployment) this.#retire(entry.deployment);
    });
  }

  /**
   * Runs one invocation in a pristine clone.
   *
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_OVERLOADED, MAYFLY_GUEST_ANSWER, FUNCTION_*; MayflyError of the pool
   */
  async invoke(
    name: string,
    request: InvocationRequest,
    body: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Invocation> {
    const entry = this.#entry(name);
    if (this.#inFlight >= this.#limits.inFlightMax) throw new ApiError('MAYFLY_OVERLOADED');
    this.#inFlight++;
    try {
      const deployment = entry.deployment ?? (await this.#redeploy(name));
      return await this.#invokeIn(deployment, entry, request, body, signal);
    } finally {
      this.#inFlight--;
    }
  }

  async #invokeIn(
    deployment: Deployment,
    { stored, log }: Entry,
    request: InvocationRequest,
    body: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Invocation> {
    const { timeoutMs, version } = stored;
    const receivedAt = new Date().toISOString();
    const invocation = newInvocation(timeoutMs);
    const options = signal ? { timeoutMs, signal } : { timeoutMs };
    deployment.inFlight++;
    try {
      const frame = { head: { ...request, ...invocation }, body };
      const result = await this.#pool.invoke(deployment.template, frame, options);
      const head = checkAnswerHead(result.head);
      log.append(head.logs);
      const { guestMicros, queueMicros, rewoundPages } = result;
      const timing = { guestMicros, queueMicros };
      if (head.type === 'error') {
        const { code, message, stack, logs } = head;
        throw new ApiError(code, message, { stack, logs, timing });
      }
      if (request.type === 'request' && head.type !== 'response') {
        throw new ApiError('MAYFLY_GUEST_ANSWER', 'the guest answered a request with a result');
      }
      const { id } = invocation;
      return { id, version, receivedAt, head, body: result.body, ...timing, rewoundPages };
    } finally {
      deployment.inFlight--;
      this.#removeIfUnused(deployment);
    }
  }

  /** After a restart: makes the template of a stored function, once, however many invocations wait for it. */
  #redeploy(name: string): Promise<Deployment> {
    return this.#change(name, async () => {
      const entry = this.#entry(name);
      if (entry.deployment) return entry.deployment;
      entry.deploying = true;
      try {
        entry.deployment = await this.#makeTemplate(entry);
        return entry.deployment;
      } finally {
        entry.deploying = false;
      }
    });
  }

  async #makeTemplate({ stored, log }: Entry): Promise<Deployment> {
    const { name, version, source, memoryBytes, env } = stored;
    const file = { bytes: Buffer.from(source), executable: false };
    const program = await nodeProgram({ name, files: new Map([['index.js', file]]) }, this.#layers);
    const template = `${name}@${version}-${randomBytes(4).toString('hex')}`;
    const { bootMicros, readyHead } = await this.#pool.deploy({
      name: template,
      ...program,
      env: { ...env, ...program.env },
      memoryBytes,
      bootTimeoutMs: this.#limits.bootTimeoutMs,
    });
    try {
      const head = checkReadyHead(readyHead);
      log.append(head.logs);
      if (head.type === 'error') {
        const { type: _, code, message, ...details } = head;
        throw new ApiError(code, message, { ...details, status: 400 });
      }
      return { template, exports: head.exports, bootMicros, inFlight: 0, retired: false };
    } catch (error) {
      await this.#pool.remove(template);
      throw error;
    }
  }

  #retire(deployment: Deployment): void {
    deployment.retired = true;
    this.#removeIfUnused(deployment);
  }

  #removeIfUnused({ retired, inFlight, template }: Deployment): void {
    // A failure to remove costs memory until the pool closes, and there is nobody to tell.
    if (retired && inFlight === 0) this.#pool.remove(template).catch(() => {});
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw new ApiError('MAYFLY_FUNCTION_UNKNOWN', `there is no function "${name}"`);
    return entry;
  }

  /** Changes of one name happen one after the other. */
  #change<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(name) ?? Promise.resolve();
    const change = before.then(work, work);
    this.#changes.set(name, change);
    const forget = () => {
      if (this.#changes.get(name) === change) this.#changes.delete(name);
    };
    change.then(forget, forget);
    return change;
  }
}

function newEntry(stored: StoredFunction): Entry {
  return { stored, log: new FunctionLog(), deployment: undefined, deploying: false };
}

function newInvocation(timeoutMs: number): InvocationHead {
  const now = Date.now();
  const random = randomBytes(48);
  return {
    id: randomUUID(),
    deadlineMs: now + timeoutMs,
    generation: random.toString('hex', 32),
    entropy: random.toString('base64', 0, 32),
    now,
  };
}

function storedFrom(
  name: string,
  source: FunctionSource & { source: string },
  version: number,
): StoredFunction {
  return {
    name,
    version,
    source: source.source,
    sourceDigest: createHash('sha256').update(source.source).digest('hex'),
    memoryBytes: source.memoryBytes ?? MEMORY_BYTES_DEFAULT,
    timeoutMs: source.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    env: source.env ?? {},
    deployedAt: new Date().toISOString(),
  };
}

function infoOf({ stored, deployment, deploying }: Entry): FunctionInfo {
  const { source: _, ...rest } = stored;
  const info = { ...rest, runtime: 'node' as const };
  if (!deployment) return { ...info, state: deploying ? 'deploying' : 'stored' };
  const { exports, bootMicros } = deployment;
  return { ...info, state: 'ready', exports, bootMicros };
}
