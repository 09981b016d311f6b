/** A difference on a full disk is put together with its parents elsewhere. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { installFaults, withFault } from './fault.js';
import { pagesIn, scratchDir } from './scratch.js';

await installFaults();
const { CheckpointStore } = await import('../../src/checkpoint/store.js');
const { content, prepare } = await import('./steps.js');

t.test('whatever call of loading it finds the disk full', async (t) => {
  const [dir, cache] = [scratchDir(), scratchDir()];
  t.teardown(() => {
    dir.remove();
    cache.remove();
  });
  process.env.XDG_CACHE_HOME = join(cache.path, 'new');
  await prepare(dir.path);
  const store = await CheckpointStore.open(dir.path);
  const load = async () => {
    const { memoryFd, close } = await store.load('leaf');
    t.same(pagesIn(memoryFd), content.leaf);
    close();
  };
  const { calls } = await withFault('none', 0, load);
  t.ok(calls >= 3, `${calls} calls`);
  t.notOk(existsSync(process.env.XDG_CACHE_HOME), 'not needed');
  for (let at = 1; at <= calls; at++) {
    t.match(await withFault('ENOSPC', at, load), { end: 'ended' }, `call ${at}`);
  }
  t.ok(existsSync(process.env.XDG_CACHE_HOME));
});

t.test('where there is no room anywhere, that is told of the store', async (t) => {
  const dir = scratchDir();
  t.teardown(() => dir.remove());
  process.env.XDG_CACHE_HOME = join(dir.path, 'file/below');
  await prepare(dir.path);
  const { writeFile } = await import('node:fs/promises');
  await writeFile(join(dir.path, 'file'), '');
  const store = await CheckpointStore.open(dir.path);
  (await store.load('leaf')).close();
  const { code } = await withFault('ENOSPC', 1, () => store.load('leaf'));
  t.equal(code, 'MAYFLY_CHECKPOINT_STORE_FULL');
});
