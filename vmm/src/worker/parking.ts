/**
 * Tells the pool which invocations of a thread wait and which go on again: once in a round of the thread's events, and
 * nothing of one that is as it was told last. An invocation that never waits costs nothing here.
 */
import type { ParkedNews } from './messages.js';

export class Parking {
  readonly #post: (news: ParkedNews) => void;
  /** Told that they wait. */
  readonly #told = new Set<number>();
  readonly #changed = new Map<number, boolean>();
  #scheduled = false;

  constructor(post: (news: ParkedNews) => void) {
    this.#post = post;
  }

  note(id: number, parked: boolean): void {
    this.#changed.set(id, parked);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#tell);
  }

  over(id: number): void {
    this.#changed.delete(id);
    this.#told.delete(id);
  }

  readonly #tell = (): void => {
    this.#scheduled = false;
    const parked: number[] = [];
    const resumed: number[] = [];
    for (const [id, waits] of this.#changed) {
      if (waits === this.#told.has(id)) continue;
      if (waits) this.#told.add(id);
      else this.#told.delete(id);
      (waits ? parked : resumed).push(id);
    }
    this.#changed.clear();
    if (parked.length + resumed.length > 0) this.#post({ parked, resumed });
  };
}
