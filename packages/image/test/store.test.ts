import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ImageStore, Tree, treeFromFolder, treeFromPrograms } from '../src/index.js';
import { fsckErofs } from './support/fsck.js';
import { ATTRIBUTES, fileOf, treeOf } from './support/random-tree.js';

const base = mkdtempSync(join(tmpdir(), 'mayfly-store-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

function folderWith(files: Record<string, string>): string {
  const dir = mkdtempSync(join(base, 'folder-'));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(dir, name), content);
    utimesSync(join(dir, name), 1000, 1000);
  }
  utimesSync(dir, 1000, 1000);
  return dir;
}

function storeDir(): string {
  return mkdtempSync(join(base, 'store-'));
}

t.test('an image is named by its digest and can be looked into', async (t) => {
  const store = await ImageStore.open(storeDir());
  const built = await store.build(treeOf([fileOf('/etc/x', Buffer.from('hello'))]));
  t.equal(createHash('sha256').update(readFileSync(built.path)).digest('hex'), built.digest);
  fsckErofs(built.path);
  t.same(await store.list(), [built]);
  t.same(await store.get(built.digest), built);
  const { entries } = await store.inspect(built.digest);
  t.same(
    entries.map(({ path }) => path),
    ['/', '/etc', '/etc/x'],
  );
});

t.test('the same tree is built once, also after opening anew', async (t) => {
  const dir = storeDir();
  const store = await ImageStore.open(dir);
  const folder = folderWith({ a: 'one', b: 'two' });
  let writes = 0;
  const onProgress = () => void writes++;
  const first = await store.build(await treeFromFolder(folder), { onProgress });
  t.ok(writes > 0);
  writes = 0;
  t.same(await store.build(await treeFromFolder(folder), { onProgress }), first);
  const again = await ImageStore.open(dir);
  t.same(await again.build(await treeFromFolder(folder), { onProgress }), first);
  t.equal(writes, 0);
});

t.test('a hit on node takes milliseconds', async (t) => {
  const store = await ImageStore.open(storeDir());
  const tree = await treeFromPrograms([{ path: process.execPath }]);
  const first = await store.build(tree);
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    t.same(await store.build(tree), first);
    times.push(performance.now() - start);
  }
  t.ok(Math.min(...times) < 50, `fastest hit: ${Math.min(...times).toFixed(1)} ms`);
});

t.test('equal content from another folder is the same image; a change is another', async (t) => {
  const store = await ImageStore.open(storeDir());
  const one = await store.build(await treeFromFolder(folderWith({ a: 'one' })));
  const same = await store.build(await treeFromFolder(folderWith({ a: 'one' })));
  const other = await store.build(await treeFromFolder(folderWith({ a: 'two' })));
  t.equal(same.digest, one.digest);
  t.not(other.digest, one.digest);
});

t.test('two builds of one tree at once write once', async (t) => {
  const store = await ImageStore.open(storeDir());
  const tree = treeOf([fileOf('/a', Buffer.from('1'))]);
  let writes = 0;
  const onProgress = () => void writes++;
  const [one, two] = await Promise.all([
    store.build(tree, { onProgress }),
    store.build(tree, { onProgress }),
  ]);
  t.same(one, two);
  t.equal(writes, 1);
});

t.test('a failed build leaves nothing behind', async (t) => {
  const dir = storeDir();
  const store = await ImageStore.open(dir);
  const hostPath = join(folderWith({ a: 'longer' }), 'a');
  const source = { kind: 'host', hostPath, size: 2 } as const;
  const tree = treeOf([{ path: '/a', ...ATTRIBUTES, type: 'file', source }]);
  await t.rejects(store.build(tree), { code: 'MAYFLY_IMAGE_SOURCE_CHANGED' });
  t.same(readdirSync(join(dir, 'images')), []);
});

t.test('a file that changes during the build is noticed', async (t) => {
  const store = await ImageStore.open(storeDir());
  const folder = folderWith({ a: 'one' });
  const onProgress = () => writeFileSync(join(folder, 'a'), 'two');
  await t.rejects(store.build(await treeFromFolder(folder), { onProgress }), {
    code: 'MAYFLY_IMAGE_SOURCE_CHANGED',
  });
  t.same(await store.list(), []);
});

t.test('the first build removes what crashed builds left, and nothing else', async (t) => {
  const dir = storeDir();
  const images = join(dir, 'images');
  mkdirSync(images);
  const gone = join(images, '.new-999999999-0123456789abcdef');
  const ownNumber = join(images, `.new-${process.pid}-0123456789abcdef`);
  const running = join(images, `.new-${process.ppid}-0123456789abcdef`);
  for (const path of [gone, ownNumber, running]) writeFileSync(path, 'half');
  await (await ImageStore.open(dir)).build(new Tree());
  t.notOk(existsSync(gone));
  t.notOk(existsSync(ownNumber), 'an earlier process had our number');
  t.ok(existsSync(running), 'another process is still writing');
});

t.test('a build that is killed leaves a store that works', async (t) => {
  const dir = storeDir();
  const program = `
    import { ImageStore, Tree } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
    const store = await ImageStore.open(${JSON.stringify(dir)});
    await store.build(new Tree(), { onProgress: () => process.kill(process.pid, 'SIGKILL') });
  `;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
  t.equal(run.signal, 'SIGKILL', run.stderr.toString());
  t.equal(readdirSync(join(dir, 'images')).length, 1, 'half an image under a temporary name');
  const store = await ImageStore.open(dir);
  const built = await store.build(new Tree());
  t.same(readdirSync(join(dir, 'images')), [`${built.digest}.erofs`]);
  fsckErofs(built.path);
});

t.test('a removed image is built again', async (t) => {
  const store = await ImageStore.open(storeDir());
  const tree = treeOf([fileOf('/a', Buffer.from('1'))]);
  const built = await store.build(tree);
  t.equal(await store.remove(built.digest), true);
  t.equal(await store.remove(built.digest), false);
  t.same(await store.list(), []);
  await t.rejects(store.inspect(built.digest), { code: 'MAYFLY_IMAGE_NO_IMAGE' });
  t.same(await store.build(tree), built);
});

t.test('damaged caches only cost time', async (t) => {
  const dir = storeDir();
  const tree = await treeFromFolder(folderWith({ a: 'one' }));
  const built = await (await ImageStore.open(dir)).build(tree);
  for (const key of readdirSync(join(dir, 'keys'))) writeFileSync(join(dir, 'keys', key), '../..');
  for (const junk of ['', '{', '{"a":1}', '[["x"],[1,2],["y",null]]']) {
    writeFileSync(join(dir, 'files.txt'), junk);
    t.same(await (await ImageStore.open(dir)).build(tree), built);
  }
});

t.test('a digest that is none is refused', async (t) => {
  const store = await ImageStore.open(storeDir());
  await t.rejects(store.get('../../etc/passwd'), { code: 'MAYFLY_IMAGE_BAD_DIGEST' });
  t.equal(await store.get('0'.repeat(64)), undefined);
});
