/** What a program writes to its standard streams, as lines of a log: as bounded as an agent's. */
import type { LogLine } from '@mayfly/protocol';
import type { OutputStream } from './dialect.js';

const LINES_MAX = 256;
const LINE_CHARS_MAX = 4096;
const CHARS_MAX = 32 * 1024;

/** What the guest kernel says while a template is made, which is no line of the program's. */
const KERNEL_LINE = /^mayfly: system call \d+ is not there$/;

const LEVELS = { stdout: 'info', stderr: 'error' } as const;

export class OutputLines {
  #lines: LogLine[] = [];
  #chars = 0;
  #dropped = 0;
  /** Lines that have no end yet. */
  #started: Record<OutputStream, string> = { stdout: '', stderr: '' };

  add(stream: OutputStream, chunk: Uint8Array): void {
    const text = this.#started[stream] + Buffer.from(chunk).toString();
    const lines = text.split('\n');
    // No more is kept of a line without end than is told of it.
    this.#started[stream] = (lines.pop() ?? '').slice(0, LINE_CHARS_MAX + 1);
    for (const line of lines) this.#keep(stream, line);
  }

  /** Hands over what was written since the last call. */
  take(): LogLine[] {
    for (const stream of ['stdout', 'stderr'] as const) {
      if (this.#started[stream] !== '') this.#keep(stream, this.#started[stream]);
      this.#started[stream] = '';
    }
    const taken = this.#lines;
    if (this.#dropped > 0) {
      const text = `${this.#dropped} more lines were dropped`;
      taken.push({ level: 'warn', time: Date.now(), text });
    }
    this.#lines = [];
    this.#chars = 0;
    this.#dropped = 0;
    return taken;
  }

  #keep(stream: OutputStream, line: string): void {
    if (stream === 'stderr' && KERNEL_LINE.test(line)) return;
    if (this.#lines.length >= LINES_MAX || this.#chars >= CHARS_MAX) {
      this.#dropped++;
      return;
    }
    const text = line.length > LINE_CHARS_MAX ? `${line.slice(0, LINE_CHARS_MAX)}…` : line;
    this.#chars += text.length;
    this.#lines.push({ level: LEVELS[stream], time: Date.now(), text });
  }
}
