import type { Benchmark, Measurement } from './benchmark.js';
import { Floor } from './floor.js';
import { pinMainThread } from './processor.js';
import { Rounds } from './rounds.js';
import { scaled } from './scale.js';
import { bootTemplate, scratchFolder } from './templates.js';

const TURNS = 12;
const BATCH = 250;
/** What the C program takes at most (floor/floor.c). */
const FLOOR_PAGES_MAX = 8192;

async function measure(): Promise<Measurement> {
  const unpin = pinMainThread();
  const scratch = scratchFolder();
  const floor = new Floor();
  const rounds = new Rounds(await bootTemplate('node', scratch.path));
  try {
    const batch = scaled(BATCH);
    await rounds.times(batch);
    const pages = Math.min(Math.max(rounds.pages, 1), FLOOR_PAGES_MAX);
    const samples: number[] = [];
    const floorSamples: number[] = [];
    const replacedBefore = rounds.replaced;
    for (let turn = 0; turn < TURNS; turn++) {
      floorSamples.push(...(await floor.batch(`rewind ${pages} ${batch}`)));
      samples.push(...(await rounds.times(batch)));
    }
    return {
      samples,
      floor: floorSamples,
      throughput: 1e6 / (samples.reduce((sum, us) => sum + us, 0) / samples.length),
      details: { pages, replaced: rounds.replaced - replacedBefore },
    };
  } finally {
    rounds.close();
    floor.close();
    scratch.remove();
    unpin();
  }
}

export const rewindNode: Benchmark = {
  name: 'rewind-node',
  unit: 'us',
  about: 'an event to a Node.js handler, its answer, the rewind; floor: as many pages in C',
  run: measure,
};
