/**
 * Invocations that wait, oldest first. Any of them can leave at once, since callers go away:
 *
 * ```
 *   first ◄──► ... ◄──► last
 *     │                  │
 *   leaves next        came last
 * ```
 */
export class WaitingLine<Item extends WaitingItem<Item>> {
  #first: Item | undefined;
  #last: Item | undefined;
  #size = 0;

  get first(): Item | undefined {
    return this.#first;
  }

  get last(): Item | undefined {
    return this.#last;
  }

  get size(): number {
    return this.#size;
  }

  push(item: Item): void {
    item.before = this.#last;
    item.behind = undefined;
    if (this.#last === undefined) this.#first = item;
    else this.#last.behind = item;
    this.#last = item;
    this.#size++;
  }

  /** `item` must be in this line. */
  remove(item: Item): void {
    const { before, behind } = item;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    item.before = undefined;
    item.behind = undefined;
    this.#size--;
  }
}

export interface WaitingItem<Item> {
  before: Item | undefined;
  behind: Item | undefined;
}
