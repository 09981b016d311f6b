/** Servers in Node.js that know nothing of clones get seeds of their own with each request. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { nodePreloadPath } from '../src/index.js';
import { folderWith } from './agent-process.js';

t.setTimeout(60_000);

t.test('a request is seen after seeds and hooks', async (t) => {
  const folder = folderWith(t, {
    'server.cjs': `
      const early = Math.random;
      let hooked = 0;
      mayfly.afterClone(async () => { await 1; hooked++; });
      const server = require('node:http').createServer((_, response) =>
        response.end(JSON.stringify([early(), hooked, String(early).includes('native code')])));
      server.listen(0, '127.0.0.1', () => console.log(server.address().port));`,
  });
  const server = spawn(
    process.execPath,
    ['--require', nodePreloadPath, join(folder, 'server.cjs')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.teardown(() => server.kill());
  const [line] = await once(server.stdout, 'data');
  const ask = async () =>
    (await fetch(`http://127.0.0.1:${String(line).trim()}/`)).json() as Promise<
      [number, number, boolean]
    >;
  const [first, second] = [await ask(), await ask()];
  t.not(first[0], second[0]);
  t.same(
    [first.slice(1), second.slice(1)],
    [
      [1, false],
      [2, false],
    ],
  );
});
