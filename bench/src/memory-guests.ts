/** Starts guests that wait, in batches, and prints for each what a guest took: KiB of its own pages, KiB beyond. */
import { readFileSync } from 'node:fs';
import { defaultImageDir, ImageStore, treeFromPrograms } from '@mayfly/image';
import { bootMachine, type Machine } from '@mayfly/vmm/machine';
import { guestProgram } from './programs.js';
import { scaled } from './scale.js';

const BATCHES = 8;
const BATCH = 20;
/** A size that no other mapping of this process has. */
const MEMORY_KIB = 66 * 1024;

const numberOf = (line: string) => Number(/\d+/.exec(line)?.[0]);

/** Memory of the host that is free or could be, in KiB. */
function available(): number {
  globalThis.gc?.();
  const line = readFileSync('/proc/meminfo', 'utf8')
    .split('\n')
    .find((l) => l.startsWith('MemAvailable:'));
  return numberOf(line ?? '');
}

/** KiB of the guests' memories that are there. */
function guestPages(): number {
  const mappings = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const field = (mapping: string, name: string) =>
    numberOf(mapping.split('\n').find((l) => l.startsWith(`${name}:`)) ?? '');
  return mappings
    .filter((mapping) => field(mapping, 'Size') === MEMORY_KIB)
    .reduce((sum, mapping) => sum + field(mapping, 'Rss'), 0);
}

function start(image: string): Machine {
  const program = guestProgram('hello');
  const machine = bootMachine({
    program,
    argv: [program, 'wait'],
    env: {},
    cwd: '/',
    images: [image],
    memoryBytes: MEMORY_KIB * 1024,
    console: { stdout() {}, stderr() {} },
  });
  for (;;) {
    const { kind } = machine.enter();
    if (kind === 'idle') return machine;
    if (kind !== 'slice') throw new Error(`the guest ${kind}`);
  }
}

const store = await ImageStore.open(defaultImageDir());
const { path } = await store.build(await treeFromPrograms([{ path: guestProgram('hello') }]));
const machines = [start(path)];
for (let batch = 0; batch < scaled(BATCHES); batch++) {
  const [free, pages] = [available(), guestPages()];
  for (let i = 0; i < BATCH; i++) machines.push(start(path));
  const own = guestPages() - pages;
  console.log(`${own / BATCH} ${(free - available() - own) / BATCH}`);
}
for (const machine of machines) machine.close();
