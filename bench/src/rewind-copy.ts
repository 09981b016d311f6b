/** The part of a rewind that is not KVM's: finding the written pages of a mapping and copying the template's over them. */
import { kvm } from '@mayfly/vmm';
import type { Benchmark, Measurement } from './benchmark.js';
import { Floor } from './floor.js';
import { pinMainThread } from './processor.js';
import { scaled } from './scale.js';

const { GuestMemory, Rewinder } = kvm;
/** Those of floor/machine.c. */
const RAM_SIZE = 64 << 20;
const DATA = 0x1000000;
const PAGE = 4096;
const ROUNDS = 12;
const BATCH = 250;

/** A clone's memory and its rewinder, without a machine. */
class Copied {
  readonly #file = GuestMemory.memfd(RAM_SIZE);
  readonly #memory: kvm.GuestMemory;
  readonly #template: kvm.GuestMemory;
  readonly #rewinder: kvm.Rewinder;
  readonly #bytes: Uint8Array;
  readonly #pages: number;

  constructor(pages: number) {
    new Uint8Array(this.#file.buffer).fill(0);
    this.#memory = GuestMemory.privateFile(this.#file.fd, RAM_SIZE);
    this.#template = GuestMemory.readonlyFile(this.#file.fd, RAM_SIZE);
    this.#rewinder = Rewinder.create({ memory: this.#memory, template: this.#template });
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#pages = pages;
  }

  /** Microseconds of each of `count` rewinds. */
  times(count: number): number[] {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      for (let page = 0; page < this.#pages; page++) this.#bytes[DATA + page * PAGE] = 1;
      const start = performance.now();
      const copied = this.#rewinder.rewind();
      times.push((performance.now() - start) * 1000);
      if (copied !== this.#pages) throw new Error(`${copied} pages were put back`);
    }
    if (this.#bytes[DATA] !== 0) throw new Error('a page was not put back');
    return times;
  }

  close(): void {
    this.#rewinder.close();
    for (const memory of [this.#memory, this.#template, this.#file]) memory.close();
  }
}

/** Floor and ours take turns, as in rewind.ts. */
async function measure(pages: number): Promise<Measurement> {
  const count = scaled(BATCH);
  const unpin = pinMainThread();
  const copied = new Copied(pages);
  const floor = new Floor();
  try {
    copied.times(count);
    const samples: number[] = [];
    const floorSamples: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      floorSamples.push(...(await floor.batch(`copy ${pages} ${count}`)));
      samples.push(...copied.times(count));
    }
    return { samples, floor: floorSamples };
  } finally {
    floor.close();
    copied.close();
    unpin();
  }
}

export const rewindCopies: readonly Benchmark[] = [5, 50, 500].map((pages) => ({
  name: `rewind-copy-${pages}`,
  unit: 'us',
  about: `find and put back ${pages} written pages, without KVM; floor: the same in C`,
  run: () => measure(pages),
}));
