/** The pool and its worker threads, with guests that are generators. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { CheckpointStore } from '../../src/checkpoint/index.js';
import { MachinePool } from '../../src/pool/machine-pool.js';
import type { Body, InvokeOptions } from '../../src/pool/types.js';
import { read, Upload } from './bodies.js';

const directory = mkdtempSync(join(tmpdir(), 'mayfly-pool-'));
const worker = new URL('./script-worker.js', import.meta.url);
const pools: MachinePool[] = [];
t.teardown(async () => {
  for (const pool of pools) await pool.close();
  rmSync(directory, { recursive: true });
});

async function poolOf(workers: number): Promise<MachinePool> {
  const pool = new MachinePool({ directory, workers, worker });
  pools.push(pool);
  const limits = { memoryBytes: 1 << 20, bootTimeoutMs: 1000 };
  await pool.deploy({ name: 'f', images: [], argv: ['/f'], env: {}, ...limits });
  return pool;
}

type Options = Partial<InvokeOptions>;

function call(pool: MachinePool, head: object, options: Options = {}, body: Body = NOTHING) {
  const place = { worker: 0, clone: clones++ };
  return pool.invoke('f', { head, body }, { timeoutMs: 20_000, place, ...options });
}

let clones = 0;
const NOTHING = new Uint8Array(0);

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: { code: string }) => error.code,
  );
/** How an invocation ended that was aborted. */
const aborted = (reason: object) => ({ code: 'MAYFLY_ABORTED', cause: reason, cloneKept: true });

const one = await poolOf(1);
const seen = async () => (await call(one, { command: 'seen' })).head as Record<string, number>;

t.test('an answer at hand: its head, its bytes, and when it was over', async (t) => {
  const body = Buffer.from('some bytes');
  const result = await call(one, { command: 'echo' }, {}, body);
  t.match(result.head, { got: 10 });
  t.same(Buffer.from(result.body as Uint8Array), body);
  t.match(await result.end, {
    cpuMicros: Number,
    cloneMicros: Number,
    queueMicros: Number,
    faults: 3,
  });
  const large = Buffer.alloc(3 << 20, 'x');
  t.ok((await read((await call(one, { command: 'echo' }, {}, large)).body)).equals(large));
});

t.test('guests that wait for time share a thread', async (t) => {
  await seen();
  const begun = performance.now();
  await Promise.all(Array.from({ length: 100 }, () => call(one, { command: 'sleep', ms: 1000 })));
  const ms = performance.now() - begun;
  t.ok(ms < 20_000, `100 times a second took ${ms} ms in one thread`);
  const { mostRunning, running } = await seen();
  t.ok((mostRunning as number) >= 100, 'all at once');
  t.equal(running, 1, 'only who asks');
});

t.test(
  'those that sleep shorter wake earlier, and are entered when their time has come',
  async (t) => {
    const order: number[] = [];
    const before = (await seen()).entries as number;
    const times = [300, 100, 200, 50];
    await Promise.all(
      times.map((ms) => call(one, { command: 'sleep', ms }).then(() => order.push(ms))),
    );
    t.same(order, [50, 100, 200, 300]);
    const entries = ((await seen()).entries as number) - before - 1;
    t.ok(entries <= 12, `${entries} entries for four guests that sleep once`);
  },
);

t.test('a guest that spins does not keep others from their turns', async (t) => {
  const spinning = call(one, { command: 'spin', ms: 1500 });
  let answered = 0;
  let spins = true;
  void spinning.then(() => {
    spins = false;
  });
  while (spins && answered < 5) {
    await call(one, { command: 'sleep', ms: 5 });
    answered++;
  }
  t.ok(spins, 'still at it');
  t.match((await spinning).head, { type: 'response' });
});

t.test('who waits is told, all at once, and that it goes on; who does not is not', async (t) => {
  const told = Array.from({ length: 200 }, () => [] as boolean[]);
  let parked = 0;
  let mostParked = 0;
  const sleeping = told.map((of) => {
    const onParked = (is: boolean) => {
      of.push(is);
      parked += is ? 1 : -1;
      mostParked = Math.max(mostParked, parked);
    };
    return call(one, { command: 'sleep', ms: 1500 }, { onParked });
  });
  await Promise.all(sleeping);
  t.equal(mostParked, 200);
  t.ok(
    told.every((of) => of.every((is, i) => is === (i % 2 === 0))),
    'in turns',
  );
  const onParked = () => t.fail('it never waited');
  await call(one, { command: 'spin', ms: 20 }, { onParked });
  await call(one, { command: 'echo' }, { onParked });
});

t.test('a reader that waits is told as the guest that it holds up', async (t) => {
  const told: boolean[] = [];
  const onParked = (is: boolean) => told.push(is);
  const head = { command: 'stream', count: 100, bytes: 65_536, ms: 0 };
  const { body, end } = await call(one, head, { onParked });
  await wait(200);
  t.equal(told.at(-1), true);
  await read(body);
  await end;
  t.ok(told.includes(false));
});

t.test('limits: wall and processor time are told apart', async (t) => {
  const sleep = call(one, { command: 'sleep', ms: 60_000 }, { timeoutMs: 100, cpuMs: 50 });
  t.equal(await codeOf(sleep), 'MAYFLY_GUEST_TIMEOUT');
  const spin = call(one, { command: 'spin', ms: 60_000 }, { timeoutMs: 60_000, cpuMs: 50 });
  t.equal(await codeOf(spin), 'MAYFLY_GUEST_CPU');
  const both = call(one, { command: 'spin', ms: 60_000 }, { timeoutMs: 50, cpuMs: 60_000 });
  t.equal(await codeOf(both), 'MAYFLY_GUEST_TIMEOUT');
  t.match(await (await call(one, { command: 'spin', ms: 30 })).end, { cpuMicros: Number });
  for (const [ending, kept] of [
    [sleep, true],
    [spin, true],
    [call(one, { command: 'exit' }), false],
    [call(one, { command: 'chunk' }), false],
  ] as const) {
    t.equal(await ending.catch((error) => error.cloneKept), kept);
  }
  const { stats } = await spin.catch((error) => error);
  t.ok(stats.cpuMicros >= 50_000, 'what it used is told as well');
  t.match(stats, { faults: 3, queueMicros: Number, guestMicros: Number });
});

t.test('an answer that streams, piece by piece', async (t) => {
  const head = { command: 'stream', count: 5, bytes: 10, ms: 20 };
  const { body, end } = await call(one, head);
  t.notOk(body instanceof Uint8Array);
  t.equal((await read(body)).length, 50);
  t.match(await end, { guestMicros: Number });
  const quick = await call(one, { ...head, ms: 0 });
  t.ok(quick.body instanceof Uint8Array, 'what is there within a turn comes whole');
});

t.test('a slow reader holds the guest up', async (t) => {
  const { body, end } = await call(one, { command: 'stream', count: 1000, bytes: 65_536, ms: 0 });
  const iterator = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  let bytes = (await iterator.next()).value.byteLength;
  await wait(100);
  const before = (await seen()).entries as number;
  await wait(200);
  t.ok(((await seen()).entries as number) - before <= 3, 'it is not entered while it waits');
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    bytes += next.value.byteLength;
  }
  t.equal(bytes, 1000 * 65_536);
  await end;
});

t.test('a request that streams comes back as it was, however slow the guest', async (t) => {
  const upload = new Upload();
  const { body } = await call(one, { command: 'upload', ms: 0 }, {}, upload.pieces());
  t.ok((await read(body)).equals(upload.bytes));
  upload.pulled = 0;
  const slow = await call(one, { command: 'upload', ms: 40 }, {}, upload.pieces());
  await wait(200);
  t.ok(upload.pulled < 40, `${upload.pulled} of 84 pieces were asked for`);
  const left = slow.body as AsyncIterable<Uint8Array>;
  await left[Symbol.asyncIterator]().return?.();
  t.equal(await codeOf(slow.end), 'MAYFLY_ABORTED');
  await wait(50);
  t.equal((await seen()).running, 1);
});

t.test('a request that breaks off ends the invocation with its error', async (t) => {
  const broken = async function* () {
    yield Buffer.from('begun');
    await wait(50);
    throw Object.assign(new Error('broken'), { code: 'BROKEN' });
  };
  const { body, end } = await call(one, { command: 'upload' }, {}, broken());
  t.equal(await codeOf(read(body)), 'BROKEN');
  await t.rejects(end, aborted({ code: 'BROKEN' }));
  const sleeping = call(one, { command: 'sleep', ms: 60_000 }, {}, broken());
  await t.rejects(sleeping, aborted({ code: 'BROKEN' }), 'before there is an answer');
  await wait(50);
  t.equal((await seen()).running, 1);
});

t.test('work behind the answer', async (t) => {
  const told: unknown[] = [];
  const onLogs = (lines: unknown) => told.push(lines);
  const result = await call(one, { command: 'behind', ms: 100 }, { onLogs });
  t.equal(Buffer.from(result.body as Uint8Array).toString(), 'answer');
  t.same(told, []);
  const { guestMicros } = await result.end;
  t.ok(guestMicros > result.guestMicros + 50_000);
  t.same(told, [[{ text: 'behind' }]]);
});

t.test('lines that do not wait for the answer, and what the guest printed', async (t) => {
  const told: unknown[] = [];
  const onLogs = (lines: unknown) => told.push(lines);
  await call(one, { command: 'logs' }, { onLogs });
  t.match(told, [[{ text: 'early' }], [{ text: 'printed' }]]);
});

t.test('a guest that breaks the order of frames, fails or ends', async (t) => {
  t.equal(await codeOf(call(one, { command: 'chunk' })), 'MAYFLY_FRAME_UNEXPECTED');
  t.equal(await codeOf(call(one, { command: 'exit' })), 'MAYFLY_GUEST_EXITED');
  t.match((await call(one, { command: 'error' })).head, { code: 'FUNCTION_THREW' });
  const atOnce = await call(one, { command: 'error', count: 1 });
  t.match(atOnce.head, { code: 'FUNCTION_THREW' }, 'nobody has seen the head of the answer');
  t.equal((await read(atOnce.body)).length, 0);
  for (const [command, code] of [
    ['error', 'MAYFLY_ANSWER_BROKEN'],
    ['exit', 'MAYFLY_GUEST_EXITED'],
  ] as const) {
    const { body, end } = await call(one, { command, count: 1, ms: 20 });
    const iterator = (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    t.equal(Buffer.from((await iterator.next()).value).toString(), 'begun');
    t.equal(await codeOf(iterator.next()), code, command);
    t.equal(await codeOf(end), code);
    if (command === 'error') t.match(await end.catch((e) => e.cause), { code: 'FUNCTION_THREW' });
  }
  t.equal((await seen()).running, 1);
});

t.test('a caller that leaves: the guest is stopped where it is, and its clone kept', async (t) => {
  const replaced = async () => (await (await call(one, { command: 'echo' })).end).replaced;
  const before = await replaced();
  for (const command of ['sleep', 'spin']) {
    const signal = AbortSignal.timeout(50);
    const gone = call(one, { command, ms: 60_000 }, { signal });
    await t.rejects(gone, aborted({ name: 'TimeoutError' }), command);
  }
  const controller = new AbortController();
  const head = { command: 'stream', count: 1000, bytes: 10, ms: 10 };
  const { body, end } = await call(one, head, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error('enough')), 50);
  await t.rejects(read(body), { message: 'enough' });
  await t.rejects(end, aborted({ message: 'enough' }));
  t.equal((await seen()).running, 1);
  t.equal(await replaced(), before);
});

t.test('who leaves before a worker begins with it is not run', async (t) => {
  const pool = await poolOf(1);
  const spinning = call(pool, { command: 'spin', ms: 200 });
  await wait(50);
  const controller = new AbortController();
  const leaving = call(pool, { command: 'die' }, { signal: controller.signal });
  controller.abort(new Error('gone'));
  await t.rejects(leaving, aborted({ message: 'gone' }));
  t.match((await spinning).head, { type: 'response' });
  t.match((await call(pool, { command: 'echo' })).head, { type: 'response' });
});

t.test('a worker that dies: what ran is told, what waited runs elsewhere', async (t) => {
  const pool = await poolOf(1);
  const streaming = await call(pool, { command: 'stream', count: 1000, bytes: 10, ms: 10 });
  const sleeping = call(pool, { command: 'sleep', ms: 60_000 });
  const running = codeOf(sleeping);
  const dying = codeOf(call(pool, { command: 'die', busyMs: 100 }));
  await wait(50);
  const waiting = Array.from({ length: 4 }, () => call(pool, { command: 'echo' }));
  t.equal(await dying, 'MAYFLY_WORKER_GONE');
  t.equal(await running, 'MAYFLY_WORKER_GONE');
  t.equal(await codeOf(read(streaming.body)), 'MAYFLY_WORKER_GONE');
  t.equal(await codeOf(streaming.end), 'MAYFLY_WORKER_GONE');
  for (const one of waiting) t.match((await one).head, { type: 'response' });
  t.equal(
    await codeOf(call(pool, { command: 'die', count: 1, ms: 50 }).then(({ end }) => end)),
    'MAYFLY_WORKER_GONE',
  );
  t.match((await call(pool, { command: 'echo' })).head, { type: 'response' });
});

t.test('a worker that dies right after the head of an answer, and who is told of it', async (t) => {
  const pool = await poolOf(2);
  const lost: number[] = [];
  pool.onWorkerLost((worker) => lost.push(worker));
  for (let i = 0; i < 10; i++) {
    const place = { worker: 1, clone: i };
    const dying = call(pool, { command: 'die', count: 1 }, { place });
    const { end, body } = await dying;
    t.equal(await codeOf(end), 'MAYFLY_WORKER_GONE');
    t.equal(await codeOf(read(body)), 'MAYFLY_WORKER_GONE');
  }
  t.same(lost, new Array(10).fill(1));
  await pool.close();
  t.equal(lost.length, 10, 'nothing is lost by an end that was wanted');
});

t.test('who waits for nothing but an invocation whose worker dies is told of it', async (t) => {
  const program = fileURLToPath(new URL('./dying-workers.js', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [program, directory, '30']);
  t.equal(status, 0);
  t.equal(String(stdout), 'MAYFLY_WORKER_GONE\n'.repeat(30));
});

t.test('a template that was removed', async (t) => {
  const pool = await poolOf(2);
  await pool.remove('f');
  await pool.remove('f');
  t.equal(await codeOf(call(pool, { command: 'echo' })), 'MAYFLY_TEMPLATE_UNKNOWN');
});

t.test('the working set is beside the checkpoint for the next pool', async (t) => {
  const checkpoints = join(directory, 'store');
  const spec = {
    ...{ name: 'f', images: [], argv: ['/f'], env: {}, memoryBytes: 32 << 20 },
    ...{ bootTimeoutMs: 1000, stored: { group: 'f', version: '1' } },
  };
  const store = await CheckpointStore.open(checkpoints);
  const kept = async () => {
    const [manifest] = await store.list();
    return manifest && store.workingSet(manifest);
  };
  for (const workingSet of [[], [1, 2, 5, 1]]) {
    const pool = new MachinePool({ directory, checkpoints, workers: 1, worker });
    await pool.deploy(spec);
    const { head, end } = await call(pool, { command: 'seen' });
    t.same((head as { workingSet: number[] }).workingSet, workingSet);
    await end;
    // The worker's message comes after the invocation's end.
    for (let i = 0; i < 500 && (await kept()) === undefined; i++) await wait(10);
    await pool.close();
  }
});
