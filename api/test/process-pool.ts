/**
 * A pool without machines: every template and every clone is a process of the host that runs the real agent, with the
 * stream on file descriptor 3. Slow (a process an invocation) and no isolation, but frames, agent and API are the real
 * ones. A "template" is booted to see whether it gets ready; a "clone" is booted again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { nodeAgentPath, pythonAgentPath } from '@mayfly/guest-agent';
import {
  AnswerOrder,
  answerBroken,
  encodeFrame,
  type Frame,
  FrameDecoder,
  MayflyError,
} from '@mayfly/protocol';
import type {
  InvokeFrame,
  InvokeOptions,
  InvokeResult,
  InvokeStats,
  Pool,
  TemplateSpec,
} from '@mayfly/vmm';
import { GUEST_PATHS, type Layers, type SourceFile } from '../src/index.js';
import { invokeProcess } from './process-dialects.js';

/** Layers as plain folders: programs and agents stay where they are, a function's files are in a folder of their own. */
export class FileLayers implements Layers {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async programs(): Promise<string> {
    return '/';
  }

  async files(files: ReadonlyMap<string, SourceFile>): Promise<string> {
    const hash = createHash('sha256');
    for (const [name, { bytes }] of files) hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    const folder = join(this.#dir, hash.digest('hex'));
    for (const [name, { bytes, executable }] of files) {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, bytes, { mode: executable ? 0o755 : 0o644 });
    }
    return folder;
  }
}

export class ProcessPool implements Pool {
  readonly workers = 2;
  readonly #templates = new Map<string, TemplateSpec>();
  readonly #children = new Set<AgentProcess>();
  /** How many clones were started; tests look at it. */
  invocations = 0;

  get templates(): string[] {
    return [...this.#templates.keys()];
  }

  /** Clones that ran at once. */
  runningMost = 0;

  /** Clones and templates that run now. */
  get running(): number {
    return this.#children.size;
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    const start = performance.now();
    const { kind } = spec.dialect ?? { kind: 'frames' };
    if (kind !== 'frames') {
      this.#templates.set(spec.name, spec);
      const exports = kind === 'stdio' ? 'stdin' : kind;
      const readyHead = { type: 'ready', exports, version: '', pid: 1, logs: [] };
      return { bootMicros: 0, readyHead };
    }
    const child = this.#start(spec);
    try {
      child.failAfter(spec.bootTimeoutMs);
      const { head } = await child.receive();
      this.#templates.set(spec.name, spec);
      return { bootMicros: (performance.now() - start) * 1000, readyHead: head };
    } finally {
      this.#stop(child);
    }
  }

  async invoke(name: string, frame: InvokeFrame, options: InvokeOptions): Promise<InvokeResult> {
    const spec = this.#templates.get(name);
    if (!spec) throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `there is no template ${name}`);
    options.signal?.throwIfAborted();
    if (spec.dialect && spec.dialect.kind !== 'frames') {
      this.invocations++;
      return invokeProcess(spec, commandOf(spec), frame, options);
    }
    const called = performance.now();
    const child = this.#start(spec);
    this.invocations++;
    const onAbort = () => child.fail(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort);
    child.onStop = () => options.signal?.removeEventListener('abort', onAbort);
    try {
      await child.receive();
      return await this.#answerOf(child, frame, options, called);
    } catch (error) {
      this.#stop(child);
      throw error;
    }
  }

  async #answerOf(
    child: AgentProcess,
    frame: InvokeFrame,
    options: InvokeOptions,
    called: number,
  ): Promise<InvokeResult> {
    const entered = performance.now();
    const guestMicros = () => (performance.now() - entered) * 1000;
    const queueMicros = (entered - called) * 1000;
    child.failAfter(options.timeoutMs);
    void child.send(frame);
    const order = new AnswerOrder();
    const first = await child.next(order, options);
    const timing = { queueMicros, cloneMicros: 0, guestMicros: guestMicros() };
    const stop = () => this.#stop(child);
    let ended: (stats: InvokeStats) => void = () => {};
    let broken: (error: unknown) => void = () => {};
    const end = new Promise<InvokeStats>((resolve, reject) => {
      ended = resolve;
      broken = reject;
    });
    end.catch(() => {});
    /** Through the body, and what follows it. */
    const rest = async function* (): AsyncGenerator<Uint8Array> {
      try {
        if (first.body.byteLength > 0) yield first.body;
        while (order.phase === 'body') {
          const { body } = await child.next(order, options);
          if (body.byteLength > 0) yield body;
        }
        settle();
      } catch (error) {
        broken(error);
        throw error;
      } finally {
        if (order.phase === 'body') stop();
      }
    };
    const settle = async () => {
      try {
        while (order.phase === 'pending') await child.next(order, options);
        ended({ ...timing, guestMicros: guestMicros(), cpuMicros: 0, rewoundPages: 0 });
      } catch (error) {
        broken(error);
      } finally {
        stop();
      }
    };
    const pieces = rest();
    const body = {
      [Symbol.asyncIterator]: () => ({
        next: () => pieces.next(),
        return: () => {
          stop(); // pieces.return() does nothing where nobody has read yet
          return pieces.return(undefined);
        },
      }),
    };
    const streams = order.phase === 'body';
    if (!streams) void settle();
    return {
      head: first.head,
      body: streams ? body : first.body,
      ...timing,
      end,
    };
  }

  /** Clones are started when they are used. */
  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  async unload(): Promise<void> {}

  /** Processes are not stored. */
  async prune(): Promise<void> {}

  async remove(name: string): Promise<void> {
    this.#templates.delete(name);
  }

  async close(): Promise<void> {
    for (const child of this.#children) this.#stop(child);
    this.#templates.clear();
  }

  #start(spec: TemplateSpec): AgentProcess {
    const child = new AgentProcess(spec);
    this.#children.add(child);
    this.runningMost = Math.max(this.runningMost, this.running);
    return child;
  }

  #stop(child: AgentProcess): void {
    this.#children.delete(child);
    child.kill();
  }
}

class AgentProcess {
  readonly #child: ChildProcess;
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  #failure: unknown;
  #wake: () => void = () => {};
  #drained: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  onStop: () => void = () => {};

  constructor(spec: TemplateSpec) {
    const { program, args, env } = commandOf(spec);
    this.#child = spawn(program, args, {
      env: { ...env, MAYFLY_AGENT_STREAM: 'fd:3' },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.#stream = this.#child.stdio[3] as Duplex;
    this.#stream.on('data', (chunk: Uint8Array) => this.#take(chunk)).pause();
    this.#stream.on('error', (error) => this.fail(error));
    this.#stream.on('drain', () => this.#drained());
    // Comes when all that the process wrote was read.
    this.#child.on('close', (code, signal) => {
      const how = signal ? `by ${signal}` : `with ${code}`;
      this.fail(new MayflyError('MAYFLY_GUEST_EXITED', `the program ended ${how}`));
    });
  }

  /** As fast as the agent reads; what goes wrong is receive()'s to tell. */
  async send({ head, body }: InvokeFrame): Promise<void> {
    if (body instanceof Uint8Array) return this.#write(head, body);
    try {
      await this.#write({ ...head, more: true });
      for await (const piece of body) await this.#write({ type: 'chunk' }, piece);
      await this.#write({ type: 'chunk', end: true });
    } catch (error) {
      this.fail(error);
    }
  }

  async #write(head: object, body?: Uint8Array): Promise<void> {
    if (this.#stream.write(encodeFrame(head, body))) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
  }

  /** The next frame but for log lines, which are told. */
  async next(order: AnswerOrder, { onLogs }: InvokeOptions): Promise<Frame> {
    for (;;) {
      const begun = order.phase !== 'head';
      const frame = await this.receive();
      const part = order.take(frame.head);
      if (part === 'error' && begun) throw answerBroken(frame.head);
      if (part !== 'log') return frame;
      onLogs?.(frame.head.logs);
    }
  }

  /** The next frame; frames that arrived come before failures. Nothing is read while nobody waits. */
  async receive(): Promise<Frame> {
    for (;;) {
      const frame = this.#decoder.next();
      if (frame) return frame;
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#stream.resume();
      });
      this.#stream.pause();
    }
  }

  failAfter(timeoutMs: number): void {
    const message = `no answer within ${timeoutMs} ms`;
    const late = () => this.fail(new MayflyError('MAYFLY_GUEST_TIMEOUT', message));
    this.#timer = setTimeout(late, timeoutMs);
  }

  fail(error: unknown): void {
    this.#failure ??= error;
    this.#wake();
  }

  kill(): void {
    clearTimeout(this.#timer);
    this.onStop();
    this.#child.kill('SIGKILL');
    this.#stream.destroy();
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#decoder.push(chunk);
      this.#wake();
    } catch (error) {
      this.fail(error);
    }
  }
}

/** What the guest would run, with the paths of this host. */
export interface HostCommand {
  program: string;
  args: string[];
  env: Record<string, string>;
  cwd: string;
}

function commandOf({ images, argv, env }: TemplateSpec): HostCommand {
  const files = images.at(-1) ?? '';
  const places: [guest: string, host: string][] = [
    [`${GUEST_PATHS.agents}/python`, pythonAgentPath],
    [GUEST_PATHS.agents, dirname(nodeAgentPath)],
    [GUEST_PATHS.function, files],
  ];
  const here = (path: string) => {
    const place = places.find(([guest]) => path.startsWith(`${guest}/`));
    return place ? place[1] + path.slice(place[0].length) : path;
  };
  const [program = '', ...args] = argv.map(here);
  const variables = Object.entries(env).map(([name, value]) => [name, here(value)]);
  return { program, args, env: Object.fromEntries(variables), cwd: files };
}
