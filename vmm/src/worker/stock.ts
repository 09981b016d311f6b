/** What a worker has of one template: its memory and images, mapped once, and the clones that wait. */
import { GuestMemory } from '../kvm/index.js';
import { openImages } from '../machine/factory.js';
import type { Supplies } from '../machine/supplies.js';
import { Clone } from './clone.js';
import type { CloneSettings } from './clone-settings.js';
import type { Template } from './template.js';

/** Lives of one clone after which what it wrote is taken for what every clone will write. */
const LIVES_RECORDED = 3;

export class Stock {
  readonly template: Template;
  readonly memory: GuestMemory;
  readonly images: readonly GuestMemory[];
  /** Rewound, or used and about to be, by their numbers. */
  readonly idle = new Map<number, Clone>();
  readonly #supplies: Supplies;
  readonly #settings: CloneSettings;
  #workingSet: Uint32Array | undefined;
  #livesSeen = 0;

  constructor(template: Template, supplies: Supplies, settings: CloneSettings) {
    const { memoryFd, memorySize } = template;
    this.template = template;
    this.#supplies = supplies;
    this.#settings = settings;
    this.#workingSet = template.workingSet;
    this.memory = GuestMemory.readonlyFile(memoryFd, memorySize, { huge: true });
    this.images = openImages(template.images);
  }

  /** A new clone, in its first state. Throws MAYFLY_KVM_*. */
  make(): Clone {
    const { memory, images } = this;
    const supplies = this.#supplies;
    const { dirtyPagesMax } = this.#settings;
    const workingSet = this.#settings.memory === 'prefetch' ? this.#workingSet : undefined;
    return new Clone(this.template, memory, { supplies, images, workingSet, dirtyPagesMax });
  }

  /** Learns from a clone that was rewound. The working set, when this completes it. */
  learn(clone: Clone): Uint32Array | undefined {
    if (this.#workingSet !== undefined || this.#settings.memory === 'lazy') return undefined;
    if (++this.#livesSeen < LIVES_RECORDED) return undefined;
    this.#workingSet = clone.machine.memory.written();
    return this.#workingSet;
  }

  /** Pages that a clone is going to write, as far as known: pairs [first page, count]. */
  get workingSet(): Uint32Array | undefined {
    return this.#workingSet;
  }

  close(): void {
    for (const clone of this.idle.values()) clone.close();
    this.idle.clear();
    this.memory.close();
    for (const image of this.images) image.close();
  }
}
