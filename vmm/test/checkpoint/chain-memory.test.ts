/** Chains read as one memory, and compared, against a model: maps of pages. */
import fc from 'fast-check';
import t from 'tap';
import { ChainMemory, CheckpointStore, diffCheckpoints } from '../../src/checkpoint/index.js';
import { captured, memoryOf, PAGE, type Pages, SIZE, scratchDir } from './scratch.js';

const PAGES = SIZE / PAGE;
/** Few, so that they lie next to each other and again in other checkpoints; 512 begins the second block of 2 MiB. */
const page = fc.oneof(fc.integer({ min: 505, max: 520 }), fc.constantFrom(0, 1, PAGES - 1));
const change = fc.array(fc.tuple(page, fc.nat(3)), { maxLength: 12 });

/** What a memory is after pages of it were filled with a byte. */
function changed(pages: Pages, changes: readonly (readonly [number, number])[]): Pages {
  return new Map([...new Map([...pages, ...changes])].filter(([, byte]) => byte !== 0));
}

function bytesOf(pages: Pages, first: number, count: number): Buffer {
  const bytes = Buffer.alloc(count * PAGE);
  for (let i = 0; i < count; i++) bytes.fill(pages.get(first + i) ?? 0, i * PAGE, (i + 1) * PAGE);
  return bytes;
}

/** A store with a chain, whose checkpoints are called 0, 1 and so on, and a second child of the first. */
async function storeOf(dir: string, contents: readonly Pages[], side: Pages) {
  const store = await CheckpointStore.open(dir);
  const create = async (name: string, pages: Pages, parent?: number) => {
    const memory = memoryOf(pages);
    const base = parent === undefined ? undefined : memoryOf(contents[parent]!);
    const options = { name, ...(parent !== undefined && { parent: `${parent}` }) };
    await store.create(options, captured(dir, memory), base);
    memory.close();
    base?.close();
  };
  for (const [i, pages] of contents.entries()) {
    await create(`${i}`, pages, i === 0 ? undefined : i - 1);
  }
  await create('side', side, 0);
  return store;
}

t.test('any part of any chain, and what sets any two apart', async (t) => {
  const numbers = fc.array(change, { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(numbers, change, page, fc.integer({ min: 1, max: 512 }), async (...input) => {
      const [changes, aside, first, most] = input;
      const contents: Pages[] = [];
      for (const one of changes) contents.push(changed(contents.at(-1) ?? new Map(), one));
      const side = changed(contents[0]!, aside);
      const dir = scratchDir();
      const store = await storeOf(dir.path, contents, side);
      const all = new Map<number | string, Pages>([...contents.entries(), ['side', side]]);
      for (const [name, pages] of all) {
        const chain = await store.chain(await store.lineage(await store.get(`${name}`)));
        const memory = new ChainMemory(chain, { checked: true });
        const count = Math.min(most, PAGES - first);
        const part = new Uint8Array(count * PAGE).fill(99);
        const other = new ChainMemory(chain);
        other.read(part, first * PAGE);
        other.close();
        t.ok(bytesOf(pages, first, count).equals(part));
        const stored: Buffer[] = [];
        for await (const piece of memory.pages()) stored.push(Buffer.from(piece));
        const wanted: Buffer[] = [];
        for (let i = 0; i < memory.runs.length; i += 2) {
          wanted.push(bytesOf(pages, memory.runs[i]!, memory.runs[i + 1]!));
        }
        t.ok(Buffer.concat(stored).equals(Buffer.concat(wanted)));
        t.doesNotThrow(() => memory.check());
        memory.close();
        for (const [other, others] of all) {
          const differ = Array.from({ length: PAGES }, (_, i) => i).filter(
            (i) => (pages.get(i) ?? 0) !== (others.get(i) ?? 0),
          );
          const { regions, pages: sum } = await diffCheckpoints(store, `${name}`, `${other}`);
          const found = regions
            .flatMap(({ runs }) => runs)
            .flatMap(([at, length]) => Array.from({ length }, (_, i) => at + i));
          t.same(
            found.sort((a, b) => a - b),
            differ,
            `${name} to ${other}`,
          );
          t.equal(sum, differ.length);
        }
      }
      dir.remove();
    }),
    { numRuns: 15 },
  );
});
