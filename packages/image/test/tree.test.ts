import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Tree, treeFromFolder, writeErofs } from '../src/index.js';
import { ATTRIBUTES, fileOf, treeOf } from './support/random-tree.js';

const dir = mkdtempSync(join(tmpdir(), 'mayfly-tree-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

const link = (path: string, target: string) => ({
  path,
  ...ATTRIBUTES,
  type: 'symlink' as const,
  target,
});
const NOTHING = Buffer.alloc(0);

t.test('paths that no guest could have are refused', (t) => {
  const bad = ['', 'a', '/a/', '/a//b', '/./a', '/a/../b', '/\0', `/${'x'.repeat(256)}`, '/\ud800'];
  bad.push('/abc'.repeat(1100));
  for (const path of bad) {
    t.throws(
      () => treeOf([fileOf(path, NOTHING)]),
      { code: 'MAYFLY_IMAGE_BAD_PATH' },
      JSON.stringify(path.slice(0, 20)),
    );
  }
  t.throws(() => treeOf([link('/l', '')]), { code: 'MAYFLY_IMAGE_BAD_PATH' });
  t.end();
});

t.test('numbers that no inode can hold are refused', (t) => {
  const good = fileOf('/a', NOTHING);
  for (const change of [
    { mode: 0o10000 },
    { uid: -1 },
    { gid: 2 ** 32 },
    { uid: 0.5 },
    { mtimeNs: 2n ** 63n },
  ]) {
    t.throws(() => treeOf([{ ...good, ...change }]), { code: 'MAYFLY_IMAGE_BAD_ATTRIBUTE' });
  }
  t.end();
});

t.test('parents are made, and symbolic links among them followed on request', (t) => {
  const tree = treeOf([
    fileOf('/usr/bin/x', NOTHING),
    link('/bin', 'usr/bin'),
    link('/usr/b', '../bin'),
    link('/o', '/o'),
  ]);
  t.match(tree.get('/usr'), { type: 'dir', mode: 0o755 });
  t.equal(tree.resolveParents('/usr/b/y'), '/usr/bin/y');
  t.equal(tree.resolveParents('/bin'), '/bin', 'the last part is not followed');
  t.equal(tree.resolveParents('/'), '/');
  t.throws(() => tree.resolveParents('/o/x'), { code: 'MAYFLY_IMAGE_CONFLICT' });
  t.throws(() => tree.add(fileOf('/bin/y', NOTHING)), { code: 'MAYFLY_IMAGE_CONFLICT' });
  t.throws(() => tree.add(fileOf('/', NOTHING)), { code: 'MAYFLY_IMAGE_CONFLICT' });
  t.end();
});

t.test('hard links must lead to a file', async (t) => {
  for (const target of ['/none', '/', '/h']) {
    const tree = new Tree();
    tree.add({ path: '/h', ...ATTRIBUTES, type: 'hardlink', target });
    await t.rejects(writeErofs(tree, join(dir, 'x')), { code: 'MAYFLY_IMAGE_BAD_LINK' });
  }
});

t.test('a folder can go anywhere, under another owner', async (t) => {
  writeFileSync(join(dir, 'f'), 'x');
  const tree = await treeFromFolder(dir, { at: '/srv/app', owner: { uid: 7, gid: 8 } });
  t.match(tree.get('/srv/app/f'), { type: 'file', uid: 7, gid: 8 });
  await t.rejects(treeFromFolder(join(dir, 'none')), { code: 'MAYFLY_IMAGE_UNREADABLE' });
});

t.test('names that are not UTF-8 are refused', async (t) => {
  const path = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0x66, 0xff])]);
  writeFileSync(path, 'x');
  await t.rejects(treeFromFolder(dir), { code: 'MAYFLY_IMAGE_BAD_PATH' });
  rmSync(path);
});
