/** Programs that know nothing of frames, as processes of the host: what vmm/src/dialects is for guests, by Node's own means. */
import { type ChildProcess, spawn } from 'node:child_process';
import { request } from 'node:http';
import { createServer } from 'node:net';
import type { RequestHead } from '@mayfly/protocol';
import type { InvokeFrame, InvokeOptions, InvokeResult, TemplateSpec } from '@mayfly/vmm';
import type { HostCommand } from './process-pool.js';

const TIMING = { queueMicros: 0, guestMicros: 1 };

/** One request to a process of its own. */
export async function invokeProcess(
  { dialect }: TemplateSpec,
  command: HostCommand,
  { head, body }: InvokeFrame,
  { timeoutMs }: InvokeOptions,
): Promise<InvokeResult> {
  const parts: Uint8Array[] = [];
  if (body instanceof Uint8Array) parts.push(body);
  else for await (const part of body) parts.push(part);
  const input = Buffer.concat(parts);
  const port = dialect?.kind === 'http' ? await freePort() : undefined;
  const { program, args, env, cwd } = command;
  const child = spawn(program, args, {
    cwd,
    env: { ...env, ...(port && { PORT: String(port) }) },
    stdio: 'pipe',
    timeout: Math.ceil(timeoutMs),
  });
  try {
    const answer = port
      ? ask(child, port, head as RequestHead, input)
      : filtered(child, head, input);
    const end = Promise.resolve({ ...TIMING, cpuMicros: 0, rewoundPages: 0 });
    return { ...(await answer), ...TIMING, end };
  } finally {
    child.kill('SIGKILL');
  }
}

type Answer = Pick<InvokeResult, 'head' | 'body'>;

async function filtered(child: ChildProcess, head: object, input: Uint8Array): Promise<Answer> {
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const read = async (stream: NodeJS.ReadableStream | null) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream ?? []) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  };
  child.stdin?.on('error', () => {}); // it may end without having read everything
  child.stdin?.end(input);
  const [body, errors] = await Promise.all([read(child.stdout), read(child.stderr)]);
  const lines = errors.toString().split('\n').slice(0, -1);
  const logs = lines.map((text) => ({ level: 'error', time: Date.now(), text }));
  const code = await ended;
  if (code !== 0) {
    const message = `the program ended with exit code ${code}`;
    return { head: { type: 'error', code: 'FUNCTION_FAILED', message, stack: '', logs }, body };
  }
  if ((head as { type: string }).type === 'event') return { head: { type: 'result', logs }, body };
  const headers = [['content-type', 'text/plain; charset=utf-8']];
  return { head: { type: 'response', status: 200, headers, logs }, body };
}

async function ask(
  child: ChildProcess,
  port: number,
  head: RequestHead,
  input: Uint8Array,
): Promise<Answer> {
  const exit = new Promise<never>((_, reject) =>
    child.once('exit', () => reject(new Error('the server ended'))),
  );
  exit.catch(() => {});
  for (;;) {
    try {
      return await Promise.race([asked(port, head, input), exit]);
    } catch (error) {
      if ((error as { code?: string }).code !== 'ECONNREFUSED') throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function asked(port: number, head: RequestHead, input: Uint8Array): Promise<Answer> {
  const { method, url, headers } = head;
  const { pathname, search } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        method,
        path: pathname + search,
        headers: headers.flat() as never,
      },
      async (answer) => {
        const chunks: Buffer[] = [];
        for await (const chunk of answer) chunks.push(chunk);
        const pairs: string[][] = [];
        for (let i = 0; i < answer.rawHeaders.length; i += 2) {
          pairs.push(answer.rawHeaders.slice(i, i + 2));
        }
        const body = Buffer.concat(chunks);
        resolve({
          head: { type: 'response', status: answer.statusCode, headers: pairs, logs: [] },
          body,
        });
      },
    );
    sent.on('error', reject).end(input);
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
