/** Functions of any runtime in real machines, through the pool. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { defaultImageDir, ImageStore } from '@mayfly/image';
import { MachinePool } from '@mayfly/vmm';
import type { Runtime, Source } from '../src/index.js';
import { ImageLayers } from '../src/layers.js';

type Test = { teardown(end: () => unknown): void };
type Files = Record<string, string | Uint8Array>;

export interface Machines {
  /** The head of the first frame, or what stands for it. */
  deploy(
    name: string,
    runtime: Runtime,
    files: Files,
    rest?: Partial<Source>,
  ): Promise<Record<string, unknown>>;
  invoke(
    name: string,
    head: object,
    body?: string,
  ): Promise<{ head: Record<string, unknown>; text: string }>;
}

/** Images are kept between runs: those of interpreters take long to make on a slow machine. */
export async function machines(t: Test): Promise<Machines> {
  const directory = mkdtempSync(join(tmpdir(), 'mayfly-runtimes-'));
  const layers = new ImageLayers(await ImageStore.open(defaultImageDir()));
  const pool = new MachinePool({ directory, workers: 1 });
  t.teardown(async () => {
    await pool.close();
    rmSync(directory, { recursive: true });
  });
  return {
    deploy: async (name, runtime, files, rest = {}) => {
      const all = Object.entries(files).map(
        ([path, content]) =>
          [path, { bytes: Buffer.from(content as string), executable: false }] as const,
      );
      const { defaults, env, ...program } = await runtime(
        { name, files: new Map(all), ...rest },
        layers,
      );
      const memoryBytes = 256 * 1024 * 1024;
      const spec = {
        name,
        ...program,
        env: { ...defaults, ...env },
        memoryBytes,
        bootTimeoutMs: 300_000,
      };
      return (await pool.deploy(spec)).readyHead as Record<string, unknown>;
    },
    invoke: async (name, head, body = '') => {
      const common = {
        id: 'i',
        deadlineMs: Date.now() + 60_000,
        generation: String(Math.random()),
        entropy: Buffer.alloc(32, Math.random() * 256).toString('base64'),
        now: Date.now(),
      };
      const frame = { head: { ...common, ...head }, body: Buffer.from(body) };
      const place = { worker: 0, clone: 0 };
      const lines: unknown[] = [];
      const onLogs = (more: unknown) => void lines.push(...(more as unknown[]));
      const result = await pool.invoke(name, frame, { timeoutMs: 60_000, place, onLogs });
      const text =
        result.body instanceof Uint8Array
          ? Buffer.from(result.body).toString()
          : await textOf(result.body);
      await result.end;
      const said = result.head as { logs?: unknown[] };
      return { head: { ...said, logs: [...(said.logs ?? []), ...lines] }, text };
    },
  };
}

export const request = (path: string, method = 'GET') => ({
  type: 'request',
  method,
  url: `http://h${path}`,
  headers: [],
});
