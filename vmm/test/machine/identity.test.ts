import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { freshPid } from '../../src/machine/identity.js';

const identity = new URL('../../src/machine/identity.js', import.meta.url).href;
const COUNT = 20_000;

t.test('no two threads give the same process id', async (t) => {
  const draw = `
    const { parentPort } = require('node:worker_threads');
    import(${JSON.stringify(identity)}).then(({ freshPid }) =>
      parentPort.postMessage(Array.from({ length: ${COUNT} }, () => freshPid())));`;
  const threads = [1, 2, 3].map(() => once(new Worker(draw, { eval: true }), 'message'));
  const own = Array.from({ length: COUNT }, () => freshPid());
  const drawn = (await Promise.all(threads)).flatMap(([pids]) => pids as number[]);
  const all = [...own, ...drawn];
  t.equal(new Set(all).size, 4 * COUNT);
  t.ok(all.every((pid) => Number.isInteger(pid) && pid >= 300 && pid < 4_194_304));
});

t.test('never the one that is taken', (t) => {
  const next = freshPid();
  const step = (freshPid() - next + 4_000_000) % 4_000_000;
  const coming = 300 + ((next - 300 + 2 * step) % 4_000_000);
  t.not(freshPid(coming), coming);
  t.end();
});
