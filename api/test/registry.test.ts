/** Whatever is deployed, removed and rolled back meanwhile: who is answered, is answered by the function that was asked for. */
import { join } from 'node:path';
import { MayflyError } from '@mayfly/protocol';
import fc from 'fast-check';
import t from 'tap';
import { Invoker } from '../src/invoker.js';
import { LaterInvocations } from '../src/later.js';
import type { Layers } from '../src/layers.js';
import { type DeployedFunction, Registry } from '../src/registry.js';
import { defaultLimits, ScheduledPool } from '../src/scheduler/index.js';
import { Database } from '../src/store/database.js';
import { FunctionStore } from '../src/store/functions.js';
import { InvocationStore } from '../src/store/invocations.js';
import { Templates } from '../src/templates.js';
import { MemoryPool, response, result } from './memory-pool.js';
import { folder } from './test-server.js';

const NAME = 'f';
const FILE = 'server.js';

/** A layer is called what its one file says, so that the pool sees what was booted. */
const layers: Layers = {
  programs: async () => '/',
  files: async (files) => Buffer.from(files.get(FILE)?.bytes ?? '').toString(),
};

const ticks = async (count: number) => {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
};

type Step = { after: number; boot: number } & (
  | { kind: 'deploy' | 'remove' | 'restart' }
  | { kind: 'rollback' | 'request' | 'event' | 'later'; version: number | undefined }
);

const version = fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined });
const after = fc.integer({ min: 0, max: 4 });
const boot = fc.integer({ min: 0, max: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('deploy' as const), after, boot }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('remove' as const), after, boot }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), after, boot }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'rollback' as const,
        'request' as const,
        'event' as const,
        'later' as const,
      ),
      after,
      boot,
      version,
    }),
  },
);

/** A server's inside, over a store. */
function world(database: Database) {
  const pool = new MemoryPool(async (head, _body, _options, spec) => {
    const told = `${spec.env.ID} ${spec.images.at(-1)}`;
    return head.type === 'event' ? result(told) : response(200, Buffer.from(told));
  });
  const scheduled = new ScheduledPool(pool, defaultLimits());
  const registry = new Registry(
    new Templates(scheduled, layers, 1000),
    new FunctionStore(database),
  );
  const store = new InvocationStore(database);
  const invoker = new Invoker(registry, scheduled, store, () => {}, 1000);
  const later = new LaterInvocations(registry, invoker, store, 1 << 20);
  return { pool, registry, invoker, later, store, scheduled };
}

const CLEAR = new Set(['MAYFLY_FUNCTION_UNKNOWN', 'MAYFLY_VERSION_UNKNOWN']);

async function run(database: Database, steps: readonly Step[]): Promise<void> {
  let here = world(database);
  /** Which function each source belongs to: functions that have the same name one after the other are not the same. */
  const owners = new Map<string, DeployedFunction>();
  let sources = 0;
  let boots = 0;
  const deploy = async () => {
    const id = `source-${sources++}`;
    const files = new Map([[FILE, { bytes: Buffer.from(id), executable: false }]]);
    const settings = { runtime: 'http', command: ['node', FILE], env: { ID: id } } as const;
    const { registry } = here;
    await registry.deploy(NAME, {
      settings: { ...settings, command: [...settings.command] },
      files,
    });
    owners.set(id, registry.get(NAME));
  };
  /** Looked at when all deployments are known. */
  let answers: [told: string, asked: DeployedFunction][] = [];
  const checkAnswer = ([told, asked]: (typeof answers)[number]) => {
    const [id = '', booted] = told.split(' ');
    if (id !== booted) throw new Error(`the settings of ${id} ran with the files of ${booted}`);
    if (owners.get(id) !== asked) throw new Error(`${id} belongs to another function`);
  };
  const clearly = async (work: Promise<unknown>) => {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof MayflyError) || !CLEAR.has(error.code)) throw error;
    }
  };
  const text = (body: unknown) => Buffer.from(body as Uint8Array).toString();
  const act = async (step: Step): Promise<void> => {
    const { registry, invoker, later, store } = here;
    const event = Buffer.from('null');
    switch (step.kind) {
      case 'deploy':
        return deploy();
      case 'remove':
        return registry.remove(NAME);
      case 'rollback':
        return void (await registry.rollback(NAME, step.version));
      case 'request': {
        const asked = registry.get(NAME);
        const request = { type: 'request', method: 'GET', url: 'http://h/', headers: [] } as const;
        const target = { name: NAME, version: step.version };
        const { body } = await invoker.invoke(target, { ...request, headers: [] }, event);
        return void answers.push([text(body), asked]);
      }
      case 'event': {
        const asked = registry.get(NAME);
        const { trace } = await invoker.invokeEvent({ name: NAME, version: step.version }, event);
        return void answers.push([trace.result as string, asked]);
      }
      case 'later': {
        const asked = registry.get(NAME);
        const { id } = await later.accept({ name: NAME, version: step.version }, event);
        for (let tries = 0; store.get(id)?.endedMs === undefined; tries++) {
          if (tries > 5000) throw new Error('it does not end');
          await ticks(1);
        }
        const trace = store.get(id);
        if (trace?.status === 'succeeded')
          return void answers.push([trace.result as string, asked]);
        const { code = '', message = '' } = trace?.error ?? {};
        if (!CLEAR.has(code)) throw new Error(`${code}: ${message}`);
      }
    }
  };
  const bootWaits = () => {
    const waits = steps.map((step) => step.boot);
    here.pool.boot = () => ticks(waits[boots++ % waits.length] ?? 0);
  };
  const end = async () => {
    await here.later.close();
    await here.scheduled.close();
    await here.store.close();
  };
  bootWaits();
  let underWay: Promise<void>[] = [];
  const settle = async () => {
    await Promise.all(underWay);
    underWay = [];
    answers.forEach(checkAnswer);
    answers = [];
  };
  for (const step of steps) {
    await ticks(step.after);
    if (step.kind !== 'restart') {
      const acting = clearly(act(step));
      acting.catch(() => {}); // looked at below
      underWay.push(acting);
      continue;
    }
    // From the store, without templates: who is asked next is booted first.
    await settle();
    await end();
    const before = owners.size > 0 && here.registry.has(NAME) ? here.registry.get(NAME) : undefined;
    here = world(database);
    bootWaits();
    const now = here.registry.has(NAME) ? here.registry.get(NAME) : undefined;
    for (const [id, owner] of owners) if (now && owner === before) owners.set(id, now);
  }
  await settle();
  await clearly(here.registry.remove(NAME));
  await end();
}

t.test('any steps at once', async (t) => {
  const database = await Database.open(join(folder(t), 'store'));
  const steps = fc.array(step, { minLength: 3, maxLength: 14 });
  await fc.assert(
    fc.asyncProperty(steps, (steps) => run(database, steps)),
    { numRuns: 60, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
  );
  await database.close();
});

t.test('who waits for a function that is removed and deployed anew', async (t) => {
  const database = await Database.open(join(folder(t), 'store'));
  const at = (kind: 'deploy' | 'remove' | 'restart', after = 0): Step => ({ kind, after, boot: 5 });
  const ask = (kind: 'request' | 'event' | 'later'): Step => ({
    kind,
    after: 0,
    boot: 5,
    version: undefined,
  });
  for (const kind of ['request', 'event', 'later'] as const) {
    // The store is still at the removal when it is asked.
    const anew = [at('deploy', 3), at('restart', 3), at('remove'), at('deploy'), ask(kind)];
    await t.resolves(run(database, anew), kind);
  }
  await database.close();
});
