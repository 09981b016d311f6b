/** The newest console lines of a function, in memory. */
import type { LogLine } from '@mayfly/protocol';

const LINES_MAX = 1000;

export class FunctionLog {
  #lines: LogLine[] = [];

  append(lines: LogLine[]): void {
    if (lines.length === 0) return;
    this.#lines.push(...lines);
    // Cut in large steps, so that appending stays cheap.
    if (this.#lines.length > 2 * LINES_MAX) this.#lines = this.#lines.slice(-LINES_MAX);
  }

  /** Oldest first. */
  get lines(): LogLine[] {
    return this.#lines.slice(-LINES_MAX);
  }
}
