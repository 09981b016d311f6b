/** The load generator against a server whose times are known. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { Target } from '../src/http-client.js';

async function start(t: { teardown(end: () => void): void }, stallAt: number, stallMs: number) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    if (requests === stallAt) {
      // All that comes meanwhile waits, too.
      const end = performance.now() + stallMs;
      while (performance.now() < end);
    }
    response.end('x');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const target = new Target(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, 4);
  t.teardown(async () => {
    await target.close();
    server.close();
  });
  return { target, requests: () => requests };
}

t.test('a batch and a closed loop time every request', async (t) => {
  const { target, requests } = await start(t, 0, 0);
  t.equal((await target.batch(5)).length, 5);
  const { throughput, times } = await target.load(4, 100);
  t.equal(times.length + 5, requests());
  t.ok(throughput > 0 && times.every((time) => time > 0));
});

t.test(
  'a steady load asks as often as it says, and a stall counts for all that it held up',
  async (t) => {
    const { target, requests } = await start(t, 10, 300);
    const times = await target.steady(200, 500);
    t.equal(times.length, 100);
    t.equal(requests(), 100);
    t.ok(times.filter((time) => time > 100_000).length >= 20);
  },
);
