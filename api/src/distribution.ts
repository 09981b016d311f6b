/** How values are distributed: counts by upper bound. */
export class Distribution {
  sum = 0;
  /** Ascending. A value belongs to the first that it does not exceed. */
  readonly bounds: readonly number[];
  /** One for each bound, and one for what exceeds all. */
  readonly #counts: Float64Array;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  add(value: number): void {
    this.sum += value;
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] as number)) at++;
    (this.#counts[at] as number)++;
  }

  /** How many values do not exceed each bound; the last is of all. */
  cumulative(): number[] {
    let count = 0;
    return Array.from(this.#counts, (own) => {
      count += own;
      return count;
    });
  }
}
