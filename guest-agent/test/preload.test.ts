/** Servers in Node.js that know nothing of clones get seeds of their own with each request. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { nodePreloadPath } from '../src/index.js';
import { folderWith } from './agent-process.js';

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

t.test('random bytes kept in advance are filled anew, what is drawn for use stays', async (t) => {
  const folder = folderWith(t, {
    'server.cjs': `
      const crypto = require('node:crypto');
      const room = Buffer.alloc(1000);
      const drawn = {
        filled: crypto.randomFillSync(room.subarray(100, 300)),
        web: globalThis.crypto.getRandomValues(new Uint32Array(64)),
        part: crypto.randomFillSync(new Uint8Array(300), 100, 200),
        made: crypto.randomBytes(4096),
        key: crypto.randomBytes(64),
        salt: crypto.randomFillSync(Buffer.alloc(32)),
      };
      for (let i = 0; i < 40; i++) crypto.randomFillSync(drawn.filled); // one store, however often it is filled
      const text = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('hex');
      const all = () => Object.fromEntries(Object.entries(drawn).map(([name, view]) => [name, text(view)]));
      const before = all();
      const server = require('node:http').createServer((_, response) => {
        const now = all();
        const changed = Object.keys(now).filter((name) => now[name] !== before[name]);
        const around = [...room.subarray(0, 100), ...room.subarray(300), ...drawn.part.subarray(0, 100)];
        response.end(JSON.stringify([changed, around.every((byte) => byte === 0), crypto.randomFillSync.name, crypto.randomBytes.length]));
      });
      server.listen(0, '127.0.0.1', () => console.log(server.address().port));`,
  });
  const args = ['--require', nodePreloadPath, join(folder, 'server.cjs')];
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => server.kill());
  const [line] = await once(server.stdout, 'data');
  const answer = await fetch(`http://127.0.0.1:${String(line).trim()}/`);
  t.same(await answer.json(), [['filled', 'web', 'part', 'made'], true, 'randomFillSync', 2]);
});
