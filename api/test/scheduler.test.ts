/** The scheduler by itself: what holds whatever happens, and single cases by name. */
import fc from 'fast-check';
import t from 'tap';
import { World } from './scheduler-world.js';

const RUNS = 300;

const settings = fc.record({
  minClones: fc.nat(3),
  maxClones: fc.integer({ min: 1, max: 5 }),
  queueMax: fc.nat(6),
  idleMs: fc.integer({ min: 1, max: 50 }),
  timeoutMs: fc.integer({ min: 1, max: 50 }),
  cloneBytes: fc.integer({ min: 1, max: 30 }),
});

const limits = fc.record({
  workers: fc.integer({ min: 1, max: 3 }),
  runningPerWorker: fc.integer({ min: 1, max: 3 }),
  memoryBytes: fc.integer({ min: 10, max: 120 }),
  waitingMax: fc.integer({ min: 1, max: 12 }),
});

const NAMES = ['a', 'b', 'c'] as const;

const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('submit'), pick: fc.nat(50) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('finish'),
      pick: fc.nat(50),
      outcome: fc.record(
        {
          cloneKept: fc.boolean(),
          cpuMicros: fc.nat(100_000),
          cloneBytes: fc.integer({ min: 1, max: 60 }),
        },
        { requiredKeys: ['cloneKept'] },
      ),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('park', 'resume', 'cancel', 'advance'),
      pick: fc.nat(50),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('lose', 'replace'), pick: fc.nat(50) }) },
);

type Event = { do: string; pick: number; outcome?: { cloneKept: boolean } };

const pickOf = <T>(items: Iterable<T>, pick: number): T | undefined => {
  const all = [...items];
  return all[pick % all.length];
};

class Story {
  readonly world: World;
  /** The scheduled name of each function, which changes with every version. */
  readonly names = new Map<string, string>();
  #versions = 0;

  constructor(...[sharing, perFunction]: [object, object[]]) {
    this.world = new World(sharing);
    for (const [i, name] of NAMES.entries()) {
      this.names.set(name, name);
      this.world.add(name, perFunction[i]!);
    }
  }

  tell(event: Event): void {
    const { world } = this;
    const name = pickOf(this.names.values(), event.pick)!;
    const busy = pickOf(world.busy.keys(), event.pick);
    const waiting = pickOf(world.waiting, event.pick);
    if (event.do === 'submit') world.submit(name);
    else if (event.do === 'finish' && busy) world.finish(busy, event.outcome);
    else if (event.do === 'park' && busy) world.park(busy);
    else if (event.do === 'resume' && busy) world.resume(busy);
    else if (event.do === 'cancel' && waiting) world.apply(world.scheduler.cancel(waiting));
    else if (event.do === 'advance') world.advance(event.pick);
    else if (event.do === 'lose') world.loseWorker(event.pick % world.limits.workers);
    else if (event.do === 'replace') this.#replace(event.pick);
  }

  /** A new version, as a deployment does it: the old one ends when its invocations have. */
  #replace(pick: number): void {
    const { world, names } = this;
    const [name, old] = pickOf(names, pick)!;
    const next = `${name}${++this.#versions}`;
    world.add(next, world.settings.get(old)!);
    world.apply(world.scheduler.retire(old));
    names.set(name, next);
  }

  finishAll(): void {
    const { world } = this;
    while (world.busy.size > 0) for (const id of [...world.busy.keys()]) world.finish(id);
  }
}

const story = fc
  .tuple(limits, fc.tuple(settings, settings, settings), fc.array(event, { maxLength: 120 }))
  .map(([sharing, perFunction, events]) => ({ sharing, perFunction, events }));

function told({
  sharing,
  perFunction,
  events,
}: {
  sharing: object;
  perFunction: object[];
  events: Event[];
}) {
  const told = new Story(sharing, perFunction);
  for (const event of events) told.tell(event);
  return told;
}

const holds = <Ts>(property: fc.IRawProperty<Ts>) => fc.assert(property, { numRuns: RUNS });

t.test('no invocation is lost or doubled and no limit is passed, whatever happens', async () => {
  // The world checks every effect; what is left must end, too.
  holds(
    fc.property(story, (chosen) => {
      const { world } = told(chosen);
      const all = () => world.dispatches.length + world.rejected.size + world.waiting.size;
      if (all() !== world.submitted.length) return false;
      for (let round = 0; world.waiting.size > 0 && round < 1000; round++) {
        for (const id of [...world.busy.keys()]) world.finish(id);
        world.advance(1);
      }
      return world.waiting.size === 0 && all() === world.submitted.length;
    }),
  );
});

t.test(
  'functions that nobody calls end at their minimum, and at nothing if that is none',
  async () => {
    holds(
      fc.property(story, (chosen) => {
        const story = told(chosen);
        const { world } = story;
        story.finishAll();
        world.advance(1000);
        story.finishAll();
        world.advance(1000);
        for (const name of story.names.values()) {
          const { minClones, maxClones } = world.settings.get(name)!;
          const live = world.live(name).length;
          if (live > Math.min(minClones, maxClones)) return false;
          if (live === 0 && minClones === 0 && !world.idle.has(name)) return false;
        }
        // Names that were replaced are gone with all that they had.
        const current = new Set(story.names.values());
        return [...world.settings.keys()].every(
          (name) => current.has(name) || world.retired.has(name),
        );
      }),
    );
  },
);

t.test('draining ends, says so once, and admits nothing', async () => {
  holds(
    fc.property(story, (chosen) => {
      const story = told(chosen);
      const { world } = story;
      world.apply(world.scheduler.drain());
      const late = world.submit(story.names.get('a')!);
      if (world.rejected.get(late) !== 'closing') return false;
      for (let round = 0; world.drained === 0 && round < 1000; round++) {
        for (const id of [...world.busy.keys()]) world.finish(id);
        world.advance(1);
      }
      world.apply(world.scheduler.drain());
      return world.drained === 1;
    }),
  );
});

t.test(
  'functions that always wait get the same processor time, but for one invocation each',
  async () => {
    const costs = fc.integer({ min: 500, max: 10_000 });
    holds(
      fc.property(
        fc.tuple(costs, costs, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 })),
        ([costA, costB, workers, runningPerWorker]) => {
          const world = new World({ workers, runningPerWorker });
          const cost = { a: costA, b: costB };
          const ended = { a: 0, b: 0 };
          const keepWaiting = (name: string) => {
            while (world.scheduler.load(name)!.waiting < 30) world.submit(name);
          };
          const run = (dispatches: number) => {
            const from = world.dispatches.length;
            while (world.dispatches.length < from + dispatches) {
              const [id, clone] = world.busy.entries().next().value!;
              const name = world.clones.get(clone)!.function as 'a' | 'b';
              world.finish(id, { cpuMicros: cost[name] });
              ended[name]++;
              keepWaiting(name);
            }
            return world.dispatches.slice(from);
          };
          for (const name of ['a', 'b']) {
            world.add(name, { maxClones: 20, queueMax: 1000 });
            keepWaiting(name);
          }
          while (ended.a < 60 || ended.b < 60) run(1); // until the costs are known
          const served = run(600);
          const time = (name: 'a' | 'b') => served.filter((n) => n === name).length * cost[name];
          // Each invocation that runs may be off by what its guess was off, which is little by now.
          return Math.abs(time('a') - time('b')) <= 2 * (costA + costB);
        },
      ),
    );
  },
);

t.test('what an invocation took is charged, not what it was guessed to take', async (t) => {
  const world = new World({ workers: 1, runningPerWorker: 1 });
  for (const name of ['long', 'short']) {
    world.add(name);
    for (let i = 0; i < 60; i++) world.submit(name);
  }
  for (let i = 0; i < 60; i++) {
    const [id] = world.busy.keys();
    world.finish(id!, { cpuMicros: id!.startsWith('long') ? 50_000 : 1000 });
  }
  const after = world.dispatches.slice(world.dispatches.indexOf('long') + 1);
  t.same(new Set(after.slice(0, 48)), new Set(['short']), '50 ms are made good for, one by one');
  t.ok(after.slice(48, 55).includes('long'), 'and no more');
});

t.test('a flood of long invocations does not keep another function waiting', async (t) => {
  const world = new World();
  world.add('flood', { maxClones: 50 });
  world.add('other');
  for (let i = 0; i < 50; i++) world.submit('flood');
  t.equal(world.busy.size, 4, 'the flood has all places');
  const id = world.submit('other');
  t.ok(world.busy.has(id));
  world.submit('other');
  t.equal(world.scheduler.load('other')!.waiting, 1, 'the second one waits for a place');
  for (const flood of [...world.busy.keys()].slice(0, 3)) world.finish(flood);
  t.equal(world.scheduler.load('other')!.waiting, 0, 'and gets it in its turn');
});

t.test(
  'a function that had more than its share does not wait for long invocations either',
  async (t) => {
    const world = new World({ workers: 1, runningPerWorker: 1 });
    world.add('flood');
    world.add('busy', { timeoutMs: 10_000 });
    world.finish(world.submit('busy'), { cpuMicros: 50_000 });
    world.submit('flood');
    world.submit('flood');
    const id = world.submit('busy');
    t.ok(world.waiting.has(id), 'it is not its turn');
    world.advance(100);
    t.ok(world.busy.has(id), 'what runs for long is charged while it runs');
  },
);

t.test('a flood that has all memory gives some back to a function that has none', async (t) => {
  const world = new World({ memoryBytes: 40 });
  world.add('flood');
  world.add('large', { cloneBytes: 25 });
  for (let i = 0; i < 20; i++) world.submit('flood');
  const id = world.submit('large');
  t.ok(world.waiting.has(id));
  for (let i = 0; i < 3; i++) world.finish([...world.busy.keys()][0]!);
  t.ok(world.busy.has(id), 'after as many ends as it needs memory');
});

t.test('when all lines together are too long, the longest one gives way', async (t) => {
  const world = new World({ waitingMax: 5 });
  world.add('flood', { maxClones: 2 });
  world.add('other', { maxClones: 1 });
  const flood = Array.from({ length: 8 }, () => world.submit('flood'));
  t.same([...world.rejected], [[flood.at(-1), 'overloaded']]);
  world.submit('other');
  const id = world.submit('other');
  t.ok(world.waiting.has(id));
  t.equal(world.rejected.get(flood[6]!), 'overloaded', 'what came last');
});

t.test('a full line refuses; what waited for too long is given up', async (t) => {
  const world = new World();
  world.add('f', { maxClones: 1, queueMax: 2, timeoutMs: 100 });
  const ids = Array.from({ length: 4 }, () => world.submit('f'));
  t.equal(world.rejected.get(ids[3]!), 'overloaded');
  world.advance(99);
  t.equal(world.rejected.size, 1);
  world.advance(1);
  t.equal(world.rejected.get(ids[1]!), 'timeout');
  t.equal(world.rejected.get(ids[2]!), 'timeout');
  t.ok(world.busy.has(ids[0]!), 'what runs is the pool to stop');
});

t.test('Retry-After says about how long the line takes', async (t) => {
  const world = new World();
  world.add('f', { maxClones: 1, queueMax: 10 });
  for (let i = 0; i < 40; i++) {
    world.submit('f');
    world.finish([...world.busy.keys()][0]!, { cpuMicros: 2_000_000 });
  }
  for (let i = 0; i < 11; i++) world.submit('f');
  t.match(world.scheduler.submit('f', 'late'), [{ type: 'reject', retryAfterSeconds: 10 }]);
});

t.test('parked invocations leave their places to others', async (t) => {
  const world = new World({ workers: 1, runningPerWorker: 1 });
  world.add('f');
  const ids = Array.from({ length: 5 }, () => world.submit('f'));
  for (const id of ids) {
    t.ok(world.busy.has(id));
    world.park(id);
  }
  t.match(world.scheduler.load('f'), { running: 0, parked: 5, clones: 5, coldStarts: 4 });
  for (const id of ids) world.resume(id);
  t.ok(world.waiting.has(world.submit('f')), 'those that went on come first');
});

t.test('invocations that wait go on while others compute without end', async () => {
  const sizes = fc.record({
    workers: fc.integer({ min: 1, max: 4 }),
    runningPerWorker: fc.integer({ min: 1, max: 8 }),
  });
  holds(
    fc.property(sizes, fc.integer({ min: 1, max: 20 }), (sharing, waiters) => {
      const world = new World(sharing);
      const many = { maxClones: 100, queueMax: 1000, timeoutMs: 100_000 };
      world.add('flood', many);
      world.add('waiter', many);
      for (let i = 0; i < 90; i++) world.submit('flood');
      const flood = world.busy.size;
      const ids = Array.from({ length: waiters }, () => world.submit('waiter'));
      // Each waits at once when it has begun, after a millisecond of the guess that it is charged.
      for (let round = 0; round < 10 * waiters; round++) {
        for (const id of world.busy.keys()) if (ids.includes(id)) world.park(id);
        world.advance(1);
      }
      return ids.every((id) => world.parked.has(id)) && world.busy.size === flood + waiters;
    }),
  );
});

t.test('a minimum of clones is there from the start and after a loss', async (t) => {
  const world = new World();
  world.add('f', { minClones: 3 });
  t.equal(world.live('f').length, 3);
  t.equal(new Set(world.live('f').map(({ worker }) => worker)).size, 2, 'on all workers');
  const id = world.submit('f');
  t.equal(world.scheduler.load('f')!.coldStarts, 0);
  world.finish(id, { cloneKept: false });
  t.equal(world.live('f').length, 3);
  world.loseWorker(0);
  t.equal(world.live('f').length, 3);
  world.advance(100_000);
  t.equal(world.live('f').length, 3);
});

t.test(
  'memory is taken from the function that was not used for longest, minimums last',
  async (t) => {
    const world = new World({ memoryBytes: 40 });
    world.add('kept', { minClones: 1 });
    for (const name of ['old', 'new']) {
      world.add(name);
      world.now++;
      world.finish(world.submit(name));
    }
    world.add('next', { cloneBytes: 20 });
    world.submit('next');
    t.same(
      ['kept', 'old', 'new', 'next'].map((name) => world.live(name).length),
      [1, 0, 1, 1],
    );
  },
);

t.test('clones that grew past the memory there is make idle ones go', async (t) => {
  const world = new World({ memoryBytes: 40 });
  world.add('idle', { minClones: 1 });
  world.add('grower');
  world.finish(world.submit('grower'), { cloneBytes: 35 });
  t.ok(world.memory <= 40);
});

t.test('the clone that was used last is used next', async (t) => {
  const world = new World({ workers: 1, runningPerWorker: 8 });
  world.add('f');
  const [first, second] = [world.submit('f'), world.submit('f')];
  const clone = world.busy.get(first!);
  world.finish(second!);
  world.finish(first!);
  t.equal(world.busy.get(world.submit('f')), clone);
});
