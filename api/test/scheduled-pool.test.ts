/** Effects that reach a pool: what runs, what is refused and with what, what is let go of. */
import type { InvokeFrame, InvokeOptions, InvokeResult, Place, Pool } from '@mayfly/vmm';
import t from 'tap';
import { ScheduledPool, type SharedLimits } from '../src/scheduler/index.js';

interface Call extends InvokeOptions {
  answer(): void;
  fail(): void;
}

class FakePool implements Pool {
  readonly workers = 1;
  readonly calls: Call[] = [];
  readonly log: string[] = [];

  async deploy() {
    return { bootMicros: 1, readyHead: {} };
  }

  invoke(_name: string, frame: InvokeFrame, options: InvokeOptions): Promise<InvokeResult> {
    return new Promise((resolve, reject) => {
      const times = {
        guestMicros: 1000,
        queueMicros: 5,
        cloneMicros: 1,
        cpuMicros: 900,
        rewoundPages: 3,
      };
      const end = Promise.resolve(times);
      const answer = () => resolve({ head: frame.head, body: frame.body, ...times, end });
      const fail = () => reject(new Error('the guest failed'));
      options.signal?.addEventListener('abort', () => reject(options.signal?.reason));
      this.calls.push({ ...options, answer, fail });
    });
  }

  async start(name: string, { clone }: Place) {
    this.log.push(`start ${name} ${clone}`);
  }

  async stop(name: string, { clone }: Place) {
    this.log.push(`stop ${name} ${clone}`);
  }

  async unload(name: string) {
    this.log.push(`unload ${name}`);
  }

  async remove(name: string) {
    this.log.push(`remove ${name}`);
  }

  async prune(group: string) {
    this.log.push(`prune ${group}`);
  }

  async close() {
    this.log.push('close');
  }
}

const LIMITS: SharedLimits = { runningPerWorker: 1, memoryBytes: 1e9, waitingMax: 10 };
const FRAME = { head: { type: 'event' }, body: new Uint8Array(0) };
const later = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));

async function make(t: { teardown(end: () => unknown): void }, scheduling: object = {}) {
  const machines = new FakePool();
  const pool = new ScheduledPool(machines, LIMITS);
  t.teardown(() => {
    for (const call of machines.calls) call.answer();
    return pool.close();
  });
  const spec = { name: 'f', images: [], argv: [], env: {}, memoryBytes: 1, bootTimeoutMs: 1 };
  await pool.deploy({ ...spec, scheduling: { maxClones: 1, ...scheduling } });
  return { pool, machines };
}

t.test('invocations take turns in one clone, which is told ahead', async (t) => {
  const { pool, machines } = await make(t);
  t.same(machines.log, ['start f 1']);
  const both = [pool.invoke('f', FRAME), pool.invoke('f', FRAME)];
  t.equal(machines.calls.length, 1);
  t.equal(pool.inFlight, 2);
  machines.calls[0]!.answer();
  t.ok((await both[0]!).queueMicros >= 5);
  await later();
  t.equal(machines.calls.length, 2);
  t.same(machines.calls[1]!.place, { worker: 0, clone: 1 });
  machines.calls[1]!.answer();
  t.ok((await both[1]!).queueMicros > 5, 'the wait is part of the queue');
  await later();
  t.equal(pool.inFlight, 0);
});

t.test('a clone whose invocation failed is not used again', async (t) => {
  const { pool, machines } = await make(t);
  const failing = pool.invoke('f', FRAME);
  machines.calls[0]!.fail();
  await t.rejects(failing, { message: 'the guest failed' });
  pool.invoke('f', FRAME).catch(() => {});
  t.not(machines.calls[1]!.place.clone, machines.calls[0]!.place.clone);
});

t.test('refusals say why and when to come back', async (t) => {
  const { pool, machines } = await make(t, { queueMax: 1, timeoutMs: 50 });
  const running = pool.invoke('f', FRAME);
  const waiting = pool.invoke('f', FRAME);
  await t.rejects(pool.invoke('f', FRAME), { code: 'MAYFLY_OVERLOADED', retryAfterSeconds: 1 });
  await t.rejects(waiting, { code: 'MAYFLY_GUEST_TIMEOUT', message: /waited/ });
  t.ok(machines.calls[0]!.timeoutMs <= 50, 'the pool is told how much time is left');
  machines.calls[0]!.answer();
  await running;
  await t.rejects(async () => pool.invoke('g', FRAME), { code: 'MAYFLY_TEMPLATE_UNKNOWN' });
});

t.test('callers that go away leave the line, or end their clones', async (t) => {
  const { pool, machines } = await make(t);
  const gone = new AbortController();
  const reason = new Error('gone');
  const calls = [1, 2].map(() => pool.invoke('f', FRAME, { signal: gone.signal }));
  gone.abort(reason);
  for (const call of calls) await t.rejects(call, reason);
  t.equal(machines.calls.length, 1);
  t.equal(pool.inFlight, 0);
  await t.rejects(async () => pool.invoke('f', FRAME, { signal: gone.signal }), reason);
});

t.test('what nobody calls is stopped and let go of', async (t) => {
  const { machines } = await make(t, { idleMs: 20 });
  for (let i = 0; i < 500 && !machines.log.includes('unload f'); i++) await later(10);
  t.same(machines.log, ['start f 1', 'stop f 1', 'unload f']);
});

t.test('a template is removed when its last invocation is over', async (t) => {
  const { pool, machines } = await make(t);
  const running = pool.invoke('f', FRAME);
  const removed = pool.remove('f');
  await later();
  t.notOk(machines.log.includes('remove f'));
  machines.calls[0]!.answer();
  await running;
  await removed;
  t.same(machines.log, ['start f 1', 'stop f 1', 'remove f']);
  await pool.remove('f');
});

t.test('closing waits for everything that was admitted', async (t) => {
  const { pool, machines } = await make(t);
  const both = [pool.invoke('f', FRAME), pool.invoke('f', FRAME)];
  const closed = pool.close();
  await t.rejects(pool.invoke('f', FRAME), { code: 'MAYFLY_SERVER_CLOSING' });
  machines.calls[0]!.answer();
  await both[0];
  await later();
  t.notOk(machines.log.includes('close'));
  machines.calls[1]!.answer();
  await both[1];
  await closed;
  t.ok(machines.log.includes('close'));
});
