/** Machines in pool processes: a crash of one takes down neither this process nor invocations of the other. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MachineProcesses } from '../../src/pool/machine-processes.js';
import type { InvokeOptions } from '../../src/pool/types.js';
import { agentSpec } from './agent-spec.js';

const scratch = mkdtempSync('/var/tmp/mayfly-processes-');
const spec = { ...(await agentSpec(scratch)), stored: { group: 'agent', version: '1' } };
const checkpoints = join(scratch, 'checkpoints');
const pool = new MachineProcesses({ directory: scratch, checkpoints, processes: 2, workers: 1 });
const lost: number[] = [];
pool.onWorkerLost((worker) => lost.push(worker));
t.teardown(async () => {
  await pool.close();
  rmSync(scratch, { recursive: true, force: true });
});

type Options = Partial<InvokeOptions>;

async function call(worker: number, command: string, clone = 0, more: Options = {}) {
  const frame = { head: { command }, body: new Uint8Array(0) };
  const options = { timeoutMs: 200_000, place: { worker, clone }, ...more };
  return (await pool.invoke('agent', frame, options)).head;
}

await t.test('a template of one process serves in both', async (t) => {
  const { readyHead } = await pool.deploy(spec);
  t.same(readyHead, { type: 'ready' });
  for (const worker of [0, 1]) {
    for (let life = 0; life < 3; life++) {
      t.match(await call(worker, 'stain'), { counter: 1, stained: false });
    }
  }
  t.equal(readdirSync(join(checkpoints, 'checkpoints')).length, 1, 'loaded, not made twice');
});

await t.test('a process that crashes', async (t) => {
  const [crashing, other] = pool.pids;
  const begun = [call(0, 'spin', 10)];
  await new Promise<void>((resolve) => {
    begun.push(call(0, 'wait', 11, { onParked: () => resolve() }));
  });
  const waiting = call(1, 'nap', 10);
  process.kill(crashing!, 'SIGSEGV');
  for (const one of begun) await t.rejects(one, { code: 'MAYFLY_WORKER_GONE' });
  t.same(lost, [0]);
  t.match(await call(0, 'none'), { counter: 1, stained: false }, 'it is replaced');
  t.not(pool.pids[0], crashing);
  t.match(await waiting, { counter: 1 });
  t.equal(pool.pids[1], other, 'the other one noticed nothing');
});
