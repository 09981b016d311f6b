/** Users of images, as `User` of their configuration and `--user` name them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findUser, ImageRoot, writeErofs } from '../src/index.js';
import { fileOf, treeOf } from './support/random-tree.js';

const dir = mkdtempSync('/var/tmp/mayfly-user-');
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

const PASSWD = `root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
# a comment
broken:x:one:two::
app:x:1000:1001:,,,:/home/app:/bin/bash
1000:x:7:7::/seven:
bare:x:8:8:
`;
const GROUP = `root:x:0:
www-data:x:33:
staff:x:50:app,www-data
docker:x:999:app
apps:x:1001:app
nonsense
`;

let roots = 0;
async function rootWith(files: Record<string, string>): Promise<ImageRoot> {
  const tree = treeOf(Object.entries(files).map(([path, text]) => fileOf(path, Buffer.from(text))));
  const path = join(dir, `${roots++}.erofs`);
  await writeErofs(tree, path);
  return new ImageRoot([path]);
}

t.test('names and numbers are looked up in the guest', async (t) => {
  const root = await rootWith({ '/etc/passwd': PASSWD, '/etc/group': GROUP });
  for (const [text, uid, gid, groups, home] of [
    ['', 0, 0, [0], '/root'],
    ['root', 0, 0, [0], '/root'],
    ['www-data', 33, 33, [33, 50], '/var/www'],
    ['app', 1000, 1001, [1001, 50, 999], '/home/app'],
    ['33', 33, 33, [33, 50], '/var/www'],
    ['1000', 7, 7, [7], '/seven'], // a name first, as in a container
    ['4711', 4711, 0, [0], '/'],
    ['app:staff', 1000, 50, [50], '/home/app'],
    ['app:999', 1000, 999, [999], '/home/app'],
    ['4711:4712', 4711, 4712, [4712], '/'],
    ['bare', 8, 8, [8], '/'],
    [':staff', 0, 50, [50], '/root'],
  ] as const) {
    t.same(findUser(root, text), { uid, gid, groups, home }, text);
  }
  for (const text of ['nobody', 'broken', 'app:none', '-1', '4294967296', '1e3', 'app:staff:x']) {
    t.throws(() => findUser(root, text), { code: 'MAYFLY_USER_UNKNOWN' }, text);
  }
  t.throws(() => findUser(root, 'nobody'), { message: /no user nobody .*\/etc\/passwd/ });
  root.close();
});

t.test('a root without such files has the users that its guest will have', async (t) => {
  const root = await rootWith({ '/etc/passwd': '' });
  t.match(findUser(root, 'nobody'), { uid: 65534, gid: 65534, home: '/nonexistent' });
  t.match(findUser(root, 'nobody:nogroup'), { gid: 65534 });
  t.match(findUser(root, '1000'), { uid: 1000, gid: 0, home: '/' });
  root.close();
});
