/** A server's end of one pool process: starts it, passes calls and invocations on, and tells when it is gone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openUnnamed } from '../memory/index.js';
import { Journal } from '../worker/journal.js';
import { sharedNow } from '../worker/shared-clock.js';
import type { Line } from './conversation.js';
import { Exchange } from './exchange.js';
import { NotBegun, WorkerError, workerGone } from './failures.js';
import {
  type AboutCall,
  type Calls,
  type FromProcess,
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

/** Who waits for the result of a call. */
interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

export class PoolProcess {
  readonly #child: ChildProcess;
  readonly #wire: Wire<FromProcess, ToProcess>;
  readonly #journal: Journal;
  readonly #journalFd: number;
  readonly #listener: ProcessListener;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exchanges = new Map<number, Exchange>();
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
      if (this.#gone) throw new NotBegun();
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject });
      this.#hold();
      this.#wire.send({ id, call, args });
    });
  }

  /** As Pool.invoke(). Throws NotBegun when the process dies before it has begun with the invocation. */
  async invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<InvokeResult> {
    if (this.#gone) throw new NotBegun();
    const { head, body } = frame;
    const { place, timeoutMs, cpuMs } = options;
    const id = this.#nextId++;
    const exchange = new Exchange(this.#lineOf(id), options);
    this.#exchanges.set(id, exchange);
    this.#hold();
    const whole = body instanceof Uint8Array;
    const queuedAt = sharedNow();
    const given = { place, timeoutMs, cpuMs, queuedAt };
    this.#wire.send({ id, invoke: { name, head, body: whole ? body : undefined, ...given } });
    if (!whole) exchange.sendRequest(body);
    return exchange.result;
  }

  async close(): Promise<void> {
    this.#child.ref();
    const late = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_MS);
    await this.call('close').catch(() => {});
    this.#wire.end();
    await this.#exited;
    clearTimeout(late);
  }

  /** The process of the server lives on while something is under way. */
  #hold(): void {
    this.#wire.hold(this.#waiting.size + this.#exchanges.size > 0);
  }

  #lineOf(id: number): Line {
    return {
      sendPiece: (piece) => {
        this.#wire.send(piece ? { id, piece } : { id, pieceEnd: true });
        return piece?.byteLength ?? 0;
      },
      sendTaken: (taken) => this.#wire.send({ id, taken }),
      abort: () => this.#wire.send({ id, abort: true }),
    };
  }

  #receive(message: FromProcess): void {
    if ('ready' in message) this.#ready = true;
    else if ('workerLost' in message) this.#listener.workerLost(message.workerLost);
    else {
      const exchange = this.#exchanges.get(message.id);
      if (exchange === undefined) this.#aboutCall(message.id, message);
      else this.#aboutInvocation(message.id, exchange, message);
    }
  }

  #aboutCall(id: number, about: AboutCall): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    this.#hold();
    if ('error' in about) waiting.reject(new WorkerError(about.error));
    else if ('result' in about) waiting.resolve(about.result);
  }

  #aboutInvocation(id: number, exchange: Exchange, about: AboutCall): void {
    if ('parked' in about) exchange.options.onParked?.(about.parked);
    else if (!('result' in about) && exchange.receive(about)) {
      this.#exchanges.delete(id);
      this.#hold();
    }
  }

  #end(): void {
    this.#gone = true;
    for (const { reject } of this.#waiting.values()) reject(new NotBegun());
    for (const [id, exchange] of this.#exchanges) {
      exchange.fail(this.#journal.hasBegun(id) ? workerGone() : new NotBegun());
    }
    closeSync(this.#journalFd);
    this.#listener.gone();
  }
}
