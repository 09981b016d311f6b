/**
 * What a clone's first touch of its template's memory costs the host, by what holds that memory. Without KVM: a guest's fault
 * comes on top, and goes by the same large or small folios.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { kvm } from '@mayfly/vmm';
import { flatten, type Link, pagesOf, writePages } from '@mayfly/vmm/checkpoint';
import type { Benchmark, Measurement } from './benchmark.js';
import { scaled } from './scale.js';
import { quantile } from './statistics.js';
import { scratchFolder } from './templates.js';

const { GuestMemory } = kvm;
const SIZE = 64 << 20;
const PAGE = 4096;
/** Pages that are not zeros come in runs, as in the memory of a real guest. */
const [RUN, GAP] = [37, 11];
const ROUNDS = 20;

const runs = Uint32Array.from(
  Array.from({ length: Math.floor(SIZE / PAGE / (RUN + GAP)) }, (_, i) => [
    i * (RUN + GAP),
    RUN,
  ]).flat(),
);

function* pages(): Generator<number> {
  for (let i = 0; i < runs.length; i += 2) {
    for (let page = runs[i]!; page < runs[i]! + RUN; page++) yield page * PAGE;
  }
}
const offsets = Uint32Array.from(pages());

/** A stored template and a difference to it, of which every page is the template's too, put together. */
function flattened(folder: string): Promise<number> {
  const link = { folder, manifest: { memory: { file: 'stored', size: SIZE } }, state: { runs } };
  const half = 2 * Math.floor(runs.length / 4);
  const some = { ...link, state: { runs: runs.subarray(0, half) } };
  return flatten(folder, [link, some] as unknown as Link[]);
}

function template(): kvm.GuestMemory {
  const memory = GuestMemory.anonymous(SIZE, { huge: true });
  const bytes = new Uint8Array(memory.buffer);
  for (const offset of offsets) bytes.fill(7, offset, offset + PAGE);
  return memory;
}

/** Nanoseconds a page, of a new mapping's first reads or writes. */
function touch(fd: number, write: boolean): number {
  const memory = GuestMemory.privateFile(fd, SIZE);
  const bytes = new Uint8Array(memory.buffer);
  let sum = 0;
  const start = performance.now();
  if (write) for (const offset of offsets) bytes[offset] = 1;
  else for (const offset of offsets) sum += bytes[offset]!;
  const ns = ((performance.now() - start) * 1e6) / offsets.length;
  memory.close();
  if (!write && sum !== 7 * offsets.length) throw new Error('the file has other content');
  return ns;
}

async function measure(): Promise<Measurement> {
  const scratch = scratchFolder();
  const memory = template();
  const small = GuestMemory.memfd(SIZE);
  const path = join(scratch.path, 'stored');
  try {
    await writePages(path, SIZE, runs, pagesOf(memory));
    const stored = openSync(path, 'r');
    const fromDisk = touch(stored, false);
    const captured = openSync(join(scratch.path, 'captured'), 'w+');
    memory.writeTo(captured);
    new Uint8Array(small.buffer).set(new Uint8Array(memory.buffer));
    const difference = await flattened(scratch.path);
    const kinds = { stored, captured, difference, memfd: small.fd };
    const seen = Object.fromEntries(
      Object.keys(kinds).map((name) => [name, { read: [] as number[], write: [] as number[] }]),
    );
    for (let round = 0; round < scaled(ROUNDS); round++) {
      for (const [name, fd] of Object.entries(kinds)) {
        seen[name]!.read.push(touch(fd, false));
        seen[name]!.write.push(touch(fd, true));
      }
    }
    for (const fd of [stored, captured, difference]) closeSync(fd);
    const median = (name: string, how: 'read' | 'write') => quantile(seen[name]![how], 0.5);
    return {
      samples: seen.stored!.read,
      floor: seen.captured!.read,
      details: {
        storedFromDisk: fromDisk,
        storedWrite: median('stored', 'write'),
        capturedWrite: median('captured', 'write'),
        difference: median('difference', 'read'),
        differenceWrite: median('difference', 'write'),
        memfd: median('memfd', 'read'),
        memfdWrite: median('memfd', 'write'),
      },
    };
  } finally {
    memory.close();
    small.close();
    scratch.remove();
  }
}

export const templateMemory: Benchmark = {
  name: 'template-memory',
  unit: 'ns',
  about:
    'first read of a page of a stored template, mapped, on the host alone; floor: of a template in memory',
  run: measure,
};
