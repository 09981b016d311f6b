import { type FileHandle, open } from 'node:fs/promises';
import type { RangesSource } from '../tree/ranges.js';

const BUFFER_SIZE = 1024 * 1024;

/** Contents of files one after the other in one temporary file, so that an archive costs a few megabytes of memory. */
export class Spool {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(BUFFER_SIZE);
  #used = 0;
  #size = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<Spool> {
    return new Spool(path, await open(path, 'wx', 0o600));
  }

  /** Keeps all bytes; they can be read once flush() is done. */
  async add(chunks: AsyncIterable<Uint8Array>): Promise<RangesSource> {
    const offset = this.#size;
    for await (const chunk of chunks) await this.#write(chunk);
    const length = this.#size - offset;
    const ranges = length === 0 ? [] : [{ offset, length }];
    return { kind: 'ranges', hostPath: this.#path, size: length, ranges };
  }

  async flush(): Promise<void> {
    await this.#file.writeFile(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (this.#used + chunk.length > BUFFER_SIZE) await this.flush();
    if (chunk.length > BUFFER_SIZE) {
      await this.#file.writeFile(chunk);
    } else {
      this.#buffer.set(chunk, this.#used);
      this.#used += chunk.length;
    }
    this.#size += chunk.length;
  }
}
