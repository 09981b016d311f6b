import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../build/floor', import.meta.url));

/** The C program that does the least that KVM allows (floor/floor.c), kept running and asked for one batch at a time. */
export class Floor {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor() {
    this.#process = spawn(PROGRAM, ['--batch'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#reader = createInterface({ input: this.#process.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** Times in microseconds of a `create K`, `exit K` or `rewind N K` batch. */
  async batch(command: string): Promise<number[]> {
    this.#process.stdin.write(`${command}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${PROGRAM} ended instead of running '${command}'`);
    return (JSON.parse(value) as number[]).map((ns) => ns / 1000);
  }

  close(): void {
    this.#reader.close();
    this.#process.stdin.end();
  }
}
