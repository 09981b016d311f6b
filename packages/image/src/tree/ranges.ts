import { closeSync, openSync, readSync } from 'node:fs';
import { MayflyError } from '@mayfly/protocol';
import { unreadable } from './folder.js';
import type { FileSourceOf } from './tree.js';

export type RangesSource = FileSourceOf & { kind: 'ranges' };

/** The bytes of a file that is made of ranges of another. */
export function readRanges(source: RangesSource): Buffer {
  const bytes = Buffer.alloc(source.size);
  const fd = openSync(source.hostPath, 'r');
  try {
    let at = 0;
    for (const { offset, length } of source.ranges) {
      if (offset !== undefined) readWhole(fd, bytes.subarray(at, at + length), offset);
      at += length;
    }
    return bytes;
  } catch (error) {
    throw error instanceof MayflyError ? error : unreadable(source.hostPath, error);
  } finally {
    closeSync(fd);
  }
}

function readWhole(fd: number, bytes: Buffer, offset: number): void {
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(fd, bytes, done, bytes.length - done, offset + done);
    if (count === 0) throw new Error('it became shorter while it was read');
    done += count;
  }
}
