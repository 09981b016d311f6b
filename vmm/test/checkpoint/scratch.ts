/** Machines that were never run, for tests of the store: memory with known pages and some state. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Captured } from '../../src/checkpoint/store.js';
import { GuestMemory } from '../../src/kvm/index.js';

export const PAGE = 4096;
export const SIZE = 4 << 20;

export function scratchDir(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'mayfly-checkpoint-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Pages by number, each filled with one byte. */
export type Pages = ReadonlyMap<number, number>;

export function memoryOf(pages: Pages): GuestMemory {
  const memory = GuestMemory.anonymous(SIZE);
  for (const [page, byte] of pages) new Uint8Array(memory.buffer, page * PAGE, PAGE).fill(byte);
  return memory;
}

/** What a memory file holds, as memoryOf() takes it; the pages of zeros are left out. */
export function pagesIn(memoryFd: number): Map<number, number> {
  const memory = GuestMemory.privateFile(memoryFd, SIZE);
  const runs = memory.runs();
  const pages = new Map<number, number>();
  for (let i = 0; i < runs.length; i += 2) {
    for (let page = runs[i]!; page < runs[i]! + runs[i + 1]!; page++) {
      pages.set(page, new Uint8Array(memory.buffer, page * PAGE, 1)[0]!);
    }
  }
  memory.close();
  return pages;
}

export function captured(dir: string, memory: GuestMemory, mark = 1): Captured {
  const image = join(dir, 'image.erofs');
  writeFileSync(image, 'not really an image');
  return {
    memory,
    images: [image],
    command: ['/bin/true', 'x'],
    state: {
      vcpu: {
        regs: Uint8Array.of(mark, 2, 3).buffer,
        sregs: Uint8Array.of(4, 5).buffer,
        xsave: undefined,
        xcrs: Uint8Array.of(6).buffer,
        msrs: [[0xc0000081, 0x23001000000000n]],
      },
      devices: { version: 1, transports: [] },
      capturedAt: 123456789012345678n,
    },
  };
}
