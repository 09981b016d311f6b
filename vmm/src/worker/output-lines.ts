import { StringDecoder } from 'node:string_decoder';
import type { LogLevel, LogLine } from '@mayfly/protocol';

export type OutputStream = 'stdout' | 'stderr';

export interface OutputLimits {
  lines: number;
  /** Of all lines together. */
  chars: number;
}

/** Of one invocation: a guest that prints without end fills nobody's memory. */
const INVOCATION_LIMITS: OutputLimits = { lines: 4096, chars: 1024 * 1024 };
const LINE_CHARS_MAX = 4096;

const LEVELS = { stdout: 'info', stderr: 'error' } as const;

/** What the guest kernel says while a template is made, which is no line of the program's. */
const KERNEL_LINE = /^mayfly: system call \d+ is not there$/;

/** What a guest prints on its standard streams, as lines of a log. */
export class OutputLines {
  readonly #limits: OutputLimits;
  #lines: LogLine[] = [];
  #count = 0;
  #chars = 0;
  #dropped = 0;
  readonly #parts = new Map<OutputStream, { decoder: StringDecoder; rest: string }>();

  constructor(limits = INVOCATION_LIMITS) {
    this.#limits = limits;
  }

  add(stream: OutputStream, chunk: Uint8Array): void {
    let part = this.#parts.get(stream);
    if (part === undefined) {
      part = { decoder: new StringDecoder(), rest: '' };
      this.#parts.set(stream, part);
    }
    const texts = (part.rest + part.decoder.write(Buffer.from(chunk))).split('\n');
    part.rest = texts.pop() as string;
    for (const text of texts) this.#keep(stream, text);
    if (part.rest.length <= LINE_CHARS_MAX) return;
    this.#keep(stream, part.rest);
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
    for (const [stream, part] of this.#parts) {
      const rest = part.rest + part.decoder.end();
      if (rest !== '') this.#keep(stream, rest);
    }
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

  #keep(stream: OutputStream, text: string): void {
    if (stream === 'stderr' && KERNEL_LINE.test(text)) return;
    if (this.#count >= this.#limits.lines || this.#chars >= this.#limits.chars) this.#dropped++;
    else if (text.length <= LINE_CHARS_MAX) this.push(LEVELS[stream], text);
    else this.push(LEVELS[stream], `${text.slice(0, LINE_CHARS_MAX)}…`);
  }

  /** A line that no guest printed. */
  push(level: LogLevel, text: string): void {
    this.#count++;
    this.#chars += text.length;
    this.#lines.push({ level, time: Date.now(), text });
  }
}
