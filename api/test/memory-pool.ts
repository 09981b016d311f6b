/** A pool that answers from memory as a test says: for what is about the server and not about agents or guests. */
import { type AnswerHead, type EventHead, MayflyError, type RequestHead } from '@mayfly/protocol';
import type {
  Body,
  InvokeFrame,
  InvokeOptions,
  InvokeResult,
  InvokeStats,
  Pool,
  TemplateSpec,
} from '@mayfly/vmm';
import type { Layers } from '../src/index.js';

export interface Answer {
  head: object;
  body?: Body;
  end?: Promise<void>;
  network?: NonNullable<InvokeStats['network']>;
}

export type Behave = (
  head: RequestHead | EventHead,
  body: Body,
  options: InvokeOptions,
  spec: TemplateSpec,
) => Promise<Answer>;

const NO_LOGS: AnswerHead = { logs: [] };

export const result = (value: unknown): Answer => ({
  head: { ...NO_LOGS, type: 'result' },
  body: Buffer.from(JSON.stringify(value)),
});

export const response = (status: number, body: Body, headers: [string, string][] = []): Answer => ({
  head: { ...NO_LOGS, type: 'response', status, headers },
  body,
});

/** Gives events back, and answers requests with their method and URL. */
export const echo: Behave = async (head, body) =>
  head.type === 'event'
    ? result(JSON.parse(Buffer.from(body as Uint8Array).toString()))
    : response(200, Buffer.from(`${head.method} ${head.url}`));

export const noLayers: Layers = { programs: async () => '/', files: async () => '/' };

export class MemoryPool implements Pool {
  readonly workers = 2;
  readonly templates = new Map<string, TemplateSpec>();
  behave: Behave;
  /** What deploy() waits for. */
  boot: () => Promise<void> = async () => {};
  readonly #closed = rejectable();

  constructor(behave: Behave = echo) {
    this.behave = behave;
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    await this.boot();
    this.templates.set(spec.name, spec);
    const readyHead = { type: 'ready', exports: 'handler', version: 'v20', pid: 1, logs: [] };
    return { bootMicros: 1000, readyHead };
  }

  async invoke(
    name: string,
    { head, body }: InvokeFrame,
    options: InvokeOptions,
  ): Promise<InvokeResult> {
    const aborted = new Promise<never>((_, reject) => {
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason));
    });
    aborted.catch(() => {});
    const closed = this.#closed.promise;
    const behaved = this.behave(
      head as RequestHead | EventHead,
      body,
      options,
      this.templates.get(name)!,
    );
    const answer = await Promise.race([behaved, aborted, closed]);
    const timing = { queueMicros: 10, guestMicros: 20 };
    const counts = { cpuMicros: 15, rewoundPages: 7, faults: 5, rewindMicros: 30 };
    const stats = { ...timing, ...counts, network: answer.network };
    const end = Promise.race([answer.end ?? Promise.resolve(), aborted]).then(() => stats);
    end.catch(() => {});
    const answered = answer.body ?? new Uint8Array(0);
    const isOver = answered instanceof Uint8Array && answer.end === undefined;
    const over = isOver && { stats };
    return { head: answer.head, body: answered, ...timing, end, ...over };
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async unload(): Promise<void> {}

  async prune(): Promise<void> {}

  async remove(name: string): Promise<void> {
    this.templates.delete(name);
  }

  /** What is under way ends. */
  async close(): Promise<void> {
    this.#closed.reject(new MayflyError('MAYFLY_POOL_CLOSED', 'the pool is closed'));
  }
}

function rejectable(): { promise: Promise<never>; reject(error: unknown): void } {
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<never>((_, no) => {
    reject = no;
  });
  promise.catch(() => {});
  return { promise, reject };
}
