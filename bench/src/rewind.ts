import type { Benchmark, Measurement } from './benchmark.js';
import { Floor } from './floor.js';
import { pinMainThread } from './processor.js';
import { scaled } from './scale.js';
import { TinyGuest } from './tiny-guest.js';

const ROUNDS = 12;
const BATCH = 250;
/** With nested paging, the processor's walk of the guest's page tables counts as writes to them: one page of each of three levels. */
const TABLES = 3;

/** Times in microseconds of `count` invocations; every one puts back what the one before it wrote. */
function batch(guest: TinyGuest, pages: number, count: number): number[] {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const rewound = guest.invoke();
    times.push((performance.now() - start) * 1000);
    if (rewound !== pages && rewound !== pages + TABLES)
      throw new Error(`${rewound} pages were put back, not ${pages}`);
  }
  return times;
}

/**
 * Floor and ours take turns on the same processor, so that whatever disturbs one disturbs the other: the processors of
 * a shared machine differ by half at times.
 */
async function measure(pages: number): Promise<Measurement> {
  const count = scaled(BATCH);
  const unpin = pinMainThread();
  const guest = new TinyGuest(pages);
  const floor = new Floor();
  try {
    guest.invoke();
    batch(guest, pages, count);
    await floor.batch(`rewind ${pages} ${count}`);
    const samples: number[] = [];
    const floorSamples: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      floorSamples.push(...(await floor.batch(`rewind ${pages} ${count}`)));
      samples.push(...batch(guest, pages, count));
    }
    return { samples, floor: floorSamples };
  } finally {
    floor.close();
    guest.close();
    unpin();
  }
}

/** Rewind, entry, and the exit that ends the invocation, for a guest that writes this many pages. */
export const rewinds: readonly Benchmark[] = [5, 50, 500].map((pages) => ({
  name: `rewind-${pages}`,
  unit: 'us',
  about: `put back ${pages} pages, enter, exit; floor: the same in C`,
  run: () => measure(pages),
}));
