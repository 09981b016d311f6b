/** Clones that come and go by the thousand: nothing of them may stay. Exits with 1 when something does. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CLONE_SETTINGS, Stock, Supplies } from '@mayfly/vmm/clones';
import { privateKib } from './host-memory.js';
import { bootTemplate, checkAnswer, eventFrame, type Guest, scratchFolder } from './templates.js';

const USAGE = `npm run -s soak -- [--count N] [--guest static|node] [--json]
Makes N clones (10000), lets each answer, rewinds every other one and lets it answer again, closes it. Looks at the process's file
descriptors, mappings, threads and private memory after a tenth of them and after each further tenth. --json prints
{ok, leaks, samples: [{clones, descriptors, mappings, threads, privateKib}]} at the end.`;

const DEADLINE_MS = 120_000;
const TENTHS = 10;
/** JavaScript's own heap grows and shrinks by this much; a leak of a page a clone is ten times that in 10,000. */
const HEAP_KIB = 4096;
const HEAP_MAPPINGS = 24;

/**
 * Mappings that have a file (guest memory, images, pages of vCPUs) or are large (address ranges that are kept): the others are
 * those of heaps, which grow and shrink in pieces of 256 KiB.
 */
function mappings(): number {
  const lines = readFileSync('/proc/self/maps', 'latin1').trimEnd().split('\n');
  return lines.filter((line) => {
    const [, start, end, path] = /^(\w+)-(\w+) \S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
    const isNamed = path !== undefined && /^[^[]/.test(path);
    return isNamed || Number(`0x${end}`) - Number(`0x${start}`) >= HEAP_PIECE_MAX;
  }).length;
}
const HEAP_PIECE_MAX = 4 << 20;

interface Sample {
  clones: number;
  descriptors: number;
  mappings: number;
  threads: number;
  privateKib: number;
}

function sample(clones: number): Sample {
  return {
    clones,
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: mappings(),
    threads: readdirSync('/proc/self/task').length,
    privateKib: privateKib(),
  };
}

/** What `last` has more than `first` in a way that clones explain and the heap does not. */
function leaksBetween(first: Sample, last: Sample): string[] {
  const more = (key: keyof Sample) => last[key] - first[key];
  const clones = more('clones');
  const kib = more('privateKib');
  return [
    ...(more('descriptors') > 0 ? [`${more('descriptors')} file descriptors`] : []),
    ...(more('threads') > 0 ? [`${more('threads')} threads`] : []),
    ...(more('mappings') > HEAP_MAPPINGS ? [`${more('mappings')} mappings`] : []),
    ...(kib > HEAP_KIB + clones ? [`${kib} KiB of memory in ${clones} clones`] : []),
  ];
}

/** Descriptors and mappings of KVM, when all is closed. */
function remainders(): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the one that listed them
    }
  });
  const descriptors = targets.filter((target) => target.startsWith('anon_inode:kvm')).length;
  const mappings = readFileSync('/proc/self/maps', 'latin1').match(/anon_inode:kvm/g)?.length ?? 0;
  return [
    ...(descriptors > 0 ? [`${descriptors} descriptors of KVM at the end`] : []),
    ...(mappings > 0 ? [`${mappings} mappings of KVM at the end`] : []),
  ];
}

async function run(guest: Guest, total: number, onSample: (sample: Sample) => void) {
  const scratch = scratchFolder();
  const supplies = new Supplies(CLONE_SETTINGS);
  const stock = new Stock(await bootTemplate(guest, scratch.path), supplies, CLONE_SETTINGS);
  const frame = eventFrame();
  const live = async (i: number) => {
    const clone = stock.make();
    try {
      const answer = () => clone.invoke(frame, performance.now() + DEADLINE_MS);
      checkAnswer((await answer()).head);
      if (i % 2 === 1 && clone.rewind()) {
        stock.learn(clone);
        checkAnswer((await answer()).head);
      }
    } finally {
      clone.close();
    }
    supplies.addShell();
  };
  try {
    const each = Math.max(1, Math.floor(total / TENTHS));
    for (let clones = 1; clones <= total; clones++) {
      await live(clones);
      if (clones % each === 0) onSample(sample(clones));
    }
  } finally {
    stock.close();
    supplies.close();
    scratch.remove();
  }
}

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    guest: { type: 'string', default: 'static' },
    json: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
const total = Number(values.count);
const guest = values.guest as Guest;
if (values.help === true) {
  console.log(USAGE);
} else if (!(Number.isInteger(total) && total > 1) || !['static', 'node'].includes(guest)) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  const samples: Sample[] = [];
  await run(guest, total, (seen) => {
    samples.push(seen);
    if (values.json !== true) console.log(JSON.stringify(seen));
  });
  const leaks = [...leaksBetween(samples[0]!, samples.at(-1)!), ...remainders()];
  if (values.json === true) console.log(JSON.stringify({ ok: leaks.length === 0, leaks, samples }));
  else console.log(leaks.length === 0 ? 'nothing leaked' : `leaked: ${leaks.join(', ')}`);
  process.exitCode = leaks.length === 0 ? 0 : 1;
}
