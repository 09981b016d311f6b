/** A disk without room, as a limit of the length of files: what does not fit is refused, and the server goes on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { spawnCommand } from './child-server.js';

const SERVER = fileURLToPath(new URL('crash-server.js', import.meta.url));
/** In blocks of 512 bytes, as POSIX counts them; Node.js ignores SIGXFSZ. */
const LIMITED = 'ulimit -f 4000; exec "$@"';

t.test('what does not fit on the disk is refused, and all else goes on', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'mayfly-full-'));
  t.teardown(async () => rmSync(dataDir, { recursive: true, force: true }));
  const command = [process.execPath, SERVER, dataDir, join(dataDir, 'begun')];
  const start = (life: string, script: string) =>
    spawnCommand(t, '/bin/sh', '-c', script, 'sh', ...command, life);
  const server = start('0', LIMITED);
  const url = await server.url;
  // biome-ignore lint/suspicious/noExplicitAny: the test looks into whatever comes back
  const json = async (path: string, init?: RequestInit): Promise<{ status: number; body: any }> => {
    const answer = await fetch(url + path, init);
    return { status: answer.status, body: await answer.json() };
  };
  const deploy = (n: number) => {
    const files = { 'server.js': `mark-${n} ${String(n).repeat(200_000)}` };
    const body = JSON.stringify({ runtime: 'http', command: ['node', 'server.js'], files });
    const headers = { 'content-type': 'application/json' };
    return json('/v1/functions/f', { method: 'PUT', headers, body });
  };
  let last = 0;
  let refused: Awaited<ReturnType<typeof deploy>> | undefined;
  for (let n = 1; n <= 30 && !refused; n++) {
    const answer = await deploy(n);
    if (answer.status === 200) last = n;
    else refused = answer;
  }
  t.ok(last > 1, `${last} versions fit`);
  const unwritable = { status: 507, body: { code: 'MAYFLY_STORE_UNWRITABLE', hint: /room/ } };
  t.match(refused, unwritable);
  t.match((await json('/fn/f')).body, { mark: `mark-${last}` }, 'what served before goes on');
  const event = { method: 'POST', body: JSON.stringify('x'.repeat(1_000_000)) };
  t.match(await json('/v1/functions/f/invocations?async=true', event), unwritable);
  t.match(await json('/v1/functions/f'), { status: 200, body: { version: last } });
  await server.kill();

  const after = start('1', 'exec "$@"');
  const there = await after.url;
  const { version } = (await (await fetch(`${there}/v1/functions/f`)).json()) as {
    version: number;
  };
  t.equal(version, last, 'what was acknowledged is there');
  await after.kill();
});
