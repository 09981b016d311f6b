/** The scheduler over worker threads, whose guests are generators: many calls at once, of functions that differ. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MachinePool, MachineProcesses } from '@mayfly/vmm';
import t from 'tap';
import { defaultLimits, ScheduledPool, type SharedLimits } from '../src/scheduler/index.js';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-scheduled-'));
const worker = new URL(import.meta.resolve('@mayfly/vmm/script-worker'));
t.teardown(() => rmSync(directory, { recursive: true }));

async function make(
  limits: Partial<SharedLimits> = {},
  machines: MachinePool | MachineProcesses = new MachinePool({ directory, workers: 1, worker }),
): Promise<ScheduledPool> {
  const pool = new ScheduledPool(machines, { ...defaultLimits(), memoryBytes: 1e12, ...limits });
  for (const name of ['waiter', 'flood']) {
    const spec = { name, images: [], argv: ['/f'], env: {}, memoryBytes: 1, bootTimeoutMs: 1000 };
    await pool.deploy({ ...spec, scheduling: { timeoutMs: 60_000 } });
  }
  return pool;
}

const NOTHING = new Uint8Array(0);
const call = (pool: ScheduledPool, name: string, head: object) =>
  pool.invoke(name, { head, body: NOTHING });

t.test('calls that wait 50 ms go on while another function computes', async (t) => {
  const pool = await make();
  let flooding = 0;
  const flood = Array.from({ length: 40 }, async () => {
    flooding++;
    await call(pool, 'flood', { command: 'spin', ms: 100 });
    flooding--;
  });
  const sleeping = Array.from({ length: 20 }, () =>
    call(pool, 'waiter', { command: 'sleep', ms: 50 }),
  );
  await Promise.all(sleeping);
  t.ok(flooding > 20, `${flooding} of 40 calls of the flood were still to be answered`);
  await Promise.all(flood);
  await pool.close();
});

t.test(
  'a worker that dies: its clones are forgotten, what had not begun runs elsewhere',
  async (t) => {
    const pool = await make();
    const codes = ['sleep', 'sleep', 'die', 'echo', 'echo'].map((command) => {
      // The last two are on their way to the worker while it blocks.
      const answer = call(pool, 'waiter', { command, ms: 60_000, busyMs: 200 });
      return answer.then(
        () => 'answered',
        (error: { code: string }) => error.code,
      );
    });
    const gone = 'MAYFLY_WORKER_GONE';
    t.same(await Promise.all(codes), [gone, gone, gone, 'answered', 'answered']);
    await new Promise(setImmediate);
    const { clones, running, parked, waiting } = pool.load('waiter')!;
    t.same({ running, parked, waiting }, { running: 0, parked: 0, waiting: 0 });
    t.ok(clones <= 2, `${clones} clones are counted, two of which can be there`);
    t.match(pool.load('flood'), { clones: 0 }, 'the idle one of another function is forgotten');
    await call(pool, 'flood', { command: 'echo' });
    t.match(pool.load('flood'), { clones: 1, coldStarts: 1 });
    await pool.close();
  },
);

t.test('a process that crashes: what it had begun is told, and nothing else', async (t) => {
  const machines = new MachineProcesses({ directory, processes: 2, workers: 1, worker });
  const pool = await make({}, machines);
  const sleeping = Array.from({ length: 8 }, async () => {
    try {
      return (await call(pool, 'waiter', { command: 'sleep', ms: 2000 })).head as { type: string };
    } catch (error) {
      return { type: (error as { code: string }).code };
    }
  });
  while (pool.load('waiter')!.parked < 8) await new Promise((resolve) => setTimeout(resolve, 10));
  process.kill(machines.pids[0]!, 'SIGSEGV');
  const ends = (await Promise.all(sleeping)).map(({ type }) => type).sort();
  t.same(ends, [...new Array(4).fill('MAYFLY_WORKER_GONE'), ...new Array(4).fill('response')]);
  const more = Array.from({ length: 8 }, () => call(pool, 'waiter', { command: 'echo' }));
  for (const one of more) t.match((await one).head, { type: 'response' });
  await new Promise(setImmediate);
  t.match(pool.load('waiter'), { running: 0, parked: 0, waiting: 0 });
  await pool.close();
});

t.test('callers that leave do not cost clones', async (t) => {
  const pool = await make();
  const reason = new Error('gone');
  for (const command of ['sleep', 'spin']) {
    for (let i = 0; i < 5; i++) {
      const leaving = new AbortController();
      const frame = { head: { command, ms: 60_000 }, body: NOTHING };
      const call = pool.invoke('waiter', frame, { signal: leaving.signal });
      setTimeout(() => leaving.abort(reason), 30);
      await t.rejects(call, reason);
    }
  }
  t.match(pool.load('waiter'), { clones: 1, coldStarts: 0, running: 0, parked: 0 });
  await pool.close();
});

t.test('200 calls wait at once on a worker that is given a few at a time', async (t) => {
  const pool = await make({ runningPerWorker: 2 });
  const sleeping = Array.from({ length: 200 }, () =>
    call(pool, 'waiter', { command: 'sleep', ms: 3000 }),
  );
  let parked = 0;
  while (parked < 200 && pool.inFlight === 200) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    parked = Math.max(parked, pool.load('waiter')!.parked);
  }
  t.equal(parked, 200);
  await Promise.all(sleeping);
  await new Promise(setImmediate);
  t.match(pool.load('waiter'), { running: 0, parked: 0, waiting: 0 });
  await pool.close();
});
