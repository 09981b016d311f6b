/** From an invocation to the pool and back: admission, the head that each clone gets, the answer checked. */
import { randomBytes, randomUUID } from 'node:crypto';
import {
  type EventHead,
  type InvocationHead,
  type LogLine,
  MayflyError,
  type RequestHead,
  type ResponseHead,
  type ResultHead,
} from '@mayfly/protocol';
import type { Body, InvokeStats } from '@mayfly/vmm';
import { checkAnswerHead, logLines } from './agent-head.js';
import { ApiError, type GuestTiming } from './errors.js';
import type { DeployedFunction, Registry, Version } from './registry.js';
import type { ScheduledPool } from './scheduler/index.js';
import type { Template } from './templates.js';

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
  body: Body;
  guestMicros: number;
  queueMicros: number;
  /** When the invocation is over; rejects with an ApiError or a MayflyError of the pool, and need not be waited for. */
  end: Promise<InvokeStats>;
}

type KeepLines = (lines: LogLine[]) => void;

export class Invoker {
  readonly #registry: Registry;
  readonly #pool: ScheduledPool;
  readonly #inFlightMax: number;
  #inFlight = 0;

  /** @param inFlightMax invocations admitted at once, queued ones included; beyond them: MAYFLY_OVERLOADED */
  constructor(registry: Registry, pool: ScheduledPool, inFlightMax: number) {
    this.#registry = registry;
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
    body: Body,
    signal?: AbortSignal,
  ): Promise<Invocation> {
    const deployed = this.#registry.get(target.name);
    const version = this.#registry.version(deployed, target.version);
    if (this.#inFlight >= this.#inFlightMax) throw new ApiError('MAYFLY_OVERLOADED');
    this.#inFlight++;
    const over = () => {
      this.#inFlight--;
    };
    try {
      const template = version.template ?? (await this.#registry.template(deployed, version));
      const invocation = await this.#invokeIn(template, deployed, version, request, body, signal);
      invocation.end.then(over, over);
      return invocation;
    } catch (error) {
      over();
      throw error;
    }
  }

  async #invokeIn(
    template: Template,
    { env, log }: DeployedFunction,
    { record: { timeoutMs, version } }: Version,
    request: InvocationRequest,
    body: Body,
    signal: AbortSignal | undefined,
  ): Promise<Invocation> {
    const receivedAt = new Date().toISOString();
    const common = newInvocation(timeoutMs, env);
    const keep: KeepLines = (lines) => log.append(lines, version, common.id);
    const onLogs = (lines: unknown) => keep(logLines(lines));
    const options = { onLogs, ...(signal && { signal }) };
    const frame = { head: { ...request, ...common }, body };
    const result = await this.#pool.invoke(template.name, frame, options);
    const { guestMicros, queueMicros } = result;
    const timing = { guestMicros, queueMicros };
    try {
      const head = answerTo(request, result.head, keep, timing);
      const end = result.end.catch((error: unknown) => {
        throw failureBehindHead(error, keep);
      });
      end.catch(() => {});
      return { id: common.id, version, receivedAt, head, body: result.body, ...timing, end };
    } catch (error) {
      stopReading(result.body);
      throw error;
    }
  }
}

/** The head of an answer that fits the request; its log lines are kept. @throws ApiError MAYFLY_GUEST_ANSWER, FUNCTION_* */
function answerTo(
  request: InvocationRequest,
  unchecked: unknown,
  keep: KeepLines,
  timing: GuestTiming,
): ResponseHead | ResultHead {
  const head = checkAnswerHead(unchecked);
  keep(head.logs);
  if (head.type === 'error') {
    const { code, message, stack, logs } = head;
    throw new ApiError(code, message, { stack, logs, timing });
  }
  if (request.type === 'request' && head.type !== 'response') {
    throw new ApiError('MAYFLY_GUEST_ANSWER', 'the guest answered a request with a result');
  }
  return head;
}

/** Ends the invocation of an answer that nobody will read. */
function stopReading(body: Body): void {
  if (body instanceof Uint8Array) return;
  body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => {});
}

/** What the guest told of its failure, when the head of its answer was out already. */
function failureBehindHead(error: unknown, keep: KeepLines): unknown {
  if (!(error instanceof MayflyError) || error.code !== 'MAYFLY_ANSWER_BROKEN') return error;
  const head = checkAnswerHead(error.cause);
  keep(head.logs);
  if (head.type !== 'error') return error;
  const { code, message, stack, logs } = head;
  return new ApiError(code, message, { stack, logs });
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
