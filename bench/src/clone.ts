/** Making a clone, up to its guest's first exit: a few hundred instructions of the guest kernel, which finds nothing to do. */
import { CLONE_SETTINGS, newIdentity, Stock, Supplies } from '@mayfly/vmm/clones';
import type { Benchmark, Measurement } from './benchmark.js';
import { Floor } from './floor.js';
import { scaled } from './scale.js';
import { bootTemplate, checkAnswer, eventFrame, scratchFolder } from './templates.js';

const TURNS = 10;
const BATCH = 50;
const DEADLINE_MS = 120_000;
/** As many lives as a stock looks at before it knows what clones write. */
const LIVES = 3;

/** Lets the stock record what its clones write. */
async function train(stock: Stock): Promise<void> {
  const clone = stock.make();
  for (let life = 0; life < LIVES; life++) {
    const deadline = performance.now() + DEADLINE_MS;
    checkAnswer((await clone.invoke(eventFrame(), deadline)).head);
    if (clone.rewind()) stock.learn(clone);
    else break;
  }
  clone.close();
}

/** Microseconds. */
function makeOne(stock: Stock): number {
  const start = performance.now();
  const clone = stock.make();
  newIdentity(clone.machine.shared, clone.template.state.capturedAt);
  let { kind } = clone.machine.enter();
  while (kind === 'slice') ({ kind } = clone.machine.enter());
  const micros = (performance.now() - start) * 1000;
  clone.close();
  if (kind !== 'idle') throw new Error(`the clone ${kind}`);
  return micros;
}

async function measure(shells: number): Promise<Measurement> {
  const scratch = scratchFolder();
  const floor = new Floor();
  const supplies = new Supplies({ shells });
  const stock = new Stock(await bootTemplate('static', scratch.path), supplies, CLONE_SETTINGS);
  try {
    await train(stock);
    const batch = scaled(BATCH);
    const samples: number[] = [];
    const floorSamples: number[] = [];
    for (let turn = 0; turn <= TURNS; turn++) {
      const least = await floor.batch(`create ${batch}`);
      const ours = Array.from({ length: batch }, () => {
        supplies.addShell();
        return makeOne(stock);
      });
      if (turn === 0) continue; // warms up
      floorSamples.push(...least);
      samples.push(...ours);
    }
    return { samples, floor: floorSamples };
  } finally {
    stock.close();
    supplies.close();
    floor.close();
    scratch.remove();
  }
}

export const clones: readonly Benchmark[] = [
  {
    name: 'clone',
    unit: 'us',
    about:
      'a clone of a static guest with a VM from the pool, up to its first exit; floor: a VM in C',
    run: () => measure(1),
  },
  {
    name: 'clone-no-shell',
    unit: 'us',
    about: 'the same with a VM that is made for it; floor: a VM in C',
    run: () => measure(0),
  },
];
