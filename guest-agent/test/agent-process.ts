/** An agent as a process of this host, with its stream on file descriptor 3. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { encodeFrame, type Frame, FrameDecoder } from '@mayfly/protocol';

type Test = { teardown(end: () => unknown): void };

export interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: whatever the agent says is looked at by tests
  head: any;
  body: Buffer;
  text: string;
}

export interface WholeAnswer extends Answer {
  /** Sizes. */
  pieces: number[];
}

/** Files by relative paths, in a folder that is gone when the test ends. */
export function folderWith(t: Test, files: Record<string, string | Uint8Array>): string {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-agent-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return folder;
}

export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #stream: Duplex;
  readonly #decoder = new FrameDecoder();
  readonly #ended: Promise<string>;
  /** What came on stdout and stderr past the agent. */
  output = '';

  constructor(t: Test, command: string[], env: Record<string, string>) {
    const [program = '', ...args] = command;
    this.#child = spawn(program, args, {
      env: { ...env, MAYFLY_AGENT_STREAM: 'fd:3' },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.#stream = this.#child.stdio[3] as Duplex;
    this.#ended = new Promise((resolve) =>
      this.#child.on('close', (code, signal) => resolve(signal ?? `exit ${code}`)),
    );
    const keep = (chunk: Buffer) => {
      this.output += chunk.toString();
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    t.teardown(() => this.#child.kill('SIGKILL'));
  }

  /** How the process ended: 'exit 1' or 'SIGSEGV'. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** The next frame. Rejects when the agent ends without one. */
  async receive(): Promise<Answer> {
    let frame: Frame | undefined = this.#decoder.next();
    for (; frame === undefined; frame = this.#decoder.next()) {
      const chunk = await new Promise<Buffer | undefined>((resolve) => {
        this.#stream.once('data', resolve);
        this.#stream.once('end', () => resolve(undefined));
      });
      if (chunk === undefined) throw new Error(`it ended (${await this.#ended}): ${this.output}`);
      this.#decoder.push(chunk);
    }
    const body = Buffer.from(frame.body);
    return { head: frame.head, body, text: body.toString() };
  }

  /** The next answer with all of its body. */
  async receiveWhole(): Promise<WholeAnswer> {
    const { head, body } = await this.receive();
    const pieces = [body];
    for (let more = head.more; more; ) {
      const next = await this.receive();
      if (next.head.type === 'chunk') pieces.push(next.body);
      else if (next.head.type === 'log') head.logs.push(...next.head.logs);
      else throw new Error(JSON.stringify(next.head));
      more = next.head.end !== true;
    }
    const whole = Buffer.concat(pieces);
    return { head, body: whole, text: whole.toString(), pieces: pieces.map((p) => p.byteLength) };
  }

  invoke(head: object, body: string | Uint8Array = ''): Promise<WholeAnswer> {
    this.send({ ...COMMON, ...head }, body);
    return this.receiveWhole();
  }

  send(head: object, body: string | Uint8Array): void {
    this.#stream.write(encodeFrame(head, Buffer.from(body)));
  }

  /** No more invocations: it exits. */
  end(): void {
    this.#stream.end();
  }

  event(event: unknown, head: object = {}): Promise<WholeAnswer> {
    return this.invoke({ type: 'event', ...head }, JSON.stringify(event));
  }

  request(
    url: string,
    options: { method?: string; headers?: [string, string][]; body?: string | Uint8Array } = {},
  ): Promise<WholeAnswer> {
    const { method = 'GET', headers = [], body = '' } = options;
    return this.invoke({ type: 'request', method, url: `http://h:8080${url}`, headers }, body);
  }
}

export const COMMON = {
  id: 'i',
  deadlineMs: Date.now() + 60_000,
  generation: 'g',
  entropy: Buffer.alloc(32, 7).toString('base64'),
  now: Date.now(),
};
