/** Invocations in pristine clones: what one leaves behind, the next does not see. */
import { mkdtempSync, rmSync } from 'node:fs';
import t from 'tap';
import { NESTED_PAGING } from '../../src/machine/host-cpu.js';
import { MachinePool } from '../../src/pool/machine-pool.js';
import { agentSpec } from './agent-spec.js';

const scratch = mkdtempSync('/var/tmp/mayfly-pool-');

const spec = await agentSpec(scratch);
const pool = new MachinePool({ directory: scratch, workers: 2 });
t.teardown(async () => {
  await pool.close();
  rmSync(scratch, { recursive: true, force: true });
});

await t.test('a template is made when the program waits for its first frame', async (t) => {
  const { readyHead } = await pool.deploy(spec);
  t.same(readyHead, { type: 'ready' });
});

interface Answer {
  counter: number;
  pid: number;
  random: string;
  /** Whether anything of an earlier invocation was found in memory, registers or files. */
  stained: boolean;
}

/** Clones that are idle: a few, so that calls at once use them in turns. */
const places = Array.from({ length: 8 }, (_, clone) => ({ worker: clone % 2, clone }));
const waiting: (() => void)[] = [];

async function call(command: string, timeoutMs = 30_000, name = 'agent'): Promise<Answer> {
  const frame = { head: { command }, body: new Uint8Array(0) };
  while (places.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  const place = places.pop()!;
  try {
    const { head } = await pool.invoke(name, frame, { timeoutMs, place });
    return head as Answer;
  } finally {
    places.push(place);
    waiting.shift()?.();
  }
}

await t.test('every invocation is the first', async (t) => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => call('stain')));
  t.ok(
    answers.every(({ counter }) => counter === 1),
    'the counter never gets past 1',
  );
  t.notOk(
    answers.some(({ stained }) => stained),
    'memory, vector registers, FS base and files are as captured',
  );
});

await t.test('clones have nothing in common that must be unique', async (t) => {
  const answers = await Promise.all(Array.from({ length: 100 }, () => call('none')));
  t.equal(new Set(answers.map(({ random }) => random)).size, 100, 'random numbers');
  t.ok(new Set(answers.map(({ pid }) => pid)).size > 95, 'process ids');
});

for (const [command, code] of [
  ['exit', 'MAYFLY_GUEST_EXITED'],
  ['crash', 'MAYFLY_GUEST_EXITED'],
  ['garbage', 'MAYFLY_FRAME_DAMAGED'],
  ['allocate', 'MAYFLY_GUEST_OOM'],
  ['port', 'MAYFLY_GUEST_BAD_PORT'],
] as const) {
  await t.test(
    `a guest that does "${command}" ends with ${code}, and only that guest`,
    async (t) => {
      const stats = { cpuMicros: Number, faults: Number, rewoundPages: Number };
      await t.rejects(call(command), { code, stats });
      t.equal((await call('none')).counter, 1);
    },
  );
}

await t.test('a crash says where', async (t) => {
  const cause = /agent\[\d+\] died of SIGSEGV: write to 0x10, .*, at 0x[0-9a-f]+ (obey|main)\+0x/;
  await t.rejects(call('crash'), { code: 'MAYFLY_GUEST_EXITED', cause });
});

await t.test('a guest that spins is stopped at its deadline', async (t) => {
  await t.rejects(call('spin', 300), { code: 'MAYFLY_GUEST_TIMEOUT' });
  t.equal((await call('none')).counter, 1);
});

await t.test('a guest that changes its page tables leaves nothing of it', async (t) => {
  for (let i = 0; i < 5; i++) t.equal((await call('grow')).counter, 1);
});

await t.test('a guest that only touches what decides on CPL 0 is not rewound either', async (t) => {
  const single = new MachinePool({ directory: scratch, workers: 1 });
  t.teardown(() => single.close());
  await single.deploy(spec);
  const replacements = async (command: string) => {
    const frame = { head: { command }, body: new Uint8Array(0) };
    const counts: number[] = [];
    for (let i = 0; i < 6; i++) {
      const place = { worker: 0, clone: 0 };
      const { end } = await single.invoke('agent', frame, { timeoutMs: 5000, place });
      counts.push((await end).replaced);
    }
    return counts.at(-1)! - counts[1]!;
  };
  t.equal(await replacements('stain'), 0, 'what others write');
  t.equal(await replacements('interrupts'), 4, 'the interrupt table');
  t.equal(await replacements('tables'), NESTED_PAGING ? 0 : 4, 'page tables');
  t.equal(await replacements('entry'), 4, "the guest kernel's entry");
});

await t.test('no template is made of a guest that changed what runs at CPL 0', async (t) => {
  for (const [address, what] of [
    ['0x6fe03201', 'the descriptor tables'],
    ['0x70000ff8', "the guest kernel's entry"],
  ] as const) {
    const tampering = { ...spec, name: 'tampering', argv: [...spec.argv, address] };
    await t.rejects(pool.deploy(tampering), {
      code: 'MAYFLY_TEMPLATE_TAMPERED',
      message: `the program changed ${what}`,
    });
  }
});

await t.test('page faults are those of the invocation: a used clone has its pages', async (t) => {
  const faults: number[] = [];
  for (let life = 0; life < 3; life++) {
    const frame = { head: { command: 'stain' }, body: new Uint8Array(0) };
    const place = { worker: 0, clone: 300 };
    const { end } = await pool.invoke('agent', frame, { timeoutMs: 30_000, place });
    faults.push((await end).faults!);
  }
  const [first, ...later] = faults as [number, number, number];
  // Unless the pages that its predecessors wrote were copied when it was made.
  t.ok(first < 2000, `${first} faults for some 400 pages`);
  t.ok(Math.max(...later) < 100, `${later} faults of a clone that was rewound`);
});

await t.test('a caller that goes away stops its guest, and the clone is rewound', async (t) => {
  const place = { worker: 1, clone: 100 };
  const invoke = (command: string, signal?: AbortSignal) => {
    const frame = { head: { command }, body: new Uint8Array(0) };
    const options = { timeoutMs: 60_000, place, ...(signal && { signal }) };
    return pool.invoke('agent', frame, options);
  };
  // It stands still while it computes, in the guest kernel and outside of it, and while it waits.
  for (const command of ['spin', 'calls', 'wait', 'spin']) {
    await t.rejects(invoke(command, AbortSignal.timeout(200)), {
      code: 'MAYFLY_ABORTED',
      cloneKept: true,
    });
    const { head, end } = await invoke('stain');
    t.match(head, { counter: 1, stained: false }, command);
    t.ok(((await end).rewindMicros ?? 0) > 0, 'it is no new one');
  }
});

await t.test('what cannot boot says why', async (t) => {
  const missing = { ...spec, name: 'missing', argv: ['/nowhere'] };
  await t.rejects(pool.deploy(missing), { code: 'MAYFLY_BOOT_FAILED', message: /not found/ });
  await t.rejects(pool.deploy({ ...spec, memoryBytes: 1 << 20 }), {
    code: 'MAYFLY_BAD_MEMORY_SIZE',
  });
  await t.rejects(call('none', 1000, 'nobody'), { code: 'MAYFLY_TEMPLATE_UNKNOWN' });
});

await t.test('clones are made ahead and ended when they are told to', async () => {
  const place = { worker: 0, clone: 200 };
  await pool.start('agent', place);
  await pool.stop('agent', place);
  await pool.stop('agent', place);
});

await t.test('a template that was let go of is there again when it is used', async (t) => {
  await pool.unload('agent');
  t.equal((await call('none')).counter, 1);
});

await t.test('a removed template is gone', async (t) => {
  await pool.remove('agent');
  await t.rejects(call('none', 1000), { code: 'MAYFLY_TEMPLATE_UNKNOWN' });
});
