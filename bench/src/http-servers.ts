/** Functions to ask, and Node.js's own server beside them; started by startServers(). */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';
import { ANSWER, SOURCE } from './hello.js';

export interface ServerUrls {
  /** A function that answers every request, each in a clone of its own. */
  hello: string;
  /** One that waits first. */
  park: string;
  /** One that is scaled to zero after a second. */
  cold: string;
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

const server = await startServer({ port: 0, dataDir });

async function deploy(name: string, source: object): Promise<string> {
  const response = await fetch(`${server.url}/v1/functions/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(source),
  });
  if (!response.ok) throw new Error(`deploying failed: ${await response.text()}`);
  return `${server.url}/fn/${name}`;
}

const plain = createServer((_request, response) => response.end(ANSWER));
await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));

const urls: ServerUrls = {
  hello: await deploy('hello', { source: SOURCE }),
  park: await deploy('park', { source: PARK_SOURCE }),
  cold: await deploy('cold', { source: SOURCE, idleSeconds: 1 }),
  plain: `http://127.0.0.1:${(plain.address() as AddressInfo).port}/`,
};
process.send?.(urls);
