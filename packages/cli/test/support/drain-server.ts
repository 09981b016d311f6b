/** A server whose invocations never end, as `mayfly serve` runs one; for drain.test.ts. Prints its URL. */
import { startServer } from '@mayfly/api';
import { MayflyError } from '@mayfly/protocol';
import type { Pool } from '@mayfly/vmm';
import { serveUntilSignal } from '../../src/commands/serve.js';

const [dataDir = '', drainMs = '0'] = process.argv.slice(2);
const READY = { type: 'ready', exports: 'fetch', version: 'v20', pid: 1, logs: [] };

let end: (error: unknown) => void = () => {};
const closed = new Promise<never>((_, reject) => {
  end = reject;
});
const pool: Pool = {
  workers: 1,
  deploy: async () => ({ bootMicros: 1, readyHead: READY }),
  invoke: () => closed,
  start: async () => {},
  stop: async () => {},
  unload: async () => {},
  remove: async () => {},
  prune: async () => {},
  close: async () => end(new MayflyError('MAYFLY_POOL_CLOSED', 'the pool is closed')),
};
const layers = { programs: async () => '', files: async () => '' };
const server = await startServer({ port: 0, dataDir, pool, layers, drainMs: Number(drainMs) });
process.stdout.write(`${server.url}\n`);
const write = (text: string) => process.stderr.write(text);
await serveUntilSignal(server, { stdout: write, stderr: write, env: {} });
