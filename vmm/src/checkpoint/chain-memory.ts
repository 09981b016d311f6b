/** The memory of a checkpoint and what it is a difference to, read from its files as if it were one. */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { damaged, type Manifest } from './manifest.js';
import { BLOCK, type OnBytes, overlaps, pieces, unite } from './pages.js';
import type { StoredState } from './state.js';

/** A checkpoint of a chain with its decoded state. */
export interface Link {
  folder: string;
  manifest: Manifest;
  state: StoredState;
  /** The state as it is stored. */
  stateBytes: Uint8Array;
}

interface MemoryFile {
  fd: number;
  manifest: Manifest;
  runs: Uint32Array;
  /** Of what was read of it, if that is to be checked. */
  hash: Hash | undefined;
}

export class ChainMemory {
  readonly size: number;
  /** Pairs [first page, count] of what any of the chain stores. */
  readonly runs: Uint32Array;
  readonly #files: MemoryFile[] = [];

  /**
   * Opens the files of a chain, oldest first, which may lose their names from then on. `checked`: for check().
   * Throws MAYFLY_CHECKPOINT_DAMAGED for one that is missing or has another size.
   */
  constructor(chain: readonly Link[], { checked = false } = {}) {
    this.size = chain[0]!.manifest.memory.size;
    this.runs = chain.map(({ state }) => state.runs).reduce(unite);
    try {
      for (const link of chain) this.#files.push(openMemoryFile(link, checked));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Fills a buffer with what is at an offset. At once, as what it takes is mostly the page cache's: small pieces by way of
   * another thread take ten times as long. Throws MAYFLY_CHECKPOINT_DAMAGED where a file ends too soon.
   */
  read(target: Uint8Array, offset: number): void {
    target.fill(0);
    for (const { fd, manifest, runs, hash } of this.#files) {
      for (const [start, length] of overlaps(runs, offset, target.length)) {
        const part = target.subarray(start - offset, start - offset + length);
        const bytesRead = readSync(fd, part, 0, length, start);
        if (bytesRead !== length) {
          const { name, memory } = manifest;
          throw damaged(`${name}: ${memory.file} ends at byte ${start + bytesRead}`);
        }
        hash?.update(part);
      }
    }
  }

  /** What is stored, in rising order, in pieces that are valid until the next. Others have their turns between. */
  async *pages(): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafe(BLOCK);
    let read = 0;
    for (const [offset, length] of pieces(this.runs)) {
      const piece = buffer.subarray(0, length);
      this.read(piece, offset);
      yield piece;
      read += length;
      if (read < BLOCK) continue;
      read = 0;
      await new Promise(setImmediate);
    }
  }

  /**
   * To be called once all of `runs` was read, once and in rising order.
   * Throws MAYFLY_CHECKPOINT_DAMAGED unless each file had what its manifest says.
   */
  check(): void {
    for (const file of this.#files) {
      const { name, memory } = file.manifest;
      const digest = file.hash?.digest('hex');
      file.hash = undefined;
      if (digest !== memory.sha256) throw damaged(`${name}: ${memory.file} has other content`);
    }
  }

  close(): void {
    for (const { fd } of this.#files.splice(0)) closeSync(fd);
  }
}

function openMemoryFile({ folder, manifest, state }: Link, checked: boolean): MemoryFile {
  const { name, memory } = manifest;
  let fd: number;
  try {
    fd = openSync(join(folder, memory.file), 'r');
  } catch (cause) {
    throw damaged(`${name}: ${memory.file} cannot be read`, cause);
  }
  const { size } = fstatSync(fd);
  const hash = checked ? createHash('sha256') : undefined;
  if (size === memory.size) return { fd, manifest, runs: state.runs, hash };
  closeSync(fd);
  throw damaged(`${name}: ${memory.file} has ${size} bytes, not ${memory.size}`);
}

/** Reads all that a checkpoint stores itself. Throws MAYFLY_CHECKPOINT_DAMAGED. */
export async function verifyMemory(link: Link, onBytes: OnBytes = () => {}): Promise<void> {
  const memory = new ChainMemory([link], { checked: true });
  try {
    for await (const { length } of memory.pages()) onBytes(length);
    memory.check();
  } finally {
    memory.close();
  }
}
