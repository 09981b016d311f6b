/** From an invocation to the pool and back: admission, the head that each clone gets, the answer checked, the trace kept. */
import {
  type ErrorHead,
  type EventHead,
  type InvocationHead,
  type LogLine,
  MayflyError,
  type RequestHead,
  type ResponseHead,
  type ResultHead,
} from '@mayfly/protocol';
import type { Body, InvokeStats, InvokeTiming, Signal } from '@mayfly/vmm';
import { checkAnswerHead, logLines } from './agent-head.js';
import { freshBytes } from './entropy.js';
import { ApiError, type InvokeTook } from './errors.js';
import { newInvocationId } from './invocation-id.js';
import type { DeployedFunction, Registry, Version } from './registry.js';
import { rejectedAs } from './rejections.js';
import type { ScheduledPool } from './scheduler/index.js';
import type { InvocationStore } from './store/invocations.js';
import type { Template } from './templates.js';
import { NO_TIMING } from './timing.js';
import {
  keepLines,
  noteFailure,
  noteSuccess,
  outcomeOf,
  type Trace,
  tookOf,
  wholeBody,
  withoutLongOutcome,
} from './trace.js';

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
  trace: Trace;
  head: ResponseHead | ResultHead;
  body: Body;
  /** Until the answer began. */
  timing: InvokeTiming;
  /** When the invocation is over; rejects with an ApiError or a MayflyError of the pool, and need not be waited for. */
  end: Promise<InvokeStats>;
}

export interface InvokerOptions {
  signal?: Signal | undefined;
  /** Called when the invocation has an id and a record. */
  onAdmitted?: ((trace: Trace) => void) | undefined;
}

/** Told of every invocation that ended. */
export type Observer = (trace: Trace, rewindMicros: number | undefined) => void;

type KeepLines = (lines: LogLine[]) => void;

export class Invoker {
  readonly #registry: Registry;
  readonly #pool: ScheduledPool;
  readonly #observe: Observer;
  readonly #store: InvocationStore;
  readonly #inFlightMax: number;
  #inFlight = 0;

  /** @param inFlightMax invocations admitted at once, queued ones included; beyond them: MAYFLY_OVERLOADED */
  constructor(
    registry: Registry,
    pool: ScheduledPool,
    store: InvocationStore,
    observe: Observer,
    inFlightMax: number,
  ) {
    this.#registry = registry;
    this.#pool = pool;
    this.#store = store;
    this.#observe = observe;
    this.#inFlightMax = inFlightMax;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Passes a request to a pristine clone; its answer may be streaming when this resolves.
   *
   * @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN, MAYFLY_OVERLOADED, MAYFLY_GUEST_ANSWER, FUNCTION_*;
   *   MayflyError of the pool
   */
  async invoke(
    target: Target,
    request: InvocationRequest,
    body: Body,
    options: InvokerOptions = {},
  ): Promise<Invocation> {
    const startMs = performance.now();
    const trace = this.#admit(newTrace(target.name, request), target, options);
    const fail = (error: unknown) => this.#fail(trace, error, startMs);
    try {
      const invocation = await this.#run(trace, request, body, options.signal);
      const succeed = (stats: InvokeStats) => this.#succeed(trace, stats, startMs);
      invocation.end.then(succeed, fail);
      return invocation;
    } catch (error) {
      fail(error);
      throw error;
    }
  }

  /**
   * Runs one event in a pristine clone to its end; the record has what the function gave.
   *
   * @param accepted its trace, if it was accepted before: it stays as it is when there is no room
   * @throws what invoke() throws
   */
  async invokeEvent(
    target: Target,
    event: Uint8Array,
    options: InvokerOptions = {},
    accepted?: Trace,
  ): Promise<{ trace: Trace; timing: InvokeTiming }> {
    const startMs = performance.now();
    const request = { type: 'event' } as const;
    const trace = this.#admit(accepted ?? newTrace(target.name, request), target, options);
    try {
      const { head, body, end } = await this.#run(trace, request, event, options.signal);
      const bytes = await wholeBody(body);
      const outcome = outcomeOf(head, bytes);
      const stats = await end;
      Object.assign(trace, outcome);
      this.#succeed(trace, stats, startMs, bytes.byteLength);
      return { trace, timing: stats };
    } catch (error) {
      if (accepted && isPostponed(error)) this.#giveBack(trace);
      else this.#fail(trace, error, startMs);
      throw error;
    }
  }

  /** @throws ApiError MAYFLY_FUNCTION_UNKNOWN, MAYFLY_VERSION_UNKNOWN, MAYFLY_OVERLOADED: what would be refused now */
  check({ name, version }: Target): Version {
    const found = this.#registry.version(this.#registry.get(name), version);
    if (this.#inFlight >= this.#inFlightMax) throw new ApiError('MAYFLY_OVERLOADED');
    return found;
  }

  #admit(trace: Trace, target: Target, { onAdmitted }: InvokerOptions): Trace {
    const version = this.check(target);
    this.#inFlight++;
    trace.version = version.record.version;
    trace.status = 'running';
    this.#store.begin(trace);
    onAdmitted?.(trace);
    return trace;
  }

  async #run(
    trace: Trace,
    request: InvocationRequest,
    body: Body,
    signal: Signal | undefined,
  ): Promise<Invocation> {
    const deployed = this.#registry.get(trace.function);
    const version = this.#registry.version(deployed, trace.version);
    trace.cold = version.template === undefined;
    const template = version.template ?? (await this.#registry.template(deployed, version));
    return this.#invokeIn(template, deployed, version, trace, request, body, signal);
  }

  async #invokeIn(
    template: Template,
    { env, log }: DeployedFunction,
    { record: { timeoutMs, cpuMs, version } }: Version,
    trace: Trace,
    request: InvocationRequest,
    body: Body,
    signal: Signal | undefined,
  ): Promise<Invocation> {
    const keep: KeepLines = (lines) => {
      log.append(lines, version, trace.id);
      keepLines(trace, lines);
    };
    const onLogs = (lines: unknown) => keep(logLines(lines));
    const frame = { head: headOf(request, trace.id, timeoutMs, env), body };
    const result = await this.#pool.invoke(template.name, frame, { onLogs, signal, cpuMs });
    const { queueMicros, cloneMicros, guestMicros, stats } = result;
    const timing = { queueMicros, cloneMicros, guestMicros };
    const took = stats ?? timing;
    try {
      const head = checkAnswerHead(result.head);
      keep(head.logs);
      if (head.type === 'error') throw functionError(head, trace, took);
      checkKind(request, head);
      const end = stats
        ? result.end
        : rejectedAs(result.end, (error) => failureBehindHead(error, trace, keep));
      return { trace, head, body: result.body, timing, end };
    } catch (error) {
      stopReading(result.body);
      throw error instanceof ApiError ? error.after(took) : error;
    }
  }

  #succeed(trace: Trace, stats: InvokeStats, startMs: number, bytes = 0): void {
    this.#inFlight--;
    noteSuccess(trace, stats, startMs);
    this.#observe(trace, stats.rewindMicros);
    this.#store.end(withoutLongOutcome(trace, bytes));
  }

  #fail(trace: Trace, error: unknown, startMs: number): void {
    this.#inFlight--;
    const took = tookOf(error);
    noteFailure(trace, error, took ?? NO_TIMING, startMs);
    this.#logFailure(trace, error);
    this.#observe(trace, took?.rewindMicros);
    this.#store.end(trace);
  }

  /** What went wrong in the function or its guest is said where its console lines are; its record has it as its error. */
  #logFailure({ id, function: name, version }: Trace, error: unknown): void {
    if (!(error instanceof MayflyError) || !OF_THE_FUNCTION.test(error.code)) return;
    if (!this.#registry.has(name)) return; // It was removed meanwhile.
    const stack = (error instanceof ApiError && error.details.stack) || '';
    const text = `${error.code}: ${error.message}${stack && `\n${stack}`}`;
    this.#registry.get(name).log.append([{ level: 'error', time: Date.now(), text }], version, id);
  }

  #giveBack(trace: Trace): void {
    this.#inFlight--;
    trace.status = 'queued';
    this.#store.forget(trace);
  }
}

/** Before the version is known. */
export function newTrace(name: string, request: InvocationRequest): Trace {
  const receivedMs = Date.now();
  const id = newInvocationId(receivedMs);
  const trace: Trace = {
    id,
    function: name,
    version: 0,
    status: 'queued',
    trigger: request.type,
    receivedMs,
    logs: [],
  };
  if (request.type === 'request') {
    const { method, url } = request;
    trace.request = { method, path: url.slice(url.indexOf('/', 'http://'.length)).slice(0, 1024) };
  }
  return trace;
}

const OF_THE_FUNCTION = /^(?:FUNCTION|MAYFLY_GUEST)_/;

const POSTPONING = new Set([
  'MAYFLY_OVERLOADED',
  'MAYFLY_SERVER_CLOSING',
  'MAYFLY_POOL_CLOSED',
  'MAYFLY_STORE_UNWRITABLE',
]);

/** Whether an accepted invocation is to run later: there is no room, or no server any more. */
export function isPostponed(error: unknown): boolean {
  return error instanceof MayflyError && POSTPONING.has(error.code);
}

/** @throws ApiError MAYFLY_GUEST_ANSWER if it is not what the request asks for */
function checkKind({ type }: InvocationRequest, head: ResponseHead | ResultHead): void {
  if (type === 'request' && head.type !== 'response') {
    throw new ApiError('MAYFLY_GUEST_ANSWER', 'the guest answered a request with a result');
  }
}

/** With all that the function wrote until then. */
function functionError(
  { code, message, stack }: ErrorHead,
  { logs }: Trace,
  timing: InvokeTook | undefined,
): ApiError {
  return new ApiError(code, message, { stack, logs: [...logs], timing });
}

/** Ends the invocation of an answer that nobody will read. */
function stopReading(body: Body): void {
  if (body instanceof Uint8Array) return;
  body[Symbol.asyncIterator]()
    .return?.()
    .catch(() => {});
}

/** What the guest told of its failure, when the head of its answer was out already. */
function failureBehindHead(error: unknown, trace: Trace, keep: KeepLines): unknown {
  if (!(error instanceof MayflyError) || error.code !== 'MAYFLY_ANSWER_BROKEN') return error;
  const head = checkAnswerHead(error.cause);
  keep(head.logs);
  return head.type === 'error' ? functionError(head, trace, tookOf(error)) : error;
}

/** What the guest is told; `env` is not there when it is undefined, for the head becomes JSON. */
function headOf(
  request: InvocationRequest,
  id: string,
  timeoutMs: number,
  env: Record<string, string> | undefined,
): object {
  const now = Date.now();
  const deadlineMs = now + timeoutMs;
  const random = freshBytes(48);
  const generation = random.toString('hex', 32);
  const entropy = random.toString('base64', 0, 32);
  const { type } = request;
  if (type === 'event') return { type, id, deadlineMs, generation, entropy, now, env };
  const { method, url, headers } = request;
  return { type, method, url, headers, id, deadlineMs, generation, entropy, now, env };
}
