/** A process of its own for the servers, so that the client's work is not theirs. Tells its parent the URLs. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '@mayfly/api';

export interface ServerUrls {
  /** A function that answers every request, each in a clone of its own. */
  mayfly: string;
  /** Node.js's own HTTP server with the same answer and no isolation. */
  plain: string;
  /** The same function in a fresh Node.js process a request: isolation as people have it without a VMM. */
  process: string;
}

const ANSWER = 'hello\n';
const SOURCE = `export default { fetch: () => new Response(${JSON.stringify(ANSWER)}) };`;

const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-bench-'));
process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

const server = await startServer({ port: 0, dataDir });
const deployed = await fetch(`${server.url}/v1/functions/hello`, { method: 'PUT', body: SOURCE });
if (!deployed.ok) throw new Error(`deploying failed: ${await deployed.text()}`);

const plain = createServer((_request, response) => response.end(ANSWER));
await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));

const modulePath = join(dataDir, 'hello.mjs');
writeFileSync(modulePath, SOURCE);
const CALL = `import f from ${JSON.stringify(modulePath)};
const response = await f.fetch(new Request('http://localhost/'));
process.stdout.write(await response.text());`;
const perProcess = createServer((_request, response) => {
  execFile(process.execPath, ['--input-type=module', '-e', CALL], (error, stdout) => {
    response.statusCode = error === null ? 200 : 500;
    response.end(stdout);
  });
});
await new Promise<void>((resolve) => perProcess.listen(0, '127.0.0.1', resolve));

const local = (s: Server) => `http://127.0.0.1:${(s.address() as AddressInfo).port}/`;
const urls: ServerUrls = {
  mayfly: `${server.url}/fn/hello`,
  plain: local(plain),
  process: local(perProcess),
};
process.send?.(urls);
