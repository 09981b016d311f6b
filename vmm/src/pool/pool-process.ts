/** A server's end of one pool process: starts it, passes calls and invocations on, and tells when it is gone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openUnnamed } from '../memory/index.js';
import { Journal } from '../worker/journal.js';
import { Conversation, type Line } from './conversation.js';
import { abortedBy, isAborted, NotBegun, WorkerError, workerGone } from './failures.js';
import {
  type AboutCall,
  type Calls,
  type FromProcess,
  type ProcessReply,
  type ProcessSettings,
  SOCKET_FD,
  type ToProcess,
} from './process-messages.js';
import type { InvokeFrame, InvokeOptions, InvokeResult } from './types.js';
import { Wire } from './wire.js';

const PROGRAM = fileURLToPath(new URL('./process-main.js', import.meta.url));
/** One that does not end by itself is ended. */
const CLOSE_MS = 10_000;

export interface ProcessListener {
  workerLost(worker: number): void;
  /** It ended; all that it had was told. */
  gone(): void;
}

/** Who waits for what the process says about a call, or about an invocation. */
interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  invocation?: Invocation;
}

interface Invocation {
  options: InvokeOptions;
  abort(): void;
  /** Why that was done here. */
  reason?: unknown;
  /** While it is more than one message and one reply. */
  conversation?: Conversation;
}

export class PoolProcess {
  readonly #child: ChildProcess;
  readonly #wire: Wire<FromProcess, ToProcess>;
  readonly #journal: Journal;
  readonly #journalFd: number;
  readonly #listener: ProcessListener;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<unknown>;
  #nextId = 1;
  #ready = false;
  #gone = false;

  constructor(settings: ProcessSettings, listener: ProcessListener) {
    this.#listener = listener;
    this.#journalFd = openUnnamed(settings.directory);
    this.#journal = new Journal(this.#journalFd);
    this.#child = spawn(process.execPath, [PROGRAM, JSON.stringify(settings)], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', this.#journalFd],
    });
    this.#child.on('error', () => {}); // then the socket is closed
    this.#exited = new Promise((resolve) => this.#child.once('close', resolve));
    this.#wire = new Wire(
      this.#child.stdio[SOCKET_FD] as Socket,
      (message) => this.#receive(message),
      () => this.#end(),
    );
    this.#child.unref();
    this.#wire.hold(false);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** It has come up. */
  get ready(): boolean {
    return this.#ready;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Throws what the pool of the process does, and NotBegun when it dies. */
  call<Name extends keyof Calls>(
    call: Name,
    ...args: Parameters<Calls[Name]>
  ): Promise<ReturnType<Calls[Name]>> {
    return new Promise((resolve, reject) => {
      const waiting = { resolve: resolve as Waiting['resolve'], reject };
      this.#wire.send({ id: this.#wait(waiting), call, args });
    });
  }

  /** As Pool.invoke(). Throws NotBegun when the process dies before it has begun with the invocation. */
  invoke(name: string, { head, body }: InvokeFrame, options: InvokeOptions): Promise<InvokeResult> {
    const { place, timeoutMs, cpuMs, signal } = options;
    const whole = body instanceof Uint8Array;
    const invocation: Invocation = { options, abort: () => this.#wire.send({ id, abort: true }) };
    let id = 0;
    const replied = new Promise<ProcessReply>((resolve, reject) => {
      id = this.#wait({ resolve: resolve as Waiting['resolve'], reject, invocation });
    });
    const invoke = { name, head, body: whole ? body : undefined, place, timeoutMs, cpuMs };
    this.#wire.send({ id, invoke });
    if (!whole) this.#converse(id, invocation).sendRequest(body);
    signal?.addEventListener('abort', invocation.abort, { once: true });
    return replied.then((reply) => resultOf(reply, invocation));
  }

  async close(): Promise<void> {
    this.#child.ref();
    const late = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_MS);
    await this.call('close').catch(() => {});
    this.#wire.end();
    await this.#exited;
    clearTimeout(late);
  }

  #wait(waiting: Waiting): number {
    const id = this.#nextId++;
    if (this.#gone) waiting.reject(new NotBegun());
    else if (this.#waiting.set(id, waiting).size === 1) this.#wire.hold(true);
    return id;
  }

  #forget(id: number, { invocation }: Waiting): void {
    invocation?.options.signal?.removeEventListener('abort', invocation.abort);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#wire.hold(false);
  }

  #converse(id: number, invocation: Invocation): Conversation {
    const { options, abort } = invocation;
    const line: Line = {
      sendPiece: (piece) => {
        this.#wire.send(piece ? { id, piece } : { id, pieceEnd: true });
        return piece?.byteLength ?? 0;
      },
      sendTaken: (taken) => this.#wire.send({ id, taken }),
      close: () => {},
    };
    invocation.conversation = new Conversation(line, options, abort);
    return invocation.conversation;
  }

  #receive(message: FromProcess): void {
    if ('ready' in message) this.#ready = true;
    else if ('workerLost' in message) this.#listener.workerLost(message.workerLost);
    else {
      const waiting = this.#waiting.get(message.id);
      if (waiting !== undefined) this.#about(message.id, waiting, message);
    }
  }

  #about(id: number, waiting: Waiting, about: AboutCall): void {
    const { invocation, resolve } = waiting;
    if ('error' in about) this.#fail(id, waiting, new WorkerError(about.error));
    else if ('result' in about) {
      this.#forget(id, waiting);
      resolve(about.result);
    } else if (invocation === undefined) return;
    else if ('reply' in about) {
      if (about.reply.stats !== undefined) this.#forget(id, waiting);
      else if (invocation.conversation === undefined) this.#converse(id, invocation);
      resolve(about.reply);
    } else if ('parked' in about) invocation.options.onParked?.(about.parked);
    else if ('logs' in about && invocation.conversation === undefined) {
      readLines(invocation, about.logs);
    } else {
      if ('over' in about) this.#forget(id, waiting);
      invocation.conversation?.receive(about);
    }
  }

  #fail(id: number, waiting: Waiting, error: unknown): void {
    const { invocation, reject } = waiting;
    this.#forget(id, waiting);
    invocation?.conversation?.fail(error);
    reject(isAborted(error) ? abortedBy(invocation && reasonOf(invocation), error) : error);
  }

  #end(): void {
    this.#gone = true;
    for (const [id, waiting] of this.#waiting) {
      const begun = waiting.invocation !== undefined && this.#journal.hasBegun(id);
      this.#fail(id, waiting, begun ? workerGone() : new NotBegun());
    }
    closeSync(this.#journalFd);
    this.#listener.gone();
  }
}

function resultOf(reply: ProcessReply, { reason, conversation }: Invocation): InvokeResult {
  if (reason !== undefined) throw reason;
  const { body, stats, ...rest } = reply;
  if (stats !== undefined || conversation === undefined) {
    const end = Promise.resolve(stats as NonNullable<typeof stats>);
    return { ...rest, body: body ?? NOTHING, end, stats };
  }
  return { ...rest, body: body ?? conversation.body(NOTHING), end: conversation.end };
}

function reasonOf({ reason, conversation, options }: Invocation): unknown {
  return reason ?? conversation?.reason ?? options.signal?.reason;
}

/** A reader that refuses lines ends the invocation. */
function readLines(invocation: Invocation, logs: unknown[]): void {
  try {
    for (const lines of logs) invocation.options.onLogs?.(lines);
  } catch (error) {
    invocation.reason ??= error;
    invocation.abort();
  }
}

const NOTHING = new Uint8Array(0);
