/** Clones that go out: what they may, what is counted, and that their connections end with the invocation. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ImageStore, treeFromPrograms } from '@mayfly/image';
import t from 'tap';
import { MachinePool } from '../../src/pool/machine-pool.js';
import { compile } from '../machine/guest.js';

const scratch = mkdtempSync('/var/tmp/mayfly-pool-network-');
const program = compile(
  fileURLToPath(new URL('../../../test/network/agent.c', import.meta.url)),
  'network-agent',
);
let open = 0;
let ever = 0;
const server = createServer((socket) => {
  open++;
  ever++;
  socket.on('error', () => {});
  socket.on('close', () => open--);
  socket.pipe(socket);
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
const pool = new MachinePool({ directory: scratch, workers: 1 });
t.teardown(async () => {
  await pool.close();
  server.close();
  rmSync(scratch, { recursive: true, force: true });
});

async function closed(): Promise<void> {
  for (let i = 0; i < 1000 && open > 0; i++) await sleep(10);
  if (open > 0) throw new Error(`${open} connections are open`);
}

t.test('connections belong to one invocation', async (t) => {
  const store = await ImageStore.open(join(scratch, 'images'));
  const image = await store.build(await treeFromPrograms([{ path: program }]));
  await pool.deploy({
    name: 'out',
    images: [image.path],
    argv: [program],
    env: { PORT: `${port}` },
    network: [`host.mayfly:${port}`],
    memoryBytes: 64 << 20,
    bootTimeoutMs: 60_000,
  });
  await closed();
  for (let i = 0; i < 3; i++) {
    const lines: unknown[] = [];
    const { head, end } = await pool.invoke(
      'out',
      { head: {}, body: new Uint8Array(0) },
      {
        place: { worker: 0, clone: 1 },
        timeoutMs: 60_000,
        onLogs: (logs) => lines.push(...(logs as unknown[])),
      },
    );
    t.same(head, { type: 'result', old: 104, error: 0, denied: 13, byte: 'x' });
    t.match((await end).network, {
      connections: 1,
      failed: 0,
      denied: 1,
      bytesSent: 1,
      bytesReceived: 1,
    });
    t.match(lines, [{ level: 'warn', text: /network\.allow host\.mayfly:1 would allow it/ }]);
    await closed();
  }
  t.equal(ever, 4);
});
