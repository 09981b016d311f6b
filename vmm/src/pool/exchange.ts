/** The pool's end of an invocation that runs elsewhere: what is told of it, message by message, becomes what Pool.invoke() gives. */
import type { AboutInvocation, InvokeReply, WorkerStats } from '../worker/messages.js';
import { Conversation, type Line } from './conversation.js';
import { abortedBy, isAborted, WorkerError } from './failures.js';
import type { InvokeOptions, InvokeResult } from './types.js';

/** `end` tells more than others need. */
export type ExchangeResult = Omit<InvokeResult, 'end' | 'stats'> & {
  end: Promise<WorkerStats>;
  stats?: WorkerStats | undefined;
};

export class Exchange {
  readonly options: InvokeOptions;
  /** Rejects with what ended the invocation before there was an answer. */
  readonly result: Promise<ExchangeResult>;
  readonly #line: Line;
  /** Why it was ended from this side, if it was not the signal. */
  #reason: unknown;
  /** While it is more than one message and one reply. */
  #conversation: Conversation | undefined;
  #resolve!: (result: ExchangeResult) => void;
  #reject!: (error: unknown) => void;

  /** Throws the reason of a signal that was aborted before; one that is aborted from now on ends the invocation. */
  constructor(line: Line, options: InvokeOptions) {
    options.signal?.throwIfAborted();
    options.signal?.addEventListener('abort', line.abort, { once: true });
    this.#line = line;
    this.options = options;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The body of the request, piece by piece, when the invocation begins; what the iterator throws ends the invocation. */
  sendRequest(pieces: AsyncIterable<Uint8Array>): void {
    this.#converse().sendRequest(pieces);
  }

  /** Whether the invocation is over. */
  receive(about: AboutInvocation): boolean {
    if ('error' in about) {
      this.fail(new WorkerError(about.error));
      return true;
    }
    let over = 'over' in about;
    if ('reply' in about) over = this.#reply(about.reply);
    else if ('logs' in about) this.#tell(about.logs);
    else this.#conversation?.receive(about);
    if (over) this.#leaveSignal();
    return over;
  }

  /** Nothing more comes. */
  fail(error: unknown): void {
    this.#leaveSignal();
    const aborted = isAborted(error);
    const reason = aborted ? (this.#reason ?? this.options.signal?.reason) : error;
    const told = aborted ? abortedBy(reason, error) : error;
    this.#conversation?.fail(told, reason);
    this.#reject(told);
  }

  #reply(reply: InvokeReply): boolean {
    const { logs, stats } = reply;
    if (logs.length > 0) this.#tell(logs);
    if (stats !== undefined) this.#conversation?.finish(stats);
    if (this.#reason !== undefined) this.#reject(this.#reason);
    else this.#resolve(this.#resultOf(reply));
    return stats !== undefined;
  }

  #resultOf(reply: InvokeReply): ExchangeResult {
    const { head, body, queueMicros, cloneMicros, guestMicros, stats, streams } = reply;
    if (stats !== undefined) {
      const end = Promise.resolve(stats);
      return { head, body, queueMicros, cloneMicros, guestMicros, end, stats };
    }
    const conversation = this.#converse();
    const { end } = conversation;
    const pieces = streams ? conversation.body(body) : body;
    return { head, body: pieces, queueMicros, cloneMicros, guestMicros, end, stats };
  }

  #leaveSignal(): void {
    this.options.signal?.removeEventListener('abort', this.#line.abort);
  }

  /** A reader that refuses lines ends the invocation. */
  #tell(logs: unknown[]): void {
    try {
      for (const lines of logs) this.options.onLogs?.(lines);
    } catch (error) {
      this.#stop(error);
    }
  }

  #stop(reason: unknown): void {
    this.#reason ??= reason;
    this.#line.abort();
  }

  #converse(): Conversation {
    this.#conversation ??= new Conversation(this.#line, (reason) => this.#stop(reason));
    return this.#conversation;
  }
}
