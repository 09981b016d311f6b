/** SIGTERM to a process that serves: what runs has its time, health is told meanwhile, a second signal ends at once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const SERVER = fileURLToPath(new URL('support/drain-server.js', import.meta.url));

async function start(t: { teardown(end: () => void): void }, drainMs: number) {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-drain-'));
  const child = spawn(process.execPath, [SERVER, dataDir, String(drainMs)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => {
    child.kill('SIGKILL');
    rmSync(dataDir, { recursive: true, force: true });
  });
  const exit = once(child, 'exit');
  const url = String((await once(child.stdout, 'data'))[0]).trim();
  await fetch(`${url}/v1/functions/f`, { method: 'PUT', body: 'x' });
  const answer = fetch(`${url}/fn/f`).then(
    async (response) => ({ status: response.status, ...((await response.json()) as object) }),
    () => undefined,
  );
  const health = async () =>
    (await fetch(`${url}/healthz`)).json() as Promise<{ inFlight: number }>;
  while ((await health()).inFlight === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const signal = async () => {
    child.kill('SIGTERM');
    await once(child.stderr, 'data'); // it says that it closes
  };
  return { child, url, exit, answer, signal };
}

t.test('what runs has its time, then it is answered and the process ends', async (t) => {
  const { url, exit, answer, signal } = await start(t, 1500);
  await signal();
  t.equal((await fetch(`${url}/readyz`)).status, 503);
  t.equal((await fetch(`${url}/healthz`)).status, 200);
  t.match(await answer, { status: 503, code: 'MAYFLY_SERVER_CLOSING' });
  t.same(await exit, [0, null]);
});

t.test('a second signal ends it at once', async (t) => {
  const { child, exit, answer, signal } = await start(t, 600_000);
  await signal();
  child.kill('SIGTERM');
  t.same(await exit, [null, 'SIGTERM']);
  t.equal(await answer, undefined);
});
