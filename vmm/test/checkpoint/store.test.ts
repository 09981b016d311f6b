import {
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import type * as Tap from 'tap';
import t from 'tap';
import { missingFeatures } from '../../src/checkpoint/cpu.js';
import type { Manifest } from '../../src/checkpoint/manifest.js';
import { CheckpointStore } from '../../src/checkpoint/store.js';
import { treeOf } from '../../src/checkpoint/tree.js';
import { regsView } from '../../src/kvm/index.js';
import {
  captured,
  memoryOf,
  PAGE,
  type Pages,
  pagesIn,
  SIZE,
  scratchDir,
  stateOf,
} from './scratch.js';

const code = (name: string) => ({ code: `MAYFLY_CHECKPOINT_${name}` });

async function contentOf(store: CheckpointStore, name: string): Promise<Map<number, number>> {
  const { memoryFd, close } = await store.load(name);
  try {
    return pagesIn(memoryFd);
  } finally {
    close();
  }
}

async function setUp(test: Tap.Test) {
  const dir = scratchDir();
  test.teardown(() => dir.remove());
  const store = await CheckpointStore.open(dir.path);
  const create = async (name: string, pages: Pages, parent?: string, base?: Pages) => {
    const memory = memoryOf(pages);
    const baseMemory = base === undefined ? undefined : memoryOf(base);
    const manifest = await store.create(
      { name, ...(parent && { parent }) },
      captured(dir.path, memory),
      baseMemory,
    );
    memory.close();
    baseMemory?.close();
    return manifest;
  };
  return { dir: dir.path, store, create };
}

t.test('what was stored comes back', async (t) => {
  const { dir, store, create } = await setUp(t);
  const pages = new Map([
    [1, 7],
    [2, 8],
    [600, 9],
  ]);
  const manifest = await create('first', pages);
  t.same(await contentOf(store, 'first'), pages);
  t.match(manifest, {
    name: 'first',
    memory: { pages: 3, size: SIZE },
    command: ['/bin/true', 'x'],
  });
  const memory = statSync(join(dir, 'checkpoints/first', manifest.memory.file));
  t.ok(memory.blocks * 512 <= 4 * PAGE + 4096, 'zeros take no room');
  const { state, images, close } = await store.load(manifest.id);
  t.teardown(close);
  t.equal(regsView(state.vcpu.regs).rip, 1n);
  t.equal(state.capturedAt, 123456789012345678n);
  t.same(state.vcpu.msrs, stateOf(memoryOf(pages)).vcpu.msrs);
  t.equal(readFileSync(images[0]!, 'utf8'), 'not really an image');
  await store.verify('first');
});

t.test('a store that cannot keep what was found right is read all the same', async (t) => {
  const { dir, store, create } = await setUp(t);
  const pages = new Map([[1, 7]]);
  await create('full', pages);
  const verified = join(dir, 'checkpoints/full/verified');
  unlinkSync(verified);
  mkdirSync(verified);
  t.same(await contentOf(store, 'full'), pages);
  await store.verify('full');
});

t.test('a flipped bit anywhere in a manifest is refused', async (t) => {
  const { dir, store, create } = await setUp(t);
  const manifest = await create('one', new Map([[1, 7]]));
  const path = join(dir, 'checkpoints/one/manifest.json');
  const good = readFileSync(path);
  // What is there for nobody else is the checksum's own name: without it the rest is as it was.
  const name = good.lastIndexOf('"sha256"');
  const places = Array.from(good.keys()).filter((at) => at <= name || at >= name + 7);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), fc.nat(7), async (at, bit) => {
      const bytes = Buffer.from(good);
      bytes[at]! ^= 1 << bit;
      writeFileSync(path, bytes);
      await t.rejects(store.get('one'), { code: /^MAYFLY_CHECKPOINT_(DAMAGED|VERSION)$/ }, `${at}`);
    }),
    { numRuns: 300 },
  );
  const { sha256, ...older } = JSON.parse(good.toString());
  t.match(sha256, /^[0-9a-f]{64}$/);
  writeFileSync(path, JSON.stringify(older));
  t.same(await store.get('one'), manifest, 'older ones have no checksum');
});

t.test('names', async (t) => {
  const { store, create } = await setUp(t);
  await create('a', new Map());
  await t.rejects(create('a', new Map()), code('EXISTS'));
  for (const name of ['', '../x', '.hidden', 'a/b', 'x'.repeat(64), 'ü']) {
    await t.rejects(create(name, new Map()), code('BAD_NAME'), name);
  }
  await t.rejects(store.get('b'), code('UNKNOWN'));
  await t.rejects(store.remove('b'), code('UNKNOWN'));
  await t.rejects(create('c', new Map(), 'b'), code('UNKNOWN'));
  t.same(
    (await store.list()).map((m) => m.name),
    ['a'],
  );
});

t.test('a difference holds what changed, zeros included', async (t) => {
  const { store, create } = await setUp(t);
  const base = new Map([
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  const later = new Map([
    [1, 1],
    [2, 9],
    [700, 4],
  ]);
  await create('base', base);
  const diff = await create('later', later, 'base', base);
  t.equal(diff.memory.pages, 3);
  t.same(await contentOf(store, 'later'), later);
  const names = (nodes: ReturnType<typeof treeOf>): unknown =>
    nodes.map((n) => [n.manifest.name, names(n.children)]);
  t.same(names(treeOf(await store.list())), [['base', [['later', []]]]]);
  await store.remove('base');
  t.same(await contentOf(store, 'later'), later);
  t.equal((await store.get('later')).parent, undefined);
  await store.verify('later');
});

t.test('reverting, to the parent or any other', async (t) => {
  const { store, create } = await setUp(t);
  const [one, two, three] = [1, 2, 3].map((byte): Pages => new Map([[5, byte]]));
  await create('one', one!);
  await create('two', two!, 'one', one);
  await create('three', three!, 'two', two);
  await t.rejects(store.revert('one'), code('ROOT'));
  await t.rejects(store.revert('two', 'four'), code('UNKNOWN'));
  await store.revert('two');
  t.same(await contentOf(store, 'two'), one);
  t.same(await contentOf(store, 'three'), three, 'a child keeps its content');
  const { memory, parent } = await store.get('two');
  t.match({ pages: memory.pages, parent }, { pages: 0, parent: (await store.get('one')).id });
  await store.revert('one', 'three');
  t.same(await contentOf(store, 'one'), three);
  t.same(await contentOf(store, 'two'), one);
  const before = await store.get('one');
  t.same(await store.revert('one', 'one'), before, 'to itself: nothing happens');
});

t.test(
  'reverting to any point of a tree while clones run: they keep what they were made from',
  async (t) => {
    const { store, create } = await setUp(t);
    const names = ['a', 'b', 'c', 'd', 'e', 'side'];
    const pages = new Map(names.map((name, i): [string, Pages] => [name, new Map([[5, i + 1]])]));
    const parents = [undefined, 'a', 'b', 'c', 'd', 'c'] as const;
    for (const [i, name] of names.entries()) {
      const parent = parents[i];
      await create(name, pages.get(name)!, parent, parent && pages.get(parent));
    }
    const running = await Promise.all(names.map((name) => store.load(name)));
    t.teardown(() => {
      for (const { close } of running) close();
    });
    for (const [name, to] of [
      ['c', 'a'],
      ['a', 'e'],
      ['side', 'b'],
      ['d', 'side'],
    ] as const) {
      await store.revert(name, to);
      pages.set(name, pages.get(to)!);
      for (const other of names) {
        t.same(
          await contentOf(store, other),
          pages.get(other),
          `${other}, when ${name} was reverted`,
        );
      }
    }
    await store.remove('b');
    for (const [i, { memoryFd, images }] of running.entries()) {
      t.same(pagesIn(memoryFd), new Map([[5, i + 1]]));
      t.equal(readFileSync(images[0]!, 'utf8'), 'not really an image');
    }
  },
);

t.test('any order of taking, reverting and removing keeps each content', async (t) => {
  const pagesArbitrary = fc.map(fc.nat(40), fc.integer({ min: 1, max: 255 }), { maxKeys: 6 });
  const step = fc.oneof(
    fc.record({ parent: fc.nat(9), pages: pagesArbitrary }),
    fc.record({ remove: fc.nat(9) }),
    fc.record({ revert: fc.nat(9), to: fc.nat(9) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), async (steps) => {
      const dir = scratchDir();
      const store = await CheckpointStore.open(dir.path);
      const model = new Map<string, Pages>();
      for (const [i, s] of steps.entries()) {
        const names = [...model.keys()];
        if ('remove' in s) {
          const name = names[s.remove];
          if (name === undefined) continue;
          await store.remove(name);
          model.delete(name);
        } else if ('revert' in s) {
          const [name, to] = [names[s.revert], names[s.to]];
          if (name === undefined || to === undefined) continue;
          await store.revert(name, to);
          model.set(name, model.get(to)!);
        } else {
          const parent = names[s.parent];
          const base = parent === undefined ? undefined : memoryOf(model.get(parent)!);
          const memory = memoryOf(s.pages);
          const options = { name: `c${i}`, ...(parent && { parent }) };
          await store.create(options, captured(dir.path, memory), base);
          memory.close();
          base?.close();
          model.set(`c${i}`, s.pages);
        }
      }
      t.same(
        (await store.list()).map((m) => m.name),
        [...model.keys()].sort(),
      );
      for (const [name, pages] of model)
        t.same(await contentOf(store, name), new Map([...pages].sort(([a], [b]) => a - b)));
      const layers = await readdir(join(dir.path, 'layers'));
      t.equal(layers.length, model.size > 0 ? 1 : 0, 'no layer too many');
      dir.remove();
    }),
    { numRuns: 25 },
  );
});

t.test('damage is refused with what is wrong', async (t) => {
  const { dir, store, create } = await setUp(t);
  const manifests: Manifest[] = [];
  const fresh = async (name: string) => {
    const manifest = await create(
      name,
      new Map([
        [1, 7],
        [5, 8],
      ]),
    );
    manifests.push(manifest);
    return { manifest, folder: join(dir, 'checkpoints', name) };
  };
  const edit = async (folder: string, change: (m: Record<string, unknown>) => void) => {
    const path = join(folder, 'manifest.json');
    const { sha256: _, ...manifest } = JSON.parse(await readFile(path, 'utf8'));
    change(manifest);
    await writeFile(path, JSON.stringify(manifest));
  };
  const flip = (path: string, at: number) => {
    const bytes = readFileSync(path);
    bytes[at]! ^= 1;
    writeFileSync(path, bytes);
  };
  const load = async (name: string) => (await store.load(name)).close();

  let { manifest, folder } = await fresh('memory');
  await load('memory');
  flip(join(folder, manifest.memory.file), 5 * PAGE + 17);
  await t.rejects(load('memory'), { ...code('DAMAGED'), message: /memory-.*other content/ });
  await t.rejects(store.verify('memory'), code('DAMAGED'));

  await create('child', new Map([[1, 8]]), 'memory', new Map([[1, 7]]));
  await t.rejects(store.remove('memory'), code('DAMAGED'), 'damage does not pass to a child');
  t.match(await store.list(), [{ name: 'child' }, { name: 'memory' }]);

  ({ manifest, folder } = await fresh('short'));
  truncateSync(join(folder, manifest.memory.file), SIZE - PAGE);
  await t.rejects(load('short'), { ...code('DAMAGED'), message: /bytes, not/ });

  ({ manifest, folder } = await fresh('gone'));
  unlinkSync(join(folder, manifest.memory.file));
  await t.rejects(load('gone'), { ...code('DAMAGED'), message: /cannot be read/ });

  ({ manifest, folder } = await fresh('state'));
  flip(join(folder, manifest.state.file), 3);
  await t.rejects(load('state'), { ...code('DAMAGED'), message: /state-/ });

  ({ folder } = await fresh('version'));
  await edit(folder, (m) => Object.assign(m, { version: 2 }));
  await t.rejects(load('version'), { ...code('VERSION'), message: /format version 2/ });
  unlinkSync(join(folder, 'manifest.json'));

  ({ folder } = await fresh('abi'));
  await edit(folder, (m) => Object.assign(m, { abi: 9999 }));
  await t.rejects(load('abi'), { ...code('VERSION'), message: /guest kernel ABI 9999 \(this/ });
  await edit(folder, (m) => {
    (m.cpu as { features: string[] }).features.push('warp');
    (m.state as { version: number }).version = 77;
  });
  const all = /ABI 9999 .*; state version 77 .*; Mayfly [0-9.]+ took it; CPU features warp/;
  await t.rejects(load('abi'), { ...code('VERSION'), message: all }, 'the whole list');

  ({ folder } = await fresh('kernel'));
  const kernel = 'f'.repeat(64);
  await edit(folder, (m) => Object.assign(m, { kernel }));
  t.match(await create('of-kernel', new Map(), 'kernel', new Map()), { kernel }, 'the parent’s');

  ({ folder } = await fresh('cpu'));
  await edit(folder, (m) => (m.cpu as { features: string[] }).features.push('avx1024', 'warp'));
  await t.rejects(load('cpu'), { ...code('CPU'), message: /CPU features avx1024, warp \(it was/ });

  ({ folder } = await fresh('orphan'));
  await edit(folder, (m) => Object.assign(m, { parent: '0123456789abcdef' }));
  await t.rejects(load('orphan'), { ...code('DAMAGED'), message: /parent/ });

  ({ folder, manifest } = await fresh('layer'));
  const layer = join(dir, 'layers', `${manifest.layers[0]!.digest}.erofs`);
  const content = readFileSync(layer);
  flip(layer, 3);
  await t.rejects(load('layer'), { ...code('DAMAGED'), message: /layer .* other content/ });
  writeFileSync(layer, content.subarray(1));
  await t.rejects(load('layer'), { ...code('DAMAGED'), message: /bytes, not/ });
  unlinkSync(layer);
  await t.rejects(load('layer'), { ...code('DAMAGED'), message: /layer .* is missing/ });

  ({ folder } = await fresh('json'));
  writeFileSync(join(folder, 'manifest.json'), '{"format": "mayfly-checkpoint", ');
  await t.rejects(store.get('json'), { ...code('DAMAGED'), message: /not JSON/ });
  for (const name of [
    'id',
    'name',
    'createdAt',
    'command',
    'abi',
    'cpu',
    'memory',
    'state',
    'layers',
  ]) {
    writeFileSync(
      join(folder, 'manifest.json'),
      JSON.stringify({ ...manifests.at(-1), [name]: null }),
    );
    await t.rejects(store.get('json'), { ...code('DAMAGED'), message: new RegExp(name) });
  }
});

t.test('of processors, only what not every host of ours has is wanted', async (t) => {
  const cpu = (...features: string[]) => ({ vendor: 'any', model: 'any', features });
  t.same(missingFeatures(cpu('avx', 'fsgsbase', 'lm', 'sse'), cpu('sse')), ['avx']);
});
