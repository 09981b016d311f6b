/** `mayfly serve` without machines, up to the first answer of /readyz. */
import { mkdtempSync, rmSync } from 'node:fs';
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
const { status } = await fetch(`${url}/readyz`);
process.exit(status === 200 ? 0 : 1);
