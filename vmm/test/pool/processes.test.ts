/** Pools in processes of their own: what crosses, what a process that dies takes with it, and what it does not. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { MachineProcesses } from '../../src/pool/machine-processes.js';
import type { Body, InvokeOptions } from '../../src/pool/types.js';
import { read, Upload } from './bodies.js';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-processes-'));
const worker = new URL('./script-worker.js', import.meta.url);
const pools: MachineProcesses[] = [];
t.teardown(async () => {
  for (const pool of pools) await pool.close();
  rmSync(directory, { recursive: true });
});

async function poolOf(processes: number): Promise<MachineProcesses> {
  const pool = new MachineProcesses({ directory, processes, workers: 1, worker });
  pools.push(pool);
  const limits = { memoryBytes: 1 << 20, bootTimeoutMs: 1000 };
  await pool.deploy({ name: 'f', images: [], argv: ['/f'], env: {}, ...limits });
  return pool;
}

type Options = Partial<InvokeOptions>;

let clones = 0;
const NOTHING = new Uint8Array(0);

function call(
  pool: MachineProcesses,
  process: number,
  head: object,
  options: Options = {},
  body: Body = NOTHING,
) {
  const place = { worker: process, clone: clones++ };
  return pool.invoke('f', { head, body }, { timeoutMs: 60_000, place, ...options });
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: { code: string }) => error.code,
  );
const kill = (pool: MachineProcesses, at: number) => process.kill(pool.pids[at]!, 'SIGSEGV');
const GONE = 'MAYFLY_WORKER_GONE';

const two = await poolOf(2);
const seen = async (at: number) => (await call(two, at, { command: 'seen' })).head;

t.test('answers of both, whole', async (t) => {
  t.equal(two.workers, 2);
  for (const at of [0, 1]) {
    const body = Buffer.from('some bytes');
    const result = await call(two, at, { command: 'echo' }, {}, body);
    t.match(result.head, { got: 10 });
    t.same(Buffer.from(result.body as Uint8Array), body);
    t.match(await result.end, { cpuMicros: Number, cloneMicros: Number, queueMicros: Number });
    const large = Buffer.alloc(5 << 20, 'x');
    t.ok((await read((await call(two, at, { command: 'echo' }, {}, large)).body)).equals(large));
  }
});

t.test('the way to another process is part of the wait', async (t) => {
  const [pid] = two.pids;
  process.kill(pid!, 'SIGSTOP');
  const asked = call(two, 0, { command: 'echo' });
  await new Promise((resolve) => setTimeout(resolve, 100));
  process.kill(pid!, 'SIGCONT');
  const { queueMicros } = await asked;
  t.ok(queueMicros >= 90_000 && queueMicros < 60e6, `${queueMicros} µs`);
});

t.test('a failure in another process tells what it took', async (t) => {
  const spin = call(two, 0, { command: 'spin', ms: 60_000 }, { cpuMs: 50 });
  await t.rejects(spin, { code: 'MAYFLY_GUEST_CPU', stats: { faults: 3, cpuMicros: Number } });
});

t.test('many at once', async (t) => {
  const parked = new Set<number>();
  let mostParked = 0;
  const sleeping = Array.from({ length: 200 }, (_, i) => {
    const onParked = (is: boolean) => {
      if (is) parked.add(i);
      else parked.delete(i);
      mostParked = Math.max(mostParked, parked.size);
    };
    return call(two, i % 2, { command: 'sleep', ms: 1500 }, { onParked });
  });
  for (const one of sleeping) t.match((await one).head, { type: 'response' });
  t.ok(mostParked > 100, `${mostParked} were told to be parked`);
});

t.test('an answer that streams, and a slow reader', async (t) => {
  const quick = await call(two, 1, { command: 'stream', count: 5, bytes: 10, ms: 20 });
  t.equal((await read(quick.body)).length, 50);
  t.match(await quick.end, { guestMicros: Number });
  const head = { command: 'stream', count: 1000, bytes: 65_536, ms: 0 };
  const { body, end } = await call(two, 0, head);
  const iterator = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  let bytes = (await iterator.next()).value.byteLength;
  await wait(200);
  const before = (await seen(0)) as { entries: number };
  await wait(200);
  const after = (await seen(0)) as { entries: number };
  t.ok(after.entries - before.entries <= 3, 'it is not entered while it waits');
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    bytes += next.value.byteLength;
  }
  t.equal(bytes, 1000 * 65_536);
  await end;
});

t.test('a request that streams, comes slowly, or breaks off', async (t) => {
  const upload = new Upload();
  const { body } = await call(two, 0, { command: 'upload', ms: 0 }, {}, upload.pieces());
  t.ok((await read(body)).equals(upload.bytes));
  upload.pulled = 0;
  const slow = await call(two, 1, { command: 'upload', ms: 40 }, {}, upload.pieces());
  await wait(200);
  t.ok(upload.pulled < 84, `${upload.pulled} of 84 pieces were asked for`);
  await (slow.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]().return?.();
  await t.rejects(slow.end, { code: 'MAYFLY_ABORTED', cloneKept: true });
  const broken = async function* () {
    yield Buffer.from('begun');
    await wait(50);
    throw Object.assign(new Error('broken'), { code: 'BROKEN' });
  };
  const breaking = await call(two, 0, { command: 'upload' }, {}, broken());
  t.equal(await codeOf(read(breaking.body)), 'BROKEN');
  const reason = { code: 'MAYFLY_ABORTED', cause: { code: 'BROKEN' }, cloneKept: true };
  await t.rejects(breaking.end, reason);
  const sleeping = call(two, 0, { command: 'sleep', ms: 60_000 }, {}, broken());
  await t.rejects(sleeping, reason, 'before there is an answer');
  for (const at of [0, 1]) t.match(await seen(at), { running: 1 });
});

t.test('lines, and work behind the answer', async (t) => {
  const told: unknown[] = [];
  const onLogs = (lines: unknown) => told.push(lines);
  await call(two, 0, { command: 'logs' }, { onLogs });
  t.match(told.splice(0), [[{ text: 'early' }], [{ text: 'printed' }]]);
  const result = await call(two, 1, { command: 'behind', ms: 100 }, { onLogs });
  t.equal(Buffer.from(result.body as Uint8Array).toString(), 'answer');
  t.same(told, []);
  await result.end;
  t.same(told, [[{ text: 'behind' }]]);
  const refuse = () => {
    throw Object.assign(new Error('no'), { code: 'REFUSED' });
  };
  const refused = call(two, 0, { command: 'logs' }, { onLogs: refuse });
  await t.rejects(refused, { code: 'MAYFLY_ABORTED', cause: { code: 'REFUSED' } });
});

t.test('failures come with their codes, and with what became of the clone', async (t) => {
  const late = call(two, 0, { command: 'sleep', ms: 60_000 }, { timeoutMs: 50 });
  await t.rejects(late, { code: 'MAYFLY_GUEST_TIMEOUT', cloneKept: true });
  t.equal(await codeOf(call(two, 0, { command: 'exit' })), 'MAYFLY_GUEST_EXITED');
  const { body, end } = await call(two, 1, { command: 'error', count: 1, ms: 20 });
  t.equal(await codeOf(read(body)), 'MAYFLY_ANSWER_BROKEN');
  t.match(await end.catch((error) => error.cause), { code: 'FUNCTION_THREW' });
  const place = { worker: 0, clone: 1 };
  const unknown = two.invoke('g', { head: {}, body: NOTHING }, { place, timeoutMs: 1 });
  t.equal(await codeOf(unknown), 'MAYFLY_TEMPLATE_UNKNOWN');
});

t.test('callers that leave', async (t) => {
  for (const command of ['sleep', 'spin']) {
    const signal = AbortSignal.timeout(50);
    const cause = { name: 'TimeoutError' };
    const gone = call(two, 1, { command, ms: 60_000 }, { signal });
    await t.rejects(gone, { code: 'MAYFLY_ABORTED', cause, cloneKept: true }, command);
  }
  const controller = new AbortController();
  const head = { command: 'stream', count: 1000, bytes: 10, ms: 10 };
  const { body, end } = await call(two, 1, head, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await t.rejects(read(body), { message: 'enough' });
  await t.rejects(end, { code: 'MAYFLY_ABORTED', cause: { message: 'enough' } });
  t.match(await seen(1), { running: 1 });
});

t.test('a process that dies: what it had begun is told, the rest runs elsewhere', async (t) => {
  const pool = await poolOf(2);
  const lost: number[] = [];
  pool.onWorkerLost((one) => lost.push(one));
  await call(pool, 1, { command: 'echo' });
  const other = call(pool, 1, { command: 'sleep', ms: 1000 });
  const streaming = await call(pool, 0, { command: 'stream', count: 1000, bytes: 10, ms: 10 });
  const begun = [
    call(pool, 0, { command: 'sleep', ms: 60_000 }),
    call(pool, 0, { command: 'spin', ms: 60_000 }),
  ];
  // It has its worker for itself: what comes then does not begin.
  let blocking: Promise<unknown> | undefined;
  await new Promise<void>((resolve) => {
    const head = { command: 'die', busyMs: 600_000 };
    blocking = call(pool, 0, head, { timeoutMs: 600_000, onLogs: () => resolve() });
  });
  const upload = async function* () {
    yield Buffer.from('once');
  };
  const waiting = [
    call(pool, 0, { command: 'echo' }, {}, Buffer.from('again')),
    call(pool, 0, { command: 'upload' }, {}, upload()),
  ];
  const [, pid] = pool.pids;
  kill(pool, 0);
  for (const one of [...begun, blocking!]) t.equal(await codeOf(one), GONE);
  t.equal(await codeOf(read(streaming.body)), GONE);
  t.equal(await codeOf(streaming.end), GONE);
  const bodies = await Promise.all(waiting.map(async (one) => `${await read((await one).body)}`));
  t.same(bodies, ['again', 'once']);
  t.same(lost, [0]);
  t.match((await other).head, { type: 'response' }, 'the other process noticed nothing');
  t.equal(pool.pids[1], pid);
});

t.test('a worker thread that dies is replaced in its process', async (t) => {
  const pool = await poolOf(2);
  const lost: number[] = [];
  pool.onWorkerLost((one) => lost.push(one));
  const pids = pool.pids;
  t.equal(await codeOf(call(pool, 1, { command: 'die' })), GONE);
  t.match((await call(pool, 1, { command: 'echo' })).head, { type: 'response' });
  t.same(lost, [1]);
  t.same(pool.pids, pids);
});

t.test('templates go, and the end', async (t) => {
  const pool = await poolOf(2);
  const at = { worker: 1, clone: 7 };
  await pool.start('f', at);
  await pool.stop('f', at);
  await pool.unload('f');
  await pool.prune('g', []);
  await pool.remove('f');
  await pool.remove('f');
  t.equal(await codeOf(call(pool, 0, { command: 'echo' })), 'MAYFLY_TEMPLATE_UNKNOWN');
  const pids = pool.pids as number[];
  await pool.close();
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  t.throws(() => new MachineProcesses({ directory, processes: 0 }), {
    code: 'MAYFLY_BAD_ARGUMENT',
  });
});
