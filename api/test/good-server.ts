/** A server with a function that does well, and must go on to, whatever others do. */
import t from 'tap';
import type { MemoryPool } from './memory-pool.js';
import { testServer } from './test-server.js';

/** Until the end of the test file. `good` is deployed in it and echoes. */
export async function goodServer(pool: MemoryPool) {
  const { url, port, json } = await testServer(t, { pool });
  const put = (name: string, body = 'x') =>
    fetch(`${url}/v1/functions/${name}`, { method: 'PUT', body });
  await put('good');
  return {
    url,
    port,
    put,
    json,
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
