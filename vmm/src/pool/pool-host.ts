/** A process's end of the interface Pool: does with its pool what the messages say, and tells what comes of it. */
import type { WorkerStats } from '../worker/messages.js';
import { taskErrorOf } from './failures.js';
import { Inflow, Outflow } from './flow.js';
import type { MachinePool } from './machine-pool.js';
import type {
  AboutCall,
  Calls,
  FromProcess,
  ProcessInvocation,
  ToProcess,
} from './process-messages.js';
import type { Body, TemplateSpec } from './types.js';

/** An invocation that is under way. */
interface Hosted {
  aborting: AbortController;
  request: Inflow;
  answer: Outflow;
}

export class PoolHost {
  readonly #pool: MachinePool;
  readonly #send: (message: FromProcess) => void;
  readonly #invocations = new Map<number, Hosted>();

  constructor(pool: MachinePool, send: (message: FromProcess) => void) {
    this.#pool = pool;
    this.#send = send;
    pool.onWorkerLost((workerLost) => send({ workerLost }));
  }

  receive(message: ToProcess): void {
    if ('invoke' in message) void this.#invoke(message.id, message.invoke);
    else if ('call' in message) void this.#call(message.id, message.call, message.args);
    else this.#tell(message, this.#invocations.get(message.id));
  }

  #tell(message: ToProcess, hosted: Hosted | undefined): void {
    if (hosted === undefined) return; // it is over
    if ('piece' in message) hosted.request.push(message.piece);
    else if ('pieceEnd' in message) hosted.request.end();
    else if ('taken' in message) hosted.answer.taken(message.taken);
    else if ('abort' in message) {
      hosted.aborting.abort();
      hosted.answer.close();
    }
  }

  async #call(id: number, call: keyof Calls, args: unknown[]): Promise<void> {
    try {
      this.#about(id, { result: await this.#do(call, args) });
    } catch (error) {
      this.#about(id, taskErrorOf(error));
    }
  }

  async #do(call: keyof Calls, args: unknown[]): Promise<unknown> {
    const method = this.#pool[call] as (...args: unknown[]) => Promise<object | undefined>;
    const result = await method.apply(this.#pool, args);
    if (call !== 'deploy') return result;
    return { ...result, held: this.#pool.holds((args[0] as TemplateSpec).name) };
  }

  async #invoke(id: number, { name, head, body, ...given }: ProcessInvocation): Promise<void> {
    const tell = (about: AboutCall) => this.#about(id, about);
    const hosted: Hosted = {
      aborting: new AbortController(),
      request: new Inflow(
        (taken) => tell({ taken }),
        () => {},
      ),
      answer: new Outflow((piece) => {
        tell(piece ? { bytes: [piece] } : { bodyEnd: true });
        return piece?.byteLength ?? 0;
      }),
    };
    this.#invocations.set(id, hosted);
    /** It is read when the invocation has begun, not before. */
    const request = async function* () {
      tell({ started: true });
      yield* hosted.request;
    };
    const options = {
      ...given,
      ticket: id,
      signal: hosted.aborting.signal,
      onLogs: (lines: unknown) => tell({ logs: [lines] }),
      onParked: (parked: boolean) => tell({ parked }),
    };
    try {
      const frame = { head, body: body ?? request() };
      const { body: answer, end, stats, ...rest } = await this.#pool.invoke(name, frame, options);
      const whole = answer instanceof Uint8Array;
      const first = whole ? answer : NOTHING;
      tell({ reply: { ...rest, body: first, streams: !whole, logs: [], stats } });
      if (stats === undefined) tell({ over: await this.#finish(hosted, answer, end) });
    } catch (error) {
      hosted.answer.close();
      tell(taskErrorOf(error));
    }
    this.#invocations.delete(id);
  }

  /** The end is told behind the last piece; that the body breaks off, `end` tells. */
  async #finish({ answer }: Hosted, body: Body, end: Promise<WorkerStats>): Promise<WorkerStats> {
    const sent = body instanceof Uint8Array ? undefined : answer.send(body).catch(() => {});
    const stats = await end;
    await sent;
    return stats;
  }

  #about(id: number, about: AboutCall): void {
    this.#send({ id, ...about });
  }
}

const NOTHING = new Uint8Array(0);
