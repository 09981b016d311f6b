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
import { nodeAgentPath } from '@mayfly/guest-agent';
import { encodeFrame, type Frame, FrameDecoder, MayflyError } from '@mayfly/protocol';
import type { InvokeFrame, InvokeResult, Pool, TemplateSpec } from '@mayfly/vmm';
import { GUEST_PATHS, type Layers, type SourceFile } from '../src/index.js';

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
  readonly #templates = new Map<string, TemplateSpec>();
  readonly #children = new Set<AgentProcess>();
  /** How many clones were started; tests look at it. */
  invocations = 0;

  get templates(): string[] {
    return [...this.#templates.keys()];
  }

  /** Clones and templates that run now. */
  get running(): number {
    return this.#children.size;
  }

  async deploy(spec: TemplateSpec): Promise<{ bootMicros: number; readyHead: unknown }> {
    const start = performance.now();
    const child = this.#start(spec);
    try {
      const { head } = await child.receive(spec.bootTimeoutMs);
      this.#templates.set(spec.name, spec);
      return { bootMicros: (performance.now() - start) * 1000, readyHead: head };
    } finally {
      this.#stop(child);
    }
  }

  async invoke(
    name: string,
    frame: InvokeFrame,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<InvokeResult> {
    const spec = this.#templates.get(name);
    if (!spec) throw new MayflyError('MAYFLY_TEMPLATE_UNKNOWN', `there is no template ${name}`);
    const called = performance.now();
    const child = this.#start(spec);
    this.invocations++;
    const onAbort = () => child.fail(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort);
    try {
      await child.receive(spec.bootTimeoutMs);
      const entered = performance.now();
      child.send(frame);
      const answer = await child.receive(options.timeoutMs);
      const answered = performance.now();
      return {
        head: answer.head,
        body: answer.body,
        guestMicros: (answered - entered) * 1000,
        queueMicros: (entered - called) * 1000,
        rewoundPages: 0,
      };
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
      this.#stop(child);
    }
  }

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

  constructor(spec: TemplateSpec) {
    const here = placesOnHost(spec);
    const [program = '', ...args] = spec.argv.map(here);
    const env = Object.entries(spec.env).map(([name, value]) => [name, here(value)]);
    this.#child = spawn(program, args, {
      env: { ...Object.fromEntries(env), MAYFLY_AGENT_STREAM: 'fd:3' },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.#stream = this.#child.stdio[3] as Duplex;
    this.#stream.on('data', (chunk: Uint8Array) => this.#take(chunk));
    this.#stream.on('error', (error) => this.fail(error));
    this.#child.on('exit', (code, signal) => {
      const how = signal ? `by ${signal}` : `with ${code}`;
      // Let the stream deliver what the process wrote before it ended.
      setImmediate(() =>
        this.fail(new MayflyError('MAYFLY_GUEST_EXITED', `the program ended ${how}`)),
      );
    });
  }

  send(frame: InvokeFrame): void {
    this.#stream.write(encodeFrame(frame.head as object, frame.body));
  }

  /** The next frame; frames that arrived come before failures. */
  async receive(timeoutMs: number): Promise<Frame> {
    const message = `no answer within ${timeoutMs} ms`;
    const timer = setTimeout(
      () => this.fail(new MayflyError('MAYFLY_GUEST_TIMEOUT', message)),
      timeoutMs,
    );
    try {
      for (;;) {
        const frame = this.#decoder.next();
        if (frame) return frame;
        if (this.#failure) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  fail(error: unknown): void {
    this.#failure ??= error;
    this.#wake();
  }

  kill(): void {
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

/** From a path in the guest to one of this host. */
function placesOnHost({ images }: TemplateSpec): (path: string) => string {
  const places: [guest: string, host: string][] = [
    [GUEST_PATHS.agents, dirname(nodeAgentPath)],
    [GUEST_PATHS.function, images.at(-1) ?? ''],
  ];
  return (path) => {
    const place = places.find(([guest]) => path.startsWith(`${guest}/`));
    return place ? place[1] + path.slice(place[0].length) : path;
  };
}
