/** A template of one pool is loaded, not booted, by the next. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MachinePool } from '../../src/pool/machine-pool.js';
import { agentSpec } from '../machine/agent-spec.js';

const scratch = mkdtempSync('/var/tmp/mayfly-pool-');
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

const spec = { ...(await agentSpec(scratch)), stored: { group: 'agent', version: '1' } };
/** Nothing boots in that time. */
const unbootable = { ...spec, bootTimeoutMs: 1 };

const open = () =>
  new MachinePool({ directory: scratch, checkpoints: join(scratch, 'store'), workers: 1 });

async function call(pool: MachinePool): Promise<{ counter: number; random: string }> {
  const frame = { head: { command: 'stain' }, body: new Uint8Array(0) };
  const { head } = await pool.invoke('agent', frame, {
    timeoutMs: 60_000,
    place: { worker: 0, clone: 1 },
  });
  return head as { counter: number; random: string };
}

t.test('from one pool to the next, until it is pruned', async (t) => {
  const first = open();
  t.match(await first.deploy(spec), { readyHead: { type: 'ready' } });
  const answers = [await call(first)];
  await first.close();

  const second = open();
  t.match(await second.deploy(unbootable), { readyHead: { type: 'ready' } });
  answers.push(await call(second), await call(second));
  t.same(
    answers.map(({ counter }) => counter),
    [1, 1, 1],
    'every invocation is the first',
  );
  t.equal(
    new Set(answers.map(({ random }) => random)).size,
    3,
    'and has random numbers of its own',
  );
  await second.remove('agent');
  t.match(await second.deploy(unbootable), { readyHead: { type: 'ready' } }, 'it is still stored');
  await second.prune('agent', []);
  t.match(await call(second), { counter: 1 }, 'and served when it is not stored any more');
  await t.rejects(second.deploy(unbootable), { code: 'MAYFLY_BOOT_TIMEOUT' });
  await second.close();
});
