/** Stored guest memory: a sparse file, pages at their own offsets, and the runs of pages that are stored. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { GuestMemory } from '../kvm/index.js';
import { PAGE } from './manifest.js';

/** Pages that are read or written at once: 2 MiB, the size of a large folio. */
const CHUNK = 512;
export const BLOCK = CHUNK * PAGE;

/** [first page, count], in bytes, in pieces none of which crosses a boundary of 2 MiB. */
export function* pieces(runs: Uint32Array): Generator<[offset: number, length: number]> {
  for (let i = 0; i < runs.length; i += 2) {
    const [first, count] = [runs[i]!, runs[i + 1]!];
    for (let at = first; at < first + count; at += CHUNK - (at % CHUNK)) {
      yield [at * PAGE, Math.min(CHUNK - (at % CHUNK), first + count - at) * PAGE];
    }
  }
}

export function countPages(runs: Uint32Array): number {
  let pages = 0;
  for (let i = 1; i < runs.length; i += 2) pages += runs[i]!;
  return pages;
}

/** Told how many bytes were worked on since the last call. */
export type OnBytes = (bytes: number) => void;

/** Writes and syncs a new file; the SHA-256 of what is stored. */
export async function writePages(
  path: string,
  size: number,
  runs: Uint32Array,
  read: (offset: number, length: number) => Uint8Array | Promise<Uint8Array>,
  onBytes: OnBytes = () => {},
): Promise<string> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.truncate(size);
    const hash = createHash('sha256');
    for (const [offset, length] of pieces(runs)) {
      const bytes = await read(offset, length);
      hash.update(bytes);
      await writeAll(file, bytes, offset);
      onBytes(length);
    }
    await file.sync();
    GuestMemory.uncache(file.fd); // what reads it next maps it
    return hash.digest('hex');
  } finally {
    await file.close();
  }
}

/** For writePages: pages of a machine that stands still. */
export function pagesOf(memory: GuestMemory): (offset: number, length: number) => Uint8Array {
  return (offset, length) => new Uint8Array(memory.buffer, offset, length);
}

/** What of runs lies within `length` bytes from `offset`, both multiples of a page: [offset, length] in bytes, rising. */
export function* overlaps(
  runs: Uint32Array,
  offset: number,
  length: number,
): Generator<[offset: number, length: number]> {
  const [first, end] = [offset / PAGE, (offset + length) / PAGE];
  for (let i = firstBehind(runs, first); i < runs.length && runs[i]! < end; i += 2) {
    const from = Math.max(first, runs[i]!);
    yield [from * PAGE, (Math.min(end, runs[i]! + runs[i + 1]!) - from) * PAGE];
  }
}

/** The index of the first run that ends behind the start of a page. */
function firstBehind(runs: Uint32Array, page: number): number {
  let [low, high] = [0, runs.length / 2];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[2 * middle]! + runs[2 * middle + 1]! > page) high = middle;
    else low = middle + 1;
  }
  return 2 * low;
}

/** Writes all of the bytes at an offset of a file. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

/** The runs of pages that are in `a` or `b`. */
export function unite(a: Uint32Array, b: Uint32Array): Uint32Array {
  const all: [number, number][] = [];
  for (const runs of [a, b]) {
    for (let i = 0; i < runs.length; i += 2) all.push([runs[i]!, runs[i]! + runs[i + 1]!]);
  }
  all.sort(([x], [y]) => x - y);
  const united: [number, number][] = [];
  for (const [start, end] of all) {
    const last = united.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else united.push([start, end]);
  }
  return Uint32Array.from(united.flatMap(([start, end]) => [start, end - start]));
}

/** Whether runs are what they should be: rising, apart, inside a memory of `size` bytes. */
export function areRuns(runs: unknown, size: number): runs is Uint32Array {
  if (!(runs instanceof Uint32Array) || runs.length % 2 !== 0) return false;
  let end = -1;
  for (let i = 0; i < runs.length; i += 2) {
    if (runs[i]! <= end || runs[i + 1] === 0) return false;
    end = runs[i]! + runs[i + 1]!;
    if (end * PAGE > size) return false;
  }
  return true;
}
