import { StringDecoder } from 'node:string_decoder';
import type { LogLevel, LogLine } from '@mayfly/protocol';

/** Of one invocation: a guest that prints without end fills nobody's memory. */
const LINES_MAX = 4096;
const CHARS_MAX = 1024 * 1024;
const LINE_CHARS_MAX = 4096;

/** What a guest prints on its console, as lines of a log. */
export class OutputLines {
  #lines: LogLine[] = [];
  #count = 0;
  #chars = 0;
  #dropped = 0;
  readonly #parts = new Map<LogLevel, { decoder: StringDecoder; rest: string }>();

  add(level: LogLevel, chunk: Uint8Array): void {
    let part = this.#parts.get(level);
    if (part === undefined) {
      part = { decoder: new StringDecoder(), rest: '' };
      this.#parts.set(level, part);
    }
    const texts = (part.rest + part.decoder.write(Buffer.from(chunk))).split('\n');
    part.rest = texts.pop() as string;
    for (const text of texts) this.#keep(level, text);
    if (part.rest.length <= LINE_CHARS_MAX) return;
    this.#keep(level, part.rest);
    part.rest = '';
  }

  /** Whole lines since the last call. */
  take(): LogLine[] {
    if (this.#lines.length === 0) return this.#lines;
    const taken = this.#lines;
    this.#lines = [];
    return taken;
  }

  /** Lines since the last call, the one that has no end and what was dropped included. */
  takeLast(): LogLine[] {
    for (const [level, part] of this.#parts) if (part.rest !== '') this.#keep(level, part.rest);
    if (this.#dropped > 0) this.push('warn', `${this.#dropped} more lines were dropped`);
    const taken = this.#lines;
    this.clear();
    return taken;
  }

  clear(): void {
    if (this.#parts.size === 0 && this.#count === 0) return;
    this.#parts.clear();
    this.#lines = [];
    this.#count = this.#chars = this.#dropped = 0;
  }

  #keep(level: LogLevel, text: string): void {
    if (this.#count >= LINES_MAX || this.#chars >= CHARS_MAX) this.#dropped++;
    else this.push(level, text.slice(0, LINE_CHARS_MAX));
  }

  /** A line that no guest printed. */
  push(level: LogLevel, text: string): void {
    this.#count++;
    this.#chars += text.length;
    this.#lines.push({ level, time: Date.now(), text });
  }
}
