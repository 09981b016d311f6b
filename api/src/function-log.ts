/** The newest console lines of a function, in memory: what is beyond the bounds is dropped, oldest first, and counted. */
import type { LogLine } from '@mayfly/protocol';
import type { LogEntry } from '@mayfly/protocol/api';

const LINES_MAX = 10_000;
const CHARS_MAX = 4 * 1024 * 1024;
const LINES_DEFAULT = 1000;

export interface LogSelection {
  /** Milliseconds since 1970. */
  since?: number | undefined;
  /** Only lines behind this sequence. */
  after?: number | undefined;
  invocation?: string | undefined;
  /** The newest so many. */
  limit?: number | undefined;
}

export class FunctionLog {
  #entries: LogEntry[] = [];
  /** Index of the oldest line that is kept; those before it are cut off in large steps. */
  #first = 0;
  #chars = 0;
  #sequence = 0;
  #dropped = 0;
  readonly #waiting = new Set<() => void>();

  /** @param invocation its id; none for lines of the start of a version */
  append(lines: readonly LogLine[], version: number, invocation?: string): void {
    if (lines.length === 0) return;
    for (const { level, time, text } of lines) {
      const entry = { sequence: ++this.#sequence, level, time, text, version };
      this.#entries.push(invocation === undefined ? entry : { ...entry, invocation });
      this.#chars += text.length;
    }
    this.#drop();
    for (const wake of this.#waiting) wake();
  }

  /** Lines that were here and are not kept any more. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Sequence of the newest line, 0 for none. */
  get last(): number {
    return this.#sequence;
  }

  /** Oldest first. */
  select({ since, after = 0, invocation, limit = LINES_DEFAULT }: LogSelection): LogEntry[] {
    const from = Math.max(this.#first, this.#entries.length - (this.#sequence - after));
    const chosen = this.#entries
      .slice(from)
      .filter(
        (entry) =>
          (since === undefined || entry.time >= since) &&
          (invocation === undefined || entry.invocation === invocation),
      );
    return chosen.slice(-limit);
  }

  /** Resolves when there is a line behind `after`, or when the signal is aborted. */
  async moreThan(after: number, signal: AbortSignal): Promise<void> {
    if (this.#sequence > after || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  #drop(): void {
    const entries = this.#entries;
    while (entries.length - this.#first > LINES_MAX || this.#chars > CHARS_MAX) {
      this.#chars -= entries[this.#first]!.text.length;
      this.#first++;
      this.#dropped++;
    }
    if (this.#first <= LINES_MAX) return;
    this.#entries = entries.slice(this.#first);
    this.#first = 0;
  }
}
