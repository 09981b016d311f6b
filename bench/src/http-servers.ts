/** A function to ask, by its name, and Node.js's own server beside them; started by startServers(). */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';
import { deploy } from './deploy.js';
import { ANSWER, SOURCE } from './hello.js';
import { guestProgram } from './programs.js';

export interface ServerUrls {
  /** A function that answers every request, each in a clone of its own. */
  mayfly: string;
  /** Node.js's own HTTP server with the same answer and no isolation. */
  plain: string;
}

const PARK_SOURCE = `export default { fetch: async () => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return new Response(${JSON.stringify(ANSWER)});
} };`;

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

/** Longer than the slowest host takes: what a limit cuts off is not measured. */
const limits = { bootTimeoutMs: 600_000 };
const timeoutMs = 60_000;

const server = await startServer({ port: 0, dataDir, limits });

/** hello answers at once, park waits first, cold is scaled to zero after a second, native is a static program. */
const FUNCTIONS: Record<string, () => object> = {
  hello: () => ({ source: SOURCE }),
  park: () => ({ source: PARK_SOURCE }),
  cold: () => ({ source: SOURCE, idleSeconds: 1 }),
  native: () => {
    const base64 = readFileSync(guestProgram('filter')).toString('base64');
    return { runtime: 'native', files: { filter: { base64, executable: true } } };
  },
};

const plain = createServer((_request, response) => response.end(ANSWER));
await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));

const [name = 'hello'] = process.argv.slice(2);
const urls: ServerUrls = {
  mayfly: await deploy(server.url, name, { ...FUNCTIONS[name]!(), timeoutMs }),
  plain: `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`,
};
process.send?.(urls);
