/** The server as it is but for its guests, which answer at once, and Node.js's own server; started by startServers(). */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';
import { MachinePool } from '@mayfly/vmm';
import { deploy } from './deploy.js';
import { ANSWER, SOURCE } from './hello.js';
import type { ServerUrls } from './http-servers.js';

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

const worker = new URL('./host-worker.js', import.meta.url);
const pool = new MachinePool({ directory: dataDir, worker });
const layers = { programs: async () => '', files: async () => '' };
const server = await startServer({ port: 0, dataDir, pool, layers });

const plain = createServer((_request, response) => response.end(ANSWER));
await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));

const urls: ServerUrls = {
  mayfly: await deploy(server.url, 'hello', { source: SOURCE }),
  plain: `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`,
};
process.send?.(urls);
