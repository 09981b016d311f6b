/** `mayfly serve` without machines, up to the first answer of /readyz. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';
import { MachinePool } from '@mayfly/vmm';

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
process.on('exit', () => rmSync(dataDir, { recursive: true }));
const pool = new MachinePool({
  directory: dataDir,
  worker: new URL('./host-worker.js', import.meta.url),
});
const { url } = await startServer({ port: 0, dataDir, pool });
// Not fetch(), which loads a client of its own first.
const [answer] = (await once(get(`${url}/readyz`), 'response')) as [IncomingMessage];
process.exit(answer.statusCode === 200 ? 0 : 1);
