import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ImageStore, treeFromPrograms } from '../src/index.js';
import { Sightings, stillSeen } from '../src/tree/sightings.js';

const base = mkdtempSync(join(tmpdir(), 'mayfly-recipes-'));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

const PROGRAM = '/bin/busybox';

/** The image of the program, and whether it had to be written. */
async function build(dir: string) {
  let written = false;
  const store = await ImageStore.open(dir);
  const onProgress = () => {
    written = true;
  };
  return { image: await store.buildProgram(PROGRAM, { onProgress }), written };
}

/** Without keys, only a recipe can tell which image a program has. */
function forgetKeys(dir: string): void {
  for (const key of readdirSync(join(dir, 'keys'))) unlinkSync(join(dir, 'keys', key));
}

t.test('the image of a program is known by what was looked at', async (t) => {
  const dir = mkdtempSync(join(base, 'store-'));
  const first = await build(dir);
  t.match(first, { written: true, image: { isElf: true } });
  forgetKeys(dir);
  t.strictSame(await build(dir), { image: first.image, written: false });
});

t.test('a recipe that tells of another host, or is damaged, is not followed', async (t) => {
  const dir = mkdtempSync(join(base, 'store-'));
  const { image } = await build(dir);
  const [name] = readdirSync(join(dir, 'recipes'));
  const path = join(dir, 'recipes', name!);
  const recipe = readFileSync(path, 'utf8');
  const others = [
    recipe.replace(/:\d+"/, ':1"'),
    recipe.replace(image.digest, '0'.repeat(64)),
    recipe.slice(0, -1),
    '{"image":1,"seen":[1]}',
    'null',
  ];
  for (const other of others) {
    t.not(other, recipe);
    writeFileSync(path, other);
    forgetKeys(dir);
    t.strictSame(await build(dir), { image, written: true }, other.slice(-40));
  }
});

t.test('what a program needs is among the sightings', async (t) => {
  const root = mkdtempSync(join(base, 'root-'));
  mkdirSync(join(root, 'bin'));
  writeFileSync(join(root, 'bin/app'), readFileSync(PROGRAM), { mode: 0o755 });
  symlinkSync('app', join(root, 'bin/link'));
  const now = Date.now;
  Date.now = () => now() + 10_000;
  t.teardown(() => {
    Date.now = now;
  });
  const sightings = new Sightings();
  await treeFromPrograms([{ path: '/bin/link' }], { root, sightings });
  const seen = sightings.list!;
  t.ok(stillSeen(seen));
  const changes: [string, () => void][] = [
    ['the mode of a folder on the way', () => chmodSync(join(root, 'bin'), 0o700)],
    ['a file that was not there', () => void mkdirSync(join(root, 'etc/ssl'), { recursive: true })],
    [
      'a link',
      () => {
        unlinkSync(join(root, 'bin/link'));
        symlinkSync('./app', join(root, 'bin/link'));
      },
    ],
    ['the program', () => chmodSync(join(root, 'bin/app'), 0o711)],
  ];
  for (const [what, change] of changes) {
    const again = new Sightings();
    await treeFromPrograms([{ path: '/bin/link' }], { root, sightings: again });
    change();
    t.notOk(stillSeen(again.list!), what);
  }
});

t.test('sightings', async (t) => {
  const dir = mkdtempSync(join(base, 'seen-'));
  const path = join(dir, 'file');
  writeFileSync(path, 'one');
  const fresh = new Sightings();
  fresh.add(path, lstatSync(path, { bigint: true }));
  t.equal(fresh.list, undefined, 'a file that was just written may change unseen');

  const other = new Sightings();
  other.add(dir, lstatSync(dir, { bigint: true }));
  other.add(join(dir, 'none'), undefined);
  const seen = other.list!;
  t.ok(stillSeen(seen));
  writeFileSync(join(dir, 'another'), '');
  t.ok(stillSeen(seen), 'what else is in a folder does not matter');

  const many = new Sightings();
  for (let i = 0; i <= 1000; i++) many.add(join(dir, String(i)), undefined);
  t.equal(many.list, undefined, 'too many');
});
