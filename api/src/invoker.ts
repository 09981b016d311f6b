/** From an invocation to the pool and back: admission, the head that each clone gets, the answer checked. */
import { randomBytes, randomUUID } from 'node:crypto';
import type {
  EventHead,
  InvocationHead,
  RequestHead,
  ResponseHead,
  ResultHead,
} from '@mayfly/protocol';
import type { Pool } from '@mayfly/vmm';
import { checkAnswerHead } from './agent-head.js';
import { ApiError } from './errors.js';
import type { Registry } from './registry.js';
import type { Templates } from './templates.js';

/** Which function is meant. */
export interface Target {
  name: string;
  /** The current one, if left out. */
  version?: number | undefined;
}

/** What a route gives for an invocation; the invoker adds what every clone needs. */
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

export class Invoker {
  readonly #registry: Registry;
  readonly #templates: Templates;
  readonly #pool: Pool;
  readonly #inFlightMax: number;
  #inFlight = 0;

  /** @param inFlightMax invocations admitted at once, queued ones included; beyond them: MAYFLY_OVERLOADED */
  constructor(registry: Registry, templates: Templates, pool: Pool, inFlightMax: number) {
    this.#registry = registry;
    this.#templates = templates;
    this.#pool = pool;
    this.#inFlightMax = inFlightMax;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Runs one invocation in a pristine clone.
   *
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN, MAYFLY_OVERLOADED, MAYFLY_GUEST_ANSWER, FUNCTION_*;
   *   MayflyError of the pool
   */
  async invoke(
    target: Target,
    request: InvocationRequest,
    body: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Invocation> {
    const deployed = this.#registry.get(target.name);
    const version = this.#registry.version(deployed, target.version);
    if (this.#inFlight >= this.#inFlightMax) throw new ApiError('MAYFLY_OVERLOADED');
    this.#inFlight++;
    try {
      const template = version.template ?? (await this.#registry.template(deployed, version));
      const { timeoutMs, version: number } = version.record;
      const receivedAt = new Date().toISOString();
      const common = newInvocation(timeoutMs, deployed.env);
      const frame = { head: { ...request, ...common }, body };
      const options = signal ? { timeoutMs, signal } : { timeoutMs };
      const result = await this.#templates.use(template, (name) =>
        this.#pool.invoke(name, frame, options),
      );
      const head = checkAnswerHead(result.head);
      deployed.log.append(head.logs, number, common.id);
      const { guestMicros, queueMicros, rewoundPages } = result;
      const timing = { guestMicros, queueMicros };
      if (head.type === 'error') {
        const { code, message, stack, logs } = head;
        throw new ApiError(code, message, { stack, logs, timing });
      }
      if (request.type === 'request' && head.type !== 'response') {
        throw new ApiError('MAYFLY_GUEST_ANSWER', 'the guest answered a request with a result');
      }
      const { id } = common;
      return { id, version: number, receivedAt, head, body: result.body, ...timing, rewoundPages };
    } finally {
      this.#inFlight--;
    }
  }
}

function newInvocation(timeoutMs: number, env: Record<string, string> | undefined): InvocationHead {
  const now = Date.now();
  const random = randomBytes(48);
  const head = {
    id: randomUUID(),
    deadlineMs: now + timeoutMs,
    generation: random.toString('hex', 32),
    entropy: random.toString('base64', 0, 32),
    now,
  };
  return env ? { ...head, env } : head;
}
