/** A server with a function that does well, and must go on to, whatever others do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startServer } from '../src/index.js';
import { type MemoryPool, noLayers } from './memory-pool.js';

/** Until the end of the test file. `good` is deployed in it and echoes. */
export async function goodServer(pool: MemoryPool) {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-good-'));
  const server = await startServer({
    port: 0,
    dataDir,
    pool,
    layers: noLayers,
    logLevel: 'silent',
  });
  const { url } = server;
  t.teardown(async () => {
    await server.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const put = (name: string, body = 'x') =>
    fetch(`${url}/v1/functions/${name}`, { method: 'PUT', body });
  await put('good');
  return {
    url,
    port: Number(new URL(url).port),
    put,
    json: async (path: string, init?: RequestInit) => {
      const answer = await fetch(url + path, init);
      return { status: answer.status, body: (await answer.json()) as { code: string } };
    },
    othersNoticeNothing: async (t: {
      equal(a: unknown, b: unknown): void;
      match(a: unknown, b: RegExp): void;
    }): Promise<void> => {
      const answer = await fetch(`${url}/fn/good/x`);
      t.equal(answer.status, 200);
      t.match(await answer.text(), /GET .*\/x/);
    },
  };
}
