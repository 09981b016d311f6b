/** Templates on disk are found again by what they are made from. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CheckpointStore } from '../../src/checkpoint/index.js';
import { StoredTemplates } from '../../src/pool/stored-templates.js';
import type { TemplateSpec } from '../../src/pool/types.js';
import { bootedMemory, scratchDir, stateOf } from '../checkpoint/scratch.js';

const dir = scratchDir();
t.teardown(() => dir.remove());
const directory = join(dir.path, 'store');
const image = join(dir.path, `${'ab'.repeat(32)}.erofs`);
writeFileSync(image, 'not really an image');
const memory = bootedMemory();

const spec: TemplateSpec = {
  name: 'f@1-1234',
  images: [image],
  argv: ['/bin/agent'],
  env: { A: 'b' },
  memoryBytes: memory.size,
  bootTimeoutMs: 1000,
  stored: { group: 'f', version: '1' },
};

async function keep(templates: StoredTemplates, of: TemplateSpec, head: unknown) {
  const place = await templates.place(of, head);
  if (place === undefined) return undefined;
  const captured = { memory, state: stateOf(memory), images: of.images, command: of.argv };
  return CheckpointStore.ofOpened(directory).create(place, captured);
}

async function headOf(templates: StoredTemplates, of: TemplateSpec): Promise<unknown> {
  const found = await templates.load(of);
  found?.loaded.close();
  return found?.readyHead;
}

t.test('the same things give the same template, others do not', async (t) => {
  const templates = new StoredTemplates(directory);
  t.equal(await headOf(templates, spec), undefined);
  const manifest = await keep(templates, spec, { type: 'ready' });
  t.match(manifest?.name, /^template-f\.1-[0-9a-f]{8}$/);
  const later = new StoredTemplates(directory);
  t.same(await headOf(later, { ...spec, name: 'f@1-5678' }), { type: 'ready' });
  for (const other of [
    { env: { A: 'c' } },
    { argv: ['/bin/other'] },
    { cwd: '/tmp' },
    { memoryBytes: memory.size * 2 },
    { images: [image, image] },
    { stored: { group: 'f', version: '2' } },
    { stored: { group: 'f.1', version: '' } },
  ]) {
    t.equal(await headOf(later, { ...spec, ...other }), undefined, JSON.stringify(other));
  }
  const { stored: _, ...unstored } = spec;
  t.equal(await keep(later, unstored, {}), undefined);
  t.equal(await keep(later, { ...spec, images: ['/dev/null'] }, {}), undefined);
  t.equal(await keep(later, spec, { log: 'x'.repeat(70_000) }), undefined, 'a head without end');
});

t.test('one of other things, or a broken one, makes room', async (t) => {
  const templates = new StoredTemplates(directory);
  const changed = { ...spec, env: {} };
  const manifest = await keep(templates, changed, 'new');
  t.equal(await headOf(templates, changed), 'new');
  t.equal(await headOf(templates, spec), undefined);
  const folder = join(directory, 'checkpoints', manifest!.name);
  writeFileSync(join(folder, 'manifest.json'), '{');
  t.equal(await headOf(templates, changed), undefined);
  await keep(templates, changed, 'newer');
  t.equal(await headOf(templates, changed), 'newer');
});

t.test('prune', async (t) => {
  const templates = new StoredTemplates(directory);
  const versions = ['1', '2', '3'].map((version) => ({ ...spec, stored: { group: 'p', version } }));
  for (const of of versions) await keep(templates, of, of.stored.version);
  await templates.prune('p', ['1', '3']);
  t.same(await Promise.all(versions.map((of) => headOf(templates, of))), ['1', undefined, '3']);
  await templates.prune('p', []);
  t.same(await Promise.all(versions.map((of) => headOf(templates, of))), [
    undefined,
    undefined,
    undefined,
  ]);
  t.not(await headOf(templates, { ...spec, env: {} }), undefined, 'others stay');
  mkdirSync(join(directory, 'checkpoints', 'broken'));
  await templates.prune('p', []);
});
