/** A server that invocations.test.ts kills: prints its URL, and answers after a while, or ends when an event says so. */
import { startServer } from '../src/index.js';
import { endWithParent } from './child-server.js';
import { MemoryPool, noLayers, result } from './memory-pool.js';

endWithParent();
const [dataDir = '', delay = '0'] = process.argv.slice(2);
const pool = new MemoryPool(async (_head, body) => {
  if (Buffer.from(body as Uint8Array).toString() === '"crash"')
    process.kill(process.pid, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, Number(delay)));
  return result('done');
});
const server = await startServer({ port: 0, dataDir, pool, layers: noLayers, logLevel: 'silent' });
process.stdout.write(`${server.url}\n`);
