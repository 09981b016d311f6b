/** Rounds of one clone after the other on this thread: an event, its answer, the rewind. */
import { CLONE_SETTINGS, type Clone, Stock, Supplies, type Template } from '@mayfly/vmm/clones';
import { checkAnswer, eventFrame } from './templates.js';

const DEADLINE_MS = 120_000;

export class Rounds {
  readonly #supplies = new Supplies({ shells: 1 });
  readonly #stock: Stock;
  readonly #frame = eventFrame();
  #clone: Clone;
  /** Clones that could not be rewound. */
  replaced = 0;
  /** Pages that the last rewind put back. */
  pages = 0;

  constructor(template: Template) {
    this.#stock = new Stock(template, this.#supplies, CLONE_SETTINGS);
    this.#clone = this.#stock.make();
  }

  /** A pristine round; the clone is pristine again, or another one, when it returns. */
  async run(): Promise<void> {
    const deadline = performance.now() + DEADLINE_MS;
    checkAnswer((await this.#clone.invoke(this.#frame, deadline)).head);
    const rewound = this.#clone.rewind();
    this.pages = this.#clone.rewoundPages;
    if (rewound) {
      this.#stock.learn(this.#clone);
      return;
    }
    this.replaced++;
    this.#clone.close();
    this.#clone = this.#stock.make();
  }

  /** Times of `count` rounds in microseconds. */
  async times(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      await this.run();
      times.push((performance.now() - start) * 1000);
    }
    return times;
  }

  close(): void {
    this.#clone.close();
    this.#stock.close();
    this.#supplies.close();
  }
}
